"""The list of what every SDK must do on every provider's model: what is asked, what the provider answers, and what must
have come of it."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from bridge.ledger.tables import UsageRecord
from tests.replies import Call, Reply
from tests.sdks.programs import Sdk
from tests.sdks.upstreams import Plan, Upstream, list_items
from tests.v1.test_providers_sdk import PIXEL, SPOKEN
from tests.v1.test_tool_loops import check_given_back

LAUNCH = {"name": "Launch", "day": "Friday"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"name": name, "description": f"Gives the {name}.", "parameters": PARAMETERS} for name in ("weather", "time")]
CUT_TEXT = "It is cold. " * 20


@dataclasses.dataclass(frozen=True)
class Seen:
    """What came of one case: what the SDK said, what reached the provider, and what was booked."""

    sdk: Sdk
    upstream: Upstream
    case: str
    said: dict[str, Any]
    sent: Sequence[Any]
    booked: Sequence[UsageRecord]

    @property
    def replies(self) -> list[Reply]:
        """What the provider answered."""
        return [reply for reply in CASES[self.case].plan(self.upstream) if isinstance(reply, Reply)]


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the list. `key` is whose key is used."""

    plan: Plan
    check: Callable[[Seen], None]
    stream: bool = False
    thinks: bool = False
    key: str = "good"
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)  # tools, image, schema

    @property
    def fails(self) -> bool:
        """Whether the channel is to blame, which then has to be one that nobody else needs."""
        return self.check in (check_unavailable, check_cut)


def check_answer(seen: Seen) -> None:
    """The words, and the tokens as the provider counted them."""
    assert "error" not in seen.said, seen.said
    assert seen.said["text"] == seen.replies[-1].text
    assert seen.said["usage"] == [40, 21]
    assert len(seen.sent) == len(seen.replies)
    check_paid(seen, "complete")


def check_paid(seen: Seen, outcome: str) -> None:
    """Each request that reached the provider was paid once, and no other."""
    assert [row.outcome for row in seen.booked] == [outcome] * len(seen.replies)
    assert all(row.charge_nanos > 0 for row in seen.booked)


def check_calls(seen: Seen) -> None:
    """Each call came once, whole, and its result went back."""
    check_answer(seen)
    calls = [call for reply in seen.replies for call in reply.calls]
    assert seen.said["calls"] == [{"name": call.name, "arguments": call.arguments} for call in calls]
    assert json.dumps(seen.sent[-1]).count("Result of ") == len(calls)


def check_loop(seen: Seen) -> None:
    """Calls as above; and what the provider wants back of its reasoning is in every later request."""
    check_calls(seen)
    if seen.upstream.model == "gpt-5.4":
        check_items(seen)
    elif seen.upstream.provider in ("deepseek", "moonshot"):
        check_thoughts(seen)
    elif seen.upstream.reveals_thoughts:
        check_given_back(seen.upstream, list(seen.sent))


def check_items(seen: Seen) -> None:
    """OpenAI's Responses get the encrypted reasoning before the calls that it led to."""
    for number, request in enumerate(seen.sent):
        wanted = [item for reply in seen.replies[:number] for item in list_items(reply)]
        assert name_items(request["input"]) == name_items(wanted)


def check_thoughts(seen: Seen) -> None:
    """What was thought comes back as text with the calls. Their ids may be the SDK's own: LangChain turns
    Kimi's into the form of Claude's. Each has its result."""
    for number, request in enumerate(seen.sent):
        turns = [message for message in request["messages"] if message["role"] == "assistant"]
        assert [turn["reasoning_content"] for turn in turns] == [reply.thought for reply in seen.replies[:number]]
        ids = [call["id"] for turn in turns for call in turn["tool_calls"]]
        assert ids == [message["tool_call_id"] for message in request["messages"] if message["role"] == "tool"]


def name_items(items: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Reasoning and calls in their order."""
    fields = {"reasoning": "encrypted_content", "function_call": "call_id"}
    return [(item["type"], item[fields[item["type"]]]) for item in items if item.get("type") in fields]


def check_picture(seen: Seen) -> None:
    """The picture reached the model, or it was said that it sees none."""
    if seen.upstream.provider == "deepseek":
        check_error(seen, 400, "picture|image")
        assert not seen.sent
        return
    check_answer(seen)
    assert PIXEL in json.dumps(seen.sent[-1])


def check_schema(seen: Seen) -> None:
    """The schema reached the model, and the SDK made an object of the answer."""
    check_answer(seen)
    assert seen.said["parsed"] == LAUNCH
    sent = json.dumps(seen.sent[-1])
    assert '"day"' in sent or '\\"day\\"' in sent


def check_error(seen: Seen, status: int, words: str) -> None:
    """The SDK's own exception, our words, and the id under which the request is found."""
    error = seen.said["error"]
    assert seen.sdk.errors[str(status)] in error["classes"]
    assert error["status"] == status
    assert re.search(words, error["message"]), error["message"]
    assert error["request_id"]


def refuses(status: int, words: str) -> Callable[[Seen], None]:
    """Before anything was held or asked."""

    def check(seen: Seen) -> None:
        check_error(seen, status, words)
        assert not seen.sent
        assert not seen.booked

    return check


def check_too_long(seen: Seen) -> None:
    """The provider's complaint, in our words and free."""
    check_error(seen, 400, "too long")
    check_free(seen)


def check_unavailable(seen: Seen) -> None:
    """The provider's failure, without its words and free."""
    check_error(seen, 503, "You were not charged")
    assert "secret" not in seen.said["error"]["message"]
    check_free(seen)


def check_free(seen: Seen) -> None:
    """One request, by the id that the SDK names, and nothing paid."""
    assert [row.request_id for row in seen.booked] == [seen.said["error"]["request_id"]]
    assert [row.charge_nanos for row in seen.booked] == [0]


def check_cut(seen: Seen) -> None:
    """The SDK raises, doesn't ask again, and what had come is paid once."""
    assert seen.sdk.errors["cut"] in seen.said["error"]["classes"], seen.said
    assert len(seen.sent) == 1
    check_paid(seen, "cut")


def say(*replies: Reply | int) -> Plan:
    return lambda _upstream: replies


def call_one(upstream: Upstream) -> Sequence[Reply]:
    return Reply(calls=(Call(upstream.ids[0], "weather", {"city": "Zürich"}),)), SPOKEN


def call_two(upstream: Upstream) -> Sequence[Reply]:
    first, second, _ = upstream.ids
    calls = (Call(first, "weather", {"city": "Zürich"}), Call(second, "time", {"city": "Oslo"}))
    return Reply("Let me look.", calls=calls), SPOKEN


def think(upstream: Upstream) -> Sequence[Reply]:
    return upstream.replies()


ASKS_TOOLS: dict[str, Any] = {"tools": TOOLS}
LOST = refuses(401, "API key")
POOR = refuses(402, "Insufficient credits")
FAST = refuses(429, "Rate limit exceeded: 1 TPM")
CASES = {
    "plain": Case(say(SPOKEN), check_answer),
    "stream": Case(say(SPOKEN), check_answer, stream=True),
    "tools": Case(call_one, check_calls, asked=ASKS_TOOLS),
    "parallel": Case(call_two, check_calls, stream=True, asked=ASKS_TOOLS),
    "loop": Case(think, check_loop, thinks=True, asked=ASKS_TOOLS),
    "streamed-loop": Case(think, check_loop, stream=True, thinks=True, asked=ASKS_TOOLS),
    "vision": Case(say(SPOKEN), check_picture, asked={"image": PIXEL}),
    "schema": Case(say(Reply(json.dumps(LAUNCH))), check_schema, asked={"schema": True}),
    "too-long": Case(say(400), check_too_long),
    "wrong-key": Case(say(), LOST, key="wrong"),
    "no-money": Case(say(), POOR, key="poor"),
    "too-fast": Case(say(), FAST, key="slow"),
    "unavailable": Case(say(503), check_unavailable),
    "cut": Case(say(Reply(CUT_TEXT)), check_cut, stream=True),
}
