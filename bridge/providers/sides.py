"""A conversation as the dialects have it that know two sides: neighbours of one side are one turn, media are read, and
every call and result has an id. What such a dialect can't say is refused here, with its place."""

import base64
import binascii
import re

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Call, Media, Part, Result, Text, Thoughts, Untold
from bridge.json_types import Json, JsonObject
from bridge.providers.base import refuse

MAX_URL_HEAD = 1024  # characters of a data URL before its data: looking for them in all of it would take seconds
_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[^;,]*)*),", re.I)
_SAME_TYPE = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/mpeg": "audio/mp3",
    "audio/x-wav": "audio/wav",
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class ReadMedia(Struct, frozen=True, gc=False):
    """A picture, sound or document: base64 `data` of `media_type`, or the `url` where the provider is to fetch it."""

    kind: str  # image, audio, file
    place: str  # messages[1].content[0]
    source_place: str  # messages[1].content[0].image_url.url
    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    cache: Json = None


class ReadResult(Struct, frozen=True, gc=False):
    """What the client's tool said to a call; `name` is the call's, where an earlier turn made it the message's own."""

    call_id: str
    name: str
    parts: list[Text | ReadMedia]
    place: str
    cache: Json = None
    legacy: bool = False
    is_error: bool = False


SidePart = Text | ReadMedia | Call | ReadResult | Thoughts


class Side(Struct):
    """What one side says until the other has its turn: "system", "user" (tool results too) or "assistant". A legacy
    call and its result have an id of our making."""

    role: str
    parts: list[SidePart]
    place: str


def list_sides(conversation: Conversation) -> list[Side]:
    """The conversation, neighbours of one side merged but for the system's.

    Raises AttemptFailed (the client's 400) for media that can't be read, and for calls of what is no function."""
    sides: list[Side] = []
    names: dict[str, str] = {}  # of calls, by id
    legacy_ids: dict[str, str] = {}  # the last legacy call of each name
    for turn in conversation.turns:
        parts = [part if type(part) is Text else _read_part(part, names, legacy_ids) for part in turn.parts]
        if turn.role != "system" and sides and sides[-1].role == turn.role:
            sides[-1].parts += parts
        else:
            sides.append(Side(turn.role, parts, turn.place))
    return sides


def _read_part(part: Part, names: dict[str, str], legacy_ids: dict[str, str]) -> SidePart:
    if isinstance(part, Call):
        return _read_call(part, names, legacy_ids)
    if isinstance(part, Result):
        return _read_result(part, names, legacy_ids)
    if isinstance(part, Untold):
        raise refuse_untold(part)
    return read_media(part) if isinstance(part, Media) else part


def refuse_untold(part: Untold) -> Exception:
    """What only an upstream of the client's own dialect takes, as the client's 400."""
    return refuse(part.place, f"{part.place}: this model takes no {part.kind[:80]}.", "unsupported_parameter")


def _read_call(call: Call, names: dict[str, str], legacy_ids: dict[str, str]) -> Call:
    if call.custom is not None:
        raise refuse(call.place, f"{call.place}: this model takes calls of functions only.", "unsupported_parameter")
    if call.legacy:
        legacy_ids[call.name] = call_id = f"call_{len(names)}_{len(legacy_ids)}"
        call = replace(call, id=call_id)
    names[call.id] = call.name
    return call


def _read_result(result: Result, names: dict[str, str], legacy_ids: dict[str, str]) -> ReadResult:
    parts = [read_media(part) if isinstance(part, Media) else part for part in result.parts]
    call_id, name = result.call_id, result.name or ""
    if result.legacy:
        call_id = legacy_ids.get(name, f"call_{name}")
    else:
        name = names.get(call_id) or name
    return ReadResult(call_id, name, parts, result.place, result.cache, result.legacy, result.is_error)


def remind(text: str) -> str:
    """What the system says in the middle of a conversation, as a part of the user's turn: in the words that coding
    agents have for it, which models know."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


def read_arguments(text: str) -> JsonObject:
    """A call's arguments as the object they are. What a length limit cut in two is none, and reads as no arguments:
    the conversation has to be able to go on."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def read_media(media: Media) -> ReadMedia:
    """What stands behind the source. Raises AttemptFailed for a source that is none."""
    if media.media_type:
        return _found(media, media.media_type, media.source)
    if media.kind == "image":
        return _read_image(media)
    return _read_sound(media) if media.kind == "audio" else _read_file(media)


def _found(media: Media, media_type: str = "", data: str = "", url: str = "") -> ReadMedia:
    return ReadMedia(media.kind, media.place, media.source_place, media_type, data, url, media.name, media.cache)


def _read_image(media: Media) -> ReadMedia:
    url = media.source
    if url[:5].lower() == "data:":
        media_type, data = _read_data_url(url, media.source_place)
        return _found(media, _sniff(data) or media_type, data)
    if url[:8].lower() == "https://" or url[:7].lower() == "http://":
        return _found(media, url=url)
    raise _bad_image(media.source_place, "is neither a data URL nor an http(s) URL")


def _read_sound(media: Media) -> ReadMedia:
    place, kind = media.source_place, media.sound_format
    if not media.source or not kind.isalnum():
        raise refuse(place, f"{place} needs `data` (base64) and `format` (wav or mp3).")
    return _found(media, f"audio/{kind.lower()}", media.source)


def _read_file(media: Media) -> ReadMedia:
    if media.linked:
        return _found(media, "application/pdf", url=media.source)
    place, data = f"{media.place}.file", media.source
    if not data:
        raise refuse(place, f"{place} needs `file_data`, a base64 data URL: this model can't read stored files.")
    media_type = "application/pdf"
    if data[:5].lower() == "data:":
        media_type, data = _read_data_url(data, f"{place}.file_data", "file_data")
    return _found(media, media_type, data)


def _read_data_url(url: str, place: str, what: str = "image") -> tuple[str, str]:
    found = _DATA_URL.match(url, 0, MAX_URL_HEAD)
    if not found or ";base64" not in found.group(2).lower():
        raise (
            _bad_image(place, f"is no base64 data URL ({what})")
            if what == "image"
            else refuse(place, f"{place} is no base64 data URL.")
        )
    media_type = found.group(1).lower()
    return _SAME_TYPE.get(media_type, media_type), url[found.end() :].strip()


def _sniff(data: str) -> str:
    """The type that the first bytes tell: providers refuse a picture whose stated type is another; OpenAI doesn't."""
    try:
        head = base64.b64decode(data[:24])
    except (binascii.Error, ValueError):
        return ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for signature, media_type in _SIGNATURES if head.startswith(signature)), "")


def _bad_image(place: str, why: str) -> Exception:
    return refuse(place, f"{place} {why}. Send the picture as data:image/png;base64,….", "invalid_image")
