"""JSON that is nearly right: half surrogate pairs, which cut a character in two, and numbers that are none."""

import json
import math
from typing import Generic, TypeVar

import msgspec

from bridge.json_types import Json

Channel = TypeVar("Channel", int, str, int | str)
RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)
NO_NUMBER = -9999.0  # stands for NaN and infinities: what servers write for a probability of zero
REPLACEMENT = "\ufffd"


def decode_odd(data: bytes | memoryview) -> Json:
    """The value, with half pairs still in its texts (see `mend_text`) and NO_NUMBER for what JSON has no number for.
    Raises what RUBBISH names."""
    try:
        return json.loads(bytes(data).decode(), parse_constant=_no_number, parse_float=_read_float)
    except UnicodeError:
        raise
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def _no_number(name: str) -> float:
    return NO_NUMBER


def _read_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else NO_NUMBER


def may_be_odd(error: Exception) -> bool:
    """Whether JSON that our decoder refused may still be such. What has the wrong shape is readable, and is not."""
    return type(error) is msgspec.DecodeError


def decode_any(data: bytes | memoryview) -> tuple[Json, bool]:
    """The value, and whether it was odd. Raises what RUBBISH names."""
    try:
        return msgspec.json.decode(data), False
    except msgspec.DecodeError as error:
        if not may_be_odd(error):
            raise
        return decode_odd(data), True


def decode_whole(data: bytes | memoryview) -> tuple[Json, bool]:
    """The same of a whole answer, in which no other half can follow."""
    value, odd = decode_any(data)
    return (mend_texts(value), True) if odd else (value, False)


def mend_text(text: str) -> str:
    """Two halves that meet are one character; a lone one becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def mend_texts(value: Json) -> Json:
    """The same for all texts of a JSON value."""
    if isinstance(value, str):
        return mend_text(value)
    if isinstance(value, list):
        return [mend_texts(one) for one in value]
    if isinstance(value, dict):
        return {mend_text(name): mend_texts(one) for name, one in value.items()}
    return value


class Halves(Generic[Channel]):
    """The first half of a character that ended a piece of a stream's text, until the piece with the other one."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Channel, str] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def join(self, channel: Channel, text: str) -> str:
        """This piece, mended: `channel` names the text that it goes on with."""
        text = self._held.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
        return mend_text(text)

    def end(self) -> dict[Channel, str]:
        """What stands for the halves whose other half never came, by channel."""
        held, self._held = self._held, {}
        return dict.fromkeys(held, REPLACEMENT)
