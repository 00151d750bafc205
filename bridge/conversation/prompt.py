"""What a provider's count of a prompt is made of."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from bridge.conversation.turns import Call, Part, Result, Text, Thoughts

if TYPE_CHECKING:
    from bridge.conversation.request import Conversation, Tool


Input = str | list[int]  # a text, or tokens in its place


class Prompt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`texts` are counted, and the `tokens` that a client gave instead of a text are as many as they are. Around the
    `messages` of a conversation, its tools and calls, stands what has a price of its own; a `bare` prompt has nothing
    around it. `functions` are the names of those that may be called."""

    texts: list[str]
    tokens: int = 0
    messages: int = 0
    tools: int = 0
    calls: int = 0
    schema: bool = False
    bare: bool = False
    functions: frozenset[str] = frozenset()


def read_prompt(request: "Conversation") -> Prompt:
    """Collect all that a provider reads of a conversation as text. Pictures, sound and files are left out."""
    functions = list(_functions(request.tools))
    schema = request.format.definition if request.format else None
    texts, called = list[str](), list[str]()
    for turn in request.turns:
        _read_parts(turn.parts, texts, called)
    texts += called
    texts += [f"{each.name}{each.description or ''}{_write(each.parameters or {})}" for each in functions]
    texts += [_write(schema)] if schema else []
    return Prompt(
        texts=texts,
        messages=len(request.turns),
        tools=len(functions),
        calls=len(called),
        schema=bool(schema),
        functions=frozenset([function.name for function in functions]),
    )


def read_texts(inputs: Iterable[Input]) -> Prompt:
    """Texts, or tokens in their place, with nothing around them."""
    texts, tokens = list[str](), 0
    for each in inputs:
        if isinstance(each, str):
            texts.append(each)
        else:
            tokens += len(each)
    return Prompt(texts=texts, tokens=tokens, bare=True)


def _functions(tools: "Iterable[Tool]") -> "Iterator[Tool]":
    return (tool for tool in tools if tool.custom is None)


def _read_parts(parts: Iterable[Part], texts: list[str], called: list[str]) -> None:
    """Add what these parts say, and what they call."""
    for part in parts:
        if isinstance(part, Text | Thoughts):
            texts.append(part.text)
        elif isinstance(part, Result):
            _read_parts(part.parts, texts, called)
        elif isinstance(part, Call) and part.custom is None:
            called.append(part.name + part.arguments)


def _write(value: object) -> str:
    return msgspec.json.encode(value).decode()
