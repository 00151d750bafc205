"""What requests for OpenAI's Responses have in common, whoever's words they are written from."""

from collections.abc import Mapping

from bridge.json_types import Json, JsonObject
from bridge.providers.base import Order
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.models import find_family, fit_openai
from bridge.providers.responses.errors import ENCRYPTED, SUMMARY

LEAST_CAP = 16  # which Responses insists on
INCLUDE_THOUGHTS, INCLUDE_LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
FITTED = ("temperature", "top_p", "logprobs", "top_logprobs", "verbosity")  # by what the model takes


def fit(draft: Draft, given: Mapping[str, Json], effort: Json) -> None:
    """Leave in `out` what the model takes of sampling and thinking, by the same rules and names as on chat completions;
    tools hinder no thinking here."""
    conversation, out = draft.order.conversation, draft.out
    out |= {field: value for field in FITTED if (value := given.get(field)) is not None}
    if effort:
        out["reasoning_effort"] = effort
    if (thinking := conversation.thinking) is not None:
        out["thinking"] = {"type": thinking.kind}
    if conversation.parallel_calls is not None:
        out["parallel_tool_calls"] = conversation.parallel_calls
    fit_openai(draft)


def write_reasoning(order: Order, effort: Json, asked: JsonObject | None = None) -> JsonObject:
    """How much it thinks, and what of it is told: a summary, unless the client wants none or may have none. `asked` are
    the words of a client that speaks this dialect: then nothing is added to them."""
    thinking = order.conversation.thinking
    reasoning: JsonObject = dict(asked or {})
    reasoning.pop("effort", None)
    if effort is not None:
        reasoning["effort"] = effort
    if SUMMARY in order.without:
        reasoning.pop("summary", None)
        reasoning.pop("generate_summary", None)
    elif asked is None and may_think(order.upstream_id) and effort != "none":
        hidden = thinking is not None and (thinking.kind == "disabled" or thinking.display == "omitted")
        reasoning |= {} if hidden else {"summary": "auto"}
    return {"reasoning": reasoning} if reasoning else {}


def may_think(upstream_id: str) -> bool:
    """Whether the model thinks, as far as its name tells."""
    family = find_family(upstream_id)
    return family is None or family.thinks


def write_cap(draft: Draft, cap: int | None) -> None:
    """The cap, where there is one. What is below the least goes up to it and is named: no more than the cap is charged
    or streamed."""
    if cap is None:
        return
    draft.out["max_output_tokens"] = max(cap, LEAST_CAP)
    if cap < LEAST_CAP:
        sent = draft.order.conversation.sent_cap
        draft.clamped.append(f"{sent[0] if sent else 'max_tokens'}={LEAST_CAP}")


def write_fixed(order: Order, logprobs: bool) -> JsonObject:
    """What every request has: nothing is stored, so reasoning comes encrypted."""
    thinks = may_think(order.upstream_id) and ENCRYPTED not in order.without
    include = [INCLUDE_THOUGHTS] if thinks else []
    if logprobs:
        include.append(INCLUDE_LOGPROBS)
    fixed: JsonObject = {"store": False}
    if include:
        fixed["include"] = include
    return fixed | ({"stream": True} if order.conversation.stream else {})
