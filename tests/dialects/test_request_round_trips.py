"""What a request says in one dialect arrives in another: from any door to any upstream, and read back as the door of
that upstream's dialect reads it.

The bodies are written by hand from one description, so our own code doesn't write what it reads."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Call, Media, Part, Result, Text
from bridge.dialects.chat.read import read_conversation as read_chat
from bridge.dialects.messages.read import read_conversation as read_messages
from bridge.dialects.responses.read import read_responses
from bridge.dialects.responses.request import ResponsesRequest
from bridge.providers import PROVIDERS
from bridge.providers.base import Order

Json = dict[str, Any]
# who speaks each dialect as an upstream
SPEAKERS = {
    "chat": ("openai", "gpt-4o", "chat"),
    "messages": ("anthropic", "claude-sonnet-4-5", ""),
    "responses": ("openai", "gpt-4o", "responses"),
}
DIALECTS = tuple(SPEAKERS)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = {"weather": "Tells the weather.", "time": "Tells the time."}
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
LINK = "https://example.com/a.png"

# what is asked: a description that every dialect can say

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
pieces = st.one_of(
    st.tuples(st.just("text"), words),
    st.tuples(st.just("picture"), st.sampled_from([PICTURE, LINK])),
)
values = st.one_of(words, st.integers(-9, 9), st.none(), st.lists(words, max_size=2))
objects = st.dictionaries(words, values, max_size=2)


@st.composite
def rounds(draw: st.DrawFn) -> list[Any]:
    """A user's turn, and an assistant's: with its calls come all their results, in any order."""
    asked = ("user", draw(st.lists(pieces, min_size=1, max_size=3)))
    ids = [f"call_{draw(st.integers(10**6, 10**9))}" for _ in range(draw(st.integers(0, 2)))]
    calls = [(one, draw(st.sampled_from(sorted(TOOLS))), draw(objects)) for one in dict.fromkeys(ids)]
    said = draw(words) if not calls or draw(st.booleans()) else ""
    results = [(one, draw(words)) for one, *_ in draw(st.permutations(calls))]
    return [asked, ("assistant", said, calls), *([("results", results)] if results else [])]


def join_rounds(found: list[list[Any]]) -> list[Any]:
    """Their turns, with ids of calls that are unique in the conversation."""
    turns: list[Any] = []
    for number, (asked, (role, said, called), *results) in enumerate(found):
        turns += [asked, (role, said, [(f"{one}{number}", *rest) for one, *rest in called])]
        turns += [(name, [(f"{one}{number}", text) for one, text in told]) for name, told in results]
    return turns


specs = st.fixed_dictionaries(
    {
        "system": st.one_of(st.none(), words),
        "rounds": st.lists(rounds(), max_size=2).map(join_rounds),
        "last": st.lists(pieces, min_size=1, max_size=3),
        "cap": st.integers(16, 4000),
        "stream": st.booleans(),
        "temperature": st.sampled_from([None, 0.0, 0.5, 1.0]),
        "tool_choice": st.sampled_from([None, "auto", "none", "required", "weather"]),
        "parallel": st.sampled_from([None, False]),
        "format": st.booleans(),
        "user": st.sampled_from([None, "ada"]),
    }
)


def list_turns(spec: Json) -> list[Any]:
    return [*spec["rounds"], ("user", spec["last"])]


def drop_none(body: Json) -> Json:
    return {name: value for name, value in body.items() if value is not None}


def write_chat(spec: Json) -> Json:
    def part(kind: str, value: str) -> Json:
        if kind == "text":
            return {"type": "text", "text": value}
        return {"type": "image_url", "image_url": {"url": value if value == LINK else f"data:image/png;base64,{value}"}}

    messages: list[Json] = [{"role": "system", "content": spec["system"]}] if spec["system"] else []
    for role, *said in list_turns(spec):
        if role == "user":
            messages.append({"role": "user", "content": [part(*one) for one in said[0]]})
        elif role == "assistant":
            text, calls = said
            called = [
                {"id": one, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                for one, name, given in calls
            ]
            messages.append(
                {"role": "assistant", "content": text or None, **({"tool_calls": called} if called else {})}
            )
        else:
            messages += [{"role": "tool", "tool_call_id": one, "content": text} for one, text in said[0]]
    tools = [
        {"type": "function", "function": {"name": name, "description": about, "parameters": SCHEMA, "strict": True}}
        for name, about in TOOLS.items()
    ]
    choice = spec["tool_choice"]
    if choice == "weather":
        choice = {"type": "function", "function": {"name": choice}}
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    return drop_none(
        {
            "model": "m",
            "messages": messages,
            "tools": tools,
            "tool_choice": choice,
            "parallel_tool_calls": spec["parallel"],
            "max_completion_tokens": spec["cap"],
            "temperature": spec["temperature"],
            "stream": spec["stream"],
            "response_format": schema if spec["format"] else None,
            "user": spec["user"],
        }
    )


def write_messages(spec: Json) -> Json:
    def block(kind: str, value: str) -> Json:
        if kind == "text":
            return {"type": "text", "text": value}
        if value == LINK:
            return {"type": "image", "source": {"type": "url", "url": value}}
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": value}}

    messages: list[Json] = []
    for role, *said in list_turns(spec):
        if role == "user":
            messages.append({"role": "user", "content": [block(*one) for one in said[0]]})
        elif role == "assistant":
            text, calls = said
            blocks: list[Json] = [{"type": "text", "text": text}] if text else []
            blocks += [{"type": "tool_use", "id": one, "name": name, "input": given} for one, name, given in calls]
            messages.append({"role": "assistant", "content": blocks})
        else:
            results = [{"type": "tool_result", "tool_use_id": one, "content": text} for one, text in said[0]]
            messages.append({"role": "user", "content": results})
    choice = spec["tool_choice"]
    kinds = {"required": {"type": "any"}, "weather": {"type": "tool", "name": "weather"}}
    chosen = kinds.get(choice, {"type": choice}) if choice else None
    if spec["parallel"] is False and choice != "none":
        chosen = {**(chosen or {"type": "auto"}), "disable_parallel_tool_use": True}
    return drop_none(
        {
            "model": "m",
            "system": spec["system"],
            "messages": messages,
            "tools": [{"name": name, "description": about, "input_schema": SCHEMA} for name, about in TOOLS.items()],
            "tool_choice": chosen,
            "max_tokens": spec["cap"],
            "temperature": spec["temperature"],
            "stream": spec["stream"],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}} if spec["format"] else None,
            "metadata": {"user_id": spec["user"]} if spec["user"] else None,
        }
    )


def write_responses(spec: Json) -> Json:
    def part(kind: str, value: str) -> Json:
        if kind == "text":
            return {"type": "input_text", "text": value}
        return {"type": "input_image", "image_url": value if value == LINK else f"data:image/png;base64,{value}"}

    items: list[Json] = []
    for role, *said in list_turns(spec):
        if role == "user":
            items.append({"role": "user", "content": [part(*one) for one in said[0]]})
        elif role == "assistant":
            text, calls = said
            if text:
                items.append(
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
                )
            items += [
                {"type": "function_call", "call_id": one, "name": name, "arguments": json.dumps(given)}
                for one, name, given in calls
            ]
        else:
            items += [{"type": "function_call_output", "call_id": one, "output": text} for one, text in said[0]]
    choice = spec["tool_choice"]
    schema = {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}
    return drop_none(
        {
            "model": "m",
            "instructions": spec["system"],
            "input": items,
            "tools": [
                {"type": "function", "name": name, "description": about, "parameters": SCHEMA, "strict": True}
                for name, about in TOOLS.items()
            ],
            "tool_choice": {"type": "function", "name": choice} if choice == "weather" else choice,
            "parallel_tool_calls": spec["parallel"],
            "max_output_tokens": spec["cap"],
            "temperature": spec["temperature"],
            "stream": spec["stream"],
            "text": schema if spec["format"] else None,
            "user": spec["user"],
        }
    )


WRITE: dict[str, Callable[[Json], Json]] = {
    "chat": write_chat,
    "messages": write_messages,
    "responses": write_responses,
}


def read(dialect: str, body: Json) -> Conversation:
    if dialect == "chat":
        return read_chat(body)
    if dialect == "messages":
        return read_messages(body, 1)
    return read_responses(body, msgspec.convert(body, ResponsesRequest), 1).conversation


def list_said(conversation: Conversation) -> list[Any]:
    """Who says what, in order, wherever one turn ends and the next begins. Texts of one side in a row are one."""
    said: list[Any] = []
    for turn in conversation.turns:
        for part in turn.parts:
            one = say(turn.role, part)
            if one[1] == "text" and said and said[-1][:2] == one[:2]:
                said[-1] = (*one[:2], said[-1][2] + one[2])
            else:
                said.append(one)
    return said


def say(role: str, part: Part) -> tuple[Any, ...]:
    if isinstance(part, Text):
        return role, "text", part.text
    if isinstance(part, Media):
        return role, "picture", part.source.removeprefix("data:image/png;base64,")
    if isinstance(part, Call):
        return "assistant", "call", part.id, part.name, json.dumps(json.loads(part.arguments), sort_keys=True)
    assert isinstance(part, Result)
    return "tool", "result", part.call_id, "".join(one.text for one in part.parts if isinstance(one, Text))


def sort_results(said: list[Any]) -> list[Any]:
    """Results that stand side by side in any order: each names its call."""
    found: list[Any] = []
    for one in said:
        place = len(found)
        while one[0] == "tool" and place and found[place - 1][0] == "tool" and found[place - 1] > one:
            place -= 1
        found.insert(place, one)
    return found


def describe(conversation: Conversation) -> Json:
    """What every dialect can say of a request."""
    choice, wanted = conversation.tool_choice, conversation.format
    definition = (wanted.definition or {}) if wanted else {}
    return {
        "said": sort_results(list_said(conversation)),
        "tools": [(tool.name, tool.description, tool.parameters) for tool in conversation.tools],
        "choice": (choice.mode, choice.names) if choice and choice.mode != "auto" else None,
        "parallel": conversation.parallel_calls is not False or (choice is not None and choice.mode == "none"),
        "cap": conversation.sent_cap and conversation.sent_cap[1],
        "temperature": conversation.options.get("temperature"),
        "stream": conversation.stream,
        "schema": definition.get("schema"),
        "has calls": conversation.has_calls,
    }


@given(specs)
def test_every_door_reads_the_same_request(spec: Json):
    read_by = [describe(read(dialect, WRITE[dialect](spec))) for dialect in DIALECTS]
    assert read_by[1] == read_by[0]
    assert read_by[2] == read_by[0]


@settings(max_examples=10)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("door", DIALECTS)
@given(specs)
def test_a_request_arrives_in_another_dialect_with_all_that_it_says(door: str, upstream: str, spec: Json):
    asked = read(door, WRITE[door](spec))
    provider, upstream_id, wire = SPEAKERS[upstream]
    written = PROVIDERS[provider].write_request(Order(asked, upstream_id, wire=wire))
    assert describe(read(upstream, json.loads(written.body))) == describe(asked)
