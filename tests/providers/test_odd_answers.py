"""Whatever a server of OpenAI's dialect does otherwise, in any mixture: what leaves is what it meant, as OpenAI writes
it. Answers are drawn, then written in odd ways, whole and streamed, and cut anywhere."""

import dataclasses
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.providers import PROVIDERS
from bridge.providers.base import Outgoing
from bridge.providers.openai.choice import Reading
from tests.chat_answers import body_of, chat_order
from tests.contract import read_answer, read_stream

NAMES = ("get_weather", "get_time", "get_weather_soon", "f")
TOOLS = [{"type": "function", "function": {"name": name}} for name in NAMES]
ENDS = {
    "stop": ["stop", "eos", "EOS_TOKEN", "end_turn", "STOP", "COMPLETE", "<|im_end|>", 2, "FinishReason.STOP"],
    "tool_calls": ["tool_calls", "tool_use", "stop", "TOOL_CALLS", "eos", 1, "function_call"],
    "length": ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"],
}
TEXT = st.text(alphabet=st.sampled_from('aé😀𝄞" \\{}\n'), max_size=9)
ARGUMENTS = st.dictionaries(TEXT, TEXT | st.integers(-5, 5) | st.lists(TEXT, max_size=2), max_size=2)
INDEXES = ("right", "none", "zero", "from one", "with gaps", "text")


@dataclasses.dataclass
class Meant:
    text: str
    thoughts: str
    calls: list[tuple[str, str, dict[str, Any]]]  # id, name, arguments
    end: str

    def said(self, known_ids: bool) -> tuple[Any, ...]:
        calls = [(call_id if known_ids else "", name, arguments) for call_id, name, arguments in self.calls]
        return self.text, self.thoughts, calls, self.end


@st.composite
def meant(draw: Any) -> Meant:
    calls = [
        (f"call_{place}", name, draw(ARGUMENTS))
        for place, name in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=3)))
    ]
    end = draw(st.sampled_from(["tool_calls" if calls else "stop", "length"]))
    return Meant(draw(TEXT), draw(TEXT), calls, end)


@dataclasses.dataclass
class Habits:
    """How a server writes. Those that only guessing could tell apart don't come together."""

    role: str
    created: str
    ids_move: bool
    choice_index: str
    content: str
    thoughts: str
    index: str
    id: str
    name: str
    arguments: str
    unfinished: Any
    ends_apart: bool
    ascii: bool
    spaced: bool

    @property
    def known_ids(self) -> bool:
        return self.id != "missing"


@st.composite
def habits(draw: Any) -> Habits:
    def one(*choices: Any) -> Any:
        return draw(st.sampled_from(choices))

    index = one(*INDEXES)
    arguments = one("pieces", "whole", "object")
    return Habits(
        role=one("first", "missing", "null", "empty", "repeated", "model"),
        created=one("same", "missing", "moves"),
        ids_move=one(False, True),
        choice_index=one("right", "none", "wrong"),
        content=one("text", "parts", "one part"),
        thoughts=one("reasoning_content", "reasoning", "reasoning_details", "part", "both"),
        index=index,
        # without an index of their own, or an id, calls are told apart by being whole
        id=one("once", "repeated", "late", "empty later", "moves", "missing") if arguments == "pieces" else one("once"),
        name=one("once", "repeated", "split", "empty later", "late") if arguments == "pieces" else "once",
        arguments=arguments,
        unfinished=one(None, "", "absent", "null"),
        ends_apart=one(True, False),
        ascii=one(True, False),
        spaced=one(True, False),
    )


def cut(draw: Any, text: str) -> list[str]:
    """The text in pieces, between halves of a character too."""
    units = text.encode("utf-16-le")
    places = sorted(draw(st.lists(st.integers(0, len(units) // 2), max_size=3)))
    pieces = [units[2 * a : 2 * b] for a, b in zip([0, *places], [*places, len(units) // 2], strict=True)]
    return [piece.decode("utf-16-le", "surrogatepass") for piece in pieces]


def write_calls(draw: Any, answer: Meant, how: Habits) -> list[list[dict[str, Any]]]:
    """Deltas' `tool_calls`."""
    deltas: list[list[dict[str, Any]]] = []
    for place, (call_id, name, arguments) in enumerate(answer.calls):
        index = {"right": place, "zero": 0, "from one": place + 1, "with gaps": 3 * place, "text": str(place)}
        key = {} if how.index == "none" else {"index": index[how.index]}
        text = json.dumps(arguments, ensure_ascii=False)
        if how.arguments != "pieces":
            value = arguments if how.arguments == "object" and arguments else text
            call = {**key, "id": call_id, "type": "function", "function": {"name": name, "arguments": value}}
            deltas.append([call])
            continue
        deltas += [[piece] for piece in write_pieces(draw, how, key, call_id, name, text)]
    if how.arguments != "pieces" and deltas and draw(st.booleans()):
        return [[call for delta in deltas for call in delta]]
    return deltas


def write_pieces(draw: Any, how: Habits, key: dict, call_id: str, name: str, text: str) -> list[dict[str, Any]]:
    same_place = how.index in ("none", "zero")
    pieces = [{**key, "function": {"arguments": piece}} for piece in cut(draw, text)]
    if how.id == "moves":  # one without anything in it would be a call of its own
        pieces = [piece for piece in pieces if piece["function"]["arguments"]]
    said = [piece["function"]["arguments"] for piece in pieces]
    first_said = next(place for place, piece in enumerate(said) if piece)
    # what begins the call has no arguments yet, save where nothing else tells it from the one before
    begins: dict[str, Any] = {**key, "type": "function", "function": {"name": name, "arguments": ""}}
    if how.id != "missing" and how.id != "late":
        begins["id"] = call_id
    beginnings = [begins]
    if how.name == "split" and len(name) > 1:
        begins["function"]["name"] = name[:2]
        beginnings.append({**key, "function": {"name": name[2:]}})
    if how.name == "late" and not same_place and how.id != "missing":
        del begins["function"]
        begins["id"] = call_id
        beginnings.append({**key, "function": {"name": name}})
    for place, piece in enumerate(pieces):
        if how.id == "repeated" or (how.id == "late" and place == first_said):
            piece["id"] = call_id
        if how.id == "moves":
            piece["id"] = f"{call_id}_{place}"
        if how.id == "empty later":
            piece["id"] = ""
        if how.name == "repeated" and not (same_place and how.id in ("missing", "moves", "late")):
            piece["function"]["name"] = name
        if how.name == "empty later":
            piece["function"]["name"] = ""
    if same_place and how.id == "missing":
        begins["function"]["arguments"] = said[first_said]
        pieces = pieces[first_said + 1 :]
        beginnings = [{**begins, "function": {"name": name, "arguments": said[first_said]}}]
    return beginnings + pieces


def write_deltas(draw: Any, answer: Meant, how: Habits) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for piece in cut(draw, answer.thoughts) if answer.thoughts else ():
        deltas.append(write_thought(how, piece))
    for piece in cut(draw, answer.text) if answer.text else ():
        part = {"type": "text", "text": piece}
        deltas.append({"content": {"text": piece, "parts": [part], "one part": part}[how.content]})
    deltas += [{"tool_calls": calls} for calls in write_calls(draw, answer, how)]
    roles = {"missing": "absent", "null": None, "empty": "", "model": "model"}
    if how.role == "first":
        deltas.insert(0, {"role": "assistant", "content": ""})
    elif how.role == "repeated":
        deltas = [{"role": "assistant", **delta} for delta in deltas]
    elif how.role != "missing":
        deltas = [{"role": roles[how.role], **delta} for delta in deltas]
    return deltas


def write_thought(how: Habits, piece: str) -> dict[str, Any]:
    if how.thoughts == "part":
        return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
    if how.thoughts == "reasoning_details":
        return {"reasoning_details": [{"type": "reasoning.text", "text": piece}]}
    if how.thoughts == "both":
        return {"reasoning": piece, "reasoning_content": piece}
    return {how.thoughts: piece}


def write_stream(draw: Any, answer: Meant, how: Habits) -> bytes:
    deltas = write_deltas(draw, answer, how)
    word = draw(st.sampled_from(ENDS[answer.end]))
    if how.ends_apart or not deltas:
        deltas.append({})
    events = []
    for place, delta in enumerate(deltas):
        choice: dict[str, Any] = {"index": {"right": 0, "wrong": 3, "none": 0}[how.choice_index], "delta": delta}
        if how.choice_index == "none":
            del choice["index"]
        if place == len(deltas) - 1:
            choice["finish_reason"] = word
        elif how.unfinished != "absent":
            choice["finish_reason"] = how.unfinished
        event = {"id": f"c{place if how.ids_move else 0}", "object": "chat.completion.chunk", "model": "theirs"}
        if how.created != "missing":
            event["created"] = 5 + (place if how.created == "moves" else 0)
        events.append({**event, "choices": [choice]})
    separators = (", ", ": ") if how.spaced else (",", ":")
    lines = [
        json.dumps(event, ensure_ascii=how.ascii or not is_whole(event), separators=separators) for event in events
    ]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


def is_whole(event: Any) -> bool:
    """Whether it can be written without escapes: no half of a character is in it."""
    try:
        json.dumps(event, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def compare(said: list[dict[str, Any]], answer: Meant, known_ids: bool) -> None:
    [one] = said
    calls = [(call["id"] if known_ids else "", call["name"], json.loads(call["arguments"])) for call in one["calls"]]
    assert (one["text"], one["thoughts"], calls, one["finish"]) == answer.said(known_ids)


@settings(max_examples=100, deadline=None)
@given(st.data(), meant(), habits(), st.sampled_from(["openai", "deepseek", "moonshot"]))
def test_an_oddly_written_stream_leaves_as_openai_would_have_written_it(
    data: Any, answer: Meant, how: Habits, provider: str
):
    body = write_stream(data.draw, answer, how)
    reading = Reading(tools=TOOLS, free=True, choices=1)
    reader = PROVIDERS[provider].open_reader(
        Outgoing("/", b"{}", reading=reading), chat_order("ours", "public", 9, False, 2**20)
    )
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    frames = b"".join(reader.feed(piece) for piece in pieces)
    said = read_stream(frames, done=False)
    compare(said, answer, how.known_ids)
    assert reader.finished
    assert "".join(reader.text).count("\ufffd") == 0
    if how.arguments == "pieces":
        assert sorted("".join(reader.text)) == sorted(
            answer.text + answer.thoughts + "".join(call["name"] + call["arguments"] for call in said[0]["calls"])
        )


@settings(max_examples=100, deadline=None)
@given(st.data(), meant(), habits())
def test_an_oddly_written_answer_leaves_as_openai_would_have_written_it(data: Any, answer: Meant, how: Habits):
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    roles = {"missing": "absent", "null": None, "empty": "", "model": "model"}
    if how.role in roles:
        message["role"] = roles[how.role]
    if how.role == "missing":
        del message["role"]
    if how.content != "text" or how.thoughts == "part":
        message["content"] = [{"type": "text", "text": piece} for piece in cut(data.draw, answer.text)]
    thought = write_thought(how, answer.thoughts)
    message |= thought if how.thoughts != "part" else {"content": [*thought["content"], *message["content"]]}
    calls = []
    for place, (call_id, name, arguments) in enumerate(answer.calls):
        text = json.dumps(arguments, ensure_ascii=False)
        function = {"name": name, "arguments": arguments if how.arguments == "object" else text}
        call: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
        if not how.known_ids:
            call["id"] = data.draw(st.sampled_from([None, "", 5]))
        if how.index != "none":
            call["index"] = 0 if how.index == "zero" else place
        calls.append(call)
    if calls:
        message["tool_calls"] = calls
    choice = {"message": message, "finish_reason": data.draw(st.sampled_from(ENDS[answer.end]))}
    if how.choice_index != "none":
        choice["index"] = 0 if how.choice_index == "right" else 3
    reading = Reading(tools=TOOLS, free=True, choices=1)
    body = json.dumps({"id": "x", "created": 5, "choices": [choice]}).encode()
    completion = PROVIDERS["openai"].read_answer(body, Outgoing("/", b"{}", reading=reading))
    compare(read_answer(body_of(completion)), answer, how.known_ids)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(meant(), min_size=2, max_size=3), habits())
def test_several_choices_keep_apart(data: Any, answers: list[Meant], how: Habits):
    how = dataclasses.replace(how, choice_index="right", ids_move=False, created="same")
    streams = []
    for place, answer in enumerate(answers):
        events = write_stream(data.draw, answer, how).split(b"\n\n")[:-2]
        streams.append([event.replace(b'"index": 0, "delta"', b'"index": %d, "delta"' % place) for event in events])
        streams[-1] = [event.replace(b'"index":0,"delta"', b'"index":%d,"delta"' % place) for event in streams[-1]]
    order = data.draw(st.permutations([place for place, events in enumerate(streams) for _ in events]))
    mixed = b"".join(streams[place].pop(0) + b"\n\n" for place in order)
    reading = Reading(tools=TOOLS, free=True, choices=len(answers))
    reader = PROVIDERS["openai"].open_reader(
        Outgoing("/", b"{}", reading=reading), chat_order("ours", "public", 9, True, 2**20)
    )
    said = read_stream(reader.feed(mixed), done=False)
    for one, answer in zip(said, answers, strict=True):
        compare([one], answer, how.known_ids)
