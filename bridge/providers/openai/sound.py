"""Requests of OpenAI's dialect in which nothing has to change, found out without looking at each field in Python: only
fields of OpenAI's own, words in every message, names that every provider takes."""

from itertools import repeat
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from bridge.json_types import Json, JsonObject
from bridge.providers.tool_names import MOONSHOT_NAMES

_fits = MOONSHOT_NAMES.fits  # what fits here fits everywhere
# No patterns here: after msgspec 0.22 has read values by one, the interpreter now and then crashes as it ends.
Words = Annotated[str, Meta(min_length=1)]


class _Text(Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    text: Words


class _Url(Struct, forbid_unknown_fields=True):
    url: str
    detail: str = ""


class _Image(Struct, forbid_unknown_fields=True, tag_field="type", tag="image_url"):
    image_url: _Url


class _PlainText(Struct, forbid_unknown_fields=True):
    type: Literal["text"]
    text: Words


class _System(Struct, forbid_unknown_fields=True, tag_field="role", tag="system"):
    content: Words | Annotated[list[_PlainText], Meta(min_length=1)]


class _User(Struct, forbid_unknown_fields=True, tag_field="role", tag="user"):
    content: Words | Annotated[list[_Text | _Image], Meta(min_length=1)]


class _Function(Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class _Call(Struct, forbid_unknown_fields=True):
    id: str
    type: Literal["function"]
    function: _Function


_Calls = Annotated[list[_Call], Meta(min_length=1)]


class _Assistant(Struct, forbid_unknown_fields=True, tag_field="role", tag="assistant"):
    content: Words | None
    tool_calls: _Calls | None = None


class _Thinker(Struct, forbid_unknown_fields=True, tag_field="role", tag="assistant"):
    content: Words | None
    tool_calls: _Calls | None = None
    reasoning_content: str = ""


class _Result(Struct, forbid_unknown_fields=True, tag_field="role", tag="tool"):
    content: str | list[_PlainText]
    tool_call_id: str
    name: str = ""


class _Definition(Struct, forbid_unknown_fields=True):
    name: str
    description: str = ""
    parameters: JsonObject = {}
    strict: bool = False


class _Tool(Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: _Definition


_MESSAGES = list[_System | _User | _Assistant | _Result]
_THINKERS = list[_System | _User | _Thinker | _Result]
_TOOLS = list[_Tool]


def are_sound(messages: list[JsonObject], thinks: bool) -> bool:
    """Whether these messages may go on as they are; `thinks`: with what was thought."""
    read: list[Json]
    try:
        read = msgspec.convert(messages, _THINKERS if thinks else _MESSAGES)
    except msgspec.ValidationError:
        return False
    names: set[str] = set()
    return all(map(_says_something, read, messages, repeat(names))) and all(map(_fits, names))


def _says_something(message: Json, source: JsonObject, names: set[str]) -> bool:
    """Whether a message has words or calls, and no list of calls that is null. The names in it are added to `names`."""
    content, kind = message.content, type(message)
    if type(content) is str:
        if content.isspace():
            return False
    elif content is not None and any(type(part) is not _Image and part.text.isspace() for part in content):
        return False
    if kind is _Result:
        if message.name:
            names.add(message.name)
        return True
    if kind is not _Assistant and kind is not _Thinker:
        return True
    if message.tool_calls is None:
        return content is not None and "tool_calls" not in source
    for call in message.tool_calls:
        names.add(call.function.name)
    return True


def are_sound_tools(tools: list[JsonObject]) -> bool:
    """Whether these tools may go on as they are, but for their schemas."""
    try:
        read = msgspec.convert(tools, _TOOLS)
    except msgspec.ValidationError:
        return False
    return all(map(_fits, [tool.function.name for tool in read]))
