"""Tool loops with thinking: what a provider wants back of its reasoning is in every later request, whole or streamed,
also for a client that returns only what OpenAI's API knows. Checked on the requests that reach the provider."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.played import Caller, Providers
from tests.replies import Call, Reply

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": f"Gives the {name}.", "parameters": PARAMETERS}}
    for name in ("weather", "time")
]
QUESTION = {"role": "user", "content": "What is it like in Oslo and Rome?"}


@dataclasses.dataclass(frozen=True)
class Loop:
    """A provider's model, how the client asks it to think, and the ids that it gives to calls."""

    provider: str
    model: str
    asked: dict[str, Any]
    ids: tuple[str, str, str]

    def replies(self) -> tuple[Reply, Reply, Reply]:
        """Two calls at once, then one, then the answer."""
        first, second, third = self.ids
        both = (Call(first, "weather", {"city": "Oslo"}), Call(second, "weather", {"city": "Rome"}))
        one = (Call(third, "time", {"city": "Rome"}),)
        return (
            Reply(thought="Both places, then. 🤔", signature="c2lnbmF0dXJlIG9uZQ==", calls=both, reasoning_tokens=9),
            Reply("Rome next.", "The hour matters.", "c2lnbmF0dXJlIHR3bw==", calls=one, reasoning_tokens=9),
            Reply("Cold, and warm.", "That is all.", "c2lnbmF0dXJlIHRocmVl", reasoning_tokens=9),
        )


BUDGET = {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2000}}}
EFFORT = {"reasoning_effort": "medium"}
TOOLU = ("toolu_01AbCdEfGhIjKlMnOpQr", "toolu_01BbCdEfGhIjKlMnOpQr", "toolu_01CbCdEfGhIjKlMnOpQr")
LOOPS = {
    "anthropic, budget": Loop("anthropic", "claude-sonnet-4-5", BUDGET, TOOLU),
    "anthropic, adaptive": Loop("anthropic", "claude-opus-4-8", EFFORT, TOOLU),
    "gemini 3": Loop("gemini", "gemini-3.5-flash", EFFORT, ("fc_a1", "fc_b2", "fc_c3")),
    "gemini 3, no ids": Loop("gemini", "gemini-3-flash-preview", EFFORT, ("", "", "")),
    "deepseek": Loop("deepseek", "deepseek-v4-pro", EFFORT, ("call_00_xa1", "call_01_xb2", "call_00_xc3")),
    "moonshot": Loop(
        "moonshot", "kimi-k2.6", EFFORT, ("functions.weather:0", "functions.weather:1", "functions.time:2")
    ),
}
EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
Say = Callable[[Caller, list[Any]], dict[str, Any]]


def ask(loop: Loop, caller: Caller, messages: list[Any], stream: bool) -> dict[str, Any]:
    """The assistant's message with all that came in it; of a stream, its deltas put together."""
    sdk = caller.sdk.chat.completions
    asked = {"model": loop.model, "messages": messages, "tools": TOOLS, "max_tokens": 8000, **loop.asked}
    if not stream:
        return sdk.create(**asked).choices[0].message.model_dump(exclude_none=True)
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for chunk in sdk.create(**asked, stream=True):
        for field, value in chunk.choices[0].delta.model_dump(exclude_none=True).items():
            if field == "tool_calls":
                add_calls(message.setdefault("tool_calls", []), value)
            elif field != "role":
                message[field] = message[field] + value if field in message else value
    return message


def add_calls(calls: list[Any], pieces: list[Any]) -> None:
    for piece in pieces:
        if piece["index"] == len(calls):
            calls.append({name: value for name, value in piece.items() if name != "index"})
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def bare(message: dict[str, Any]) -> dict[str, Any]:
    """The message as a client keeps it that knows OpenAI's API and no more."""
    calls = [
        {"id": call["id"], "type": "function", "function": dict(call["function"])}
        for call in message.get("tool_calls", ())
    ]
    return {"role": "assistant", "content": message.get("content") or None, "tool_calls": calls}


def results(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": f"Result of {call['function']['arguments']}"}
        for call in message["tool_calls"]
    ]


def run(loop: Loop, providers: Providers, stream: bool, give_back: Callable[[Any], Any], callers: list[Caller]) -> None:
    """Three turns, the nth by the nth caller."""
    providers[loop.provider].answers(*loop.replies())
    messages: list[Any] = [QUESTION]
    for caller in callers[:2]:
        message = ask(loop, caller, messages, stream)
        assert len({call["id"] for call in message["tool_calls"]}) == len(message["tool_calls"])
        messages += [give_back(message), *results(message)]
    assert ask(loop, callers[2], messages, stream)["content"] == "Cold, and warm."


def turns_of(provider: str, sent: dict[str, Any]) -> list[Any]:
    """The model's own turns in a request, in the provider's words."""
    if provider == "gemini":
        return [content["parts"] for content in sent["contents"] if content["role"] == "model"]
    turns = [message for message in sent["messages"] if message["role"] == "assistant"]
    return [turn["content"] for turn in turns] if provider == "anthropic" else turns


def check_given_back(loop: Loop, sent: list[Any]) -> None:
    """The second request has the first turn's reasoning, the third has both, each with its own turn."""
    assert len(sent) == 3
    for number, request in enumerate(sent):
        turns = turns_of(loop.provider, request)
        assert len(turns) == number
        for turn, reply in zip(turns, loop.replies(), strict=False):
            {"anthropic": check_blocks, "gemini": check_signatures}.get(loop.provider, check_text)(turn, reply)
    check_results(loop, sent[2])


def check_blocks(turn: list[Any], reply: Reply) -> None:
    thinking = {"type": "thinking", "thinking": reply.thought, "signature": reply.signature}
    text = [{"type": "text", "text": reply.text}] if reply.text else []
    calls = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in reply.calls]
    assert turn == [thinking, *text, *calls]


def check_signatures(turn: list[Any], reply: Reply) -> None:
    calls = [part for part in turn if "functionCall" in part]
    assert [part["functionCall"]["name"] for part in calls] == [call.name for call in reply.calls]
    assert [part["functionCall"]["args"] for part in calls] == [call.arguments for call in reply.calls]
    assert [part.get("thoughtSignature") for part in calls] == [reply.signature] + [None] * (len(calls) - 1)
    # an id that only the client knows may be one of our own making: then none goes back
    ids = [part["functionCall"].get("id", "") for part in calls]
    assert ids in ([call.id for call in reply.calls], [""] * len(calls))


def check_text(turn: dict[str, Any], reply: Reply) -> None:
    assert turn["reasoning_content"] == reply.thought
    assert [call["id"] for call in turn["tool_calls"]] == [call.id for call in reply.calls]


def check_results(loop: Loop, sent: dict[str, Any]) -> None:
    """All results of a turn stand together behind it, where the provider wants them so."""
    if loop.provider == "anthropic":
        ids = [[b["tool_use_id"] for b in m["content"]] for m in sent["messages"][1:] if m["role"] == "user"]
        assert ids == [list(loop.ids[:2]), [loop.ids[2]]]
    elif loop.provider == "gemini":
        answers = [c["parts"] for c in sent["contents"][1:] if c["role"] == "user"]
        names = [[part["functionResponse"]["name"] for part in parts] for parts in answers]
        assert names == [["weather", "weather"], ["time"]]
        calls = [part["functionCall"] for turn in turns_of("gemini", sent) for part in turn if "functionCall" in part]
        responses = [part["functionResponse"] for parts in answers for part in parts]
        assert [call.get("id") for call in calls] == [response.get("id") for response in responses]


def still_thinks(loop: Loop, sent: dict[str, Any]) -> bool:
    if loop.provider == "gemini":
        return "thinkingLevel" in sent["generationConfig"]["thinkingConfig"]
    return sent["thinking"]["type"] in ("enabled", "adaptive")


@EVERY_LOOP
@BOTH_WAYS
def test_a_client_that_knows_only_openai_s_api_goes_on_thinking(
    loop: Loop, stream: bool, providers: Providers, caller: Caller
):
    run(loop, providers, stream, bare, [caller] * 3)
    sent = providers[loop.provider].sent
    check_given_back(loop, sent)
    assert all(still_thinks(loop, request) for request in sent)
    if loop.provider == "gemini":  # whose own ids are known again
        parts = [part for turn in turns_of("gemini", sent[2]) for part in turn]
        ids = [part["functionCall"].get("id", "") for part in parts if "functionCall" in part]
        assert ids == list(loop.ids)


@EVERY_LOOP
@BOTH_WAYS
def test_a_client_that_gives_back_what_it_got_needs_nothing_kept(loop: Loop, stream: bool, providers: Providers):
    strangers = [providers.make_caller() for _ in range(3)]  # nothing is kept across accounts
    run(loop, providers, stream, lambda message: message, strangers)
    sent = providers[loop.provider].sent
    check_given_back(loop, sent)
    assert all(still_thinks(loop, request) for request in sent)


@EVERY_LOOP
@BOTH_WAYS
def test_where_nothing_is_kept_the_loop_goes_on_as_the_provider_lets_it(loop: Loop, stream: bool, providers: Providers):
    strangers = [providers.make_caller() for _ in range(3)]
    run(loop, providers, stream, bare, strangers)
    for request in providers[loop.provider].sent[1:]:
        for turn in turns_of(loop.provider, request):
            if loop.provider == "anthropic":
                assert {block["type"] for block in turn} <= {"text", "tool_use"}
                assert request.get("thinking", {"type": "disabled"})["type"] in ("disabled", "adaptive")
            elif loop.provider == "gemini":
                first = next(part for part in turn if "functionCall" in part)
                assert first["thoughtSignature"] == "skip_thought_signature_validator"
            else:
                assert turn["reasoning_content"].isspace()


def test_one_provider_s_signature_never_goes_to_another(providers: Providers, caller: Caller):
    first, other = LOOPS["anthropic, budget"], LOOPS["gemini 3"]
    providers["anthropic"].answers(first.replies()[0])
    providers["gemini"].answers(other.replies()[2])
    full = ask(first, caller, [QUESTION], stream=False)
    for message in (bare(full), full):
        ask(other, caller, [QUESTION, message, *results(message)], stream=False)
        sent = json.dumps(providers["gemini"].sent[-1])
        assert first.replies()[0].signature not in sent
        assert "skip_thought_signature_validator" in sent


@BOTH_WAYS
def test_the_reasoning_is_kept_before_the_client_can_answer(stream: bool, providers: Providers, caller: Caller):
    """The second request goes out at once, on a connection of its own."""
    loop = LOOPS["deepseek"]
    for _ in range(5):
        run(loop, providers, stream, bare, [caller] * 3)
        check_given_back(loop, providers[loop.provider].sent)
