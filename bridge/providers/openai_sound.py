"""Requests of OpenAI's dialect in which nothing has to change, found out without looking at each field in Python: only
fields of OpenAI's own, words in every message, names that every provider takes."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Words = Annotated[str, Meta(pattern=r"\S")]
Name = Annotated[str, Meta(pattern=r"\A[a-zA-Z_][a-zA-Z0-9_-]{0,63}\Z")]


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
    name: Name
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
    name: Name = ""


class _Definition(Struct, forbid_unknown_fields=True):
    name: Name
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class _Tool(Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: _Definition


_MESSAGES = list[_System | _User | _Assistant | _Result]
_THINKERS = list[_System | _User | _Thinker | _Result]
_TOOLS = list[_Tool]


def are_sound(messages: list[dict[str, Any]], thinks: bool) -> bool:
    """Whether these messages may go on as they are; `thinks`: with what was thought."""
    read: list[Any]
    try:
        read = msgspec.convert(messages, _THINKERS if thinks else _MESSAGES)
    except msgspec.ValidationError:
        return False
    # a call that is null goes nowhere, nor does a turn without words and calls
    return not any(
        message.tool_calls is None and (message.content is None or "tool_calls" in messages[place])
        for place, message in enumerate(read)
        if isinstance(message, _Assistant | _Thinker)
    )


def are_sound_tools(tools: list[dict[str, Any]]) -> bool:
    """Whether these tools may go on as they are, but for their schemas."""
    try:
        msgspec.convert(tools, _TOOLS)
    except msgspec.ValidationError:
        return False
    return True
