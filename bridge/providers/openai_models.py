"""What OpenAI's own models take: which names mean a model that thinks, and what such a model refuses."""

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from bridge.providers.draft import Draft

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# What other providers' answers and clients add to a conversation. OpenAI refuses what it doesn't know in a message.
FOREIGN_FIELDS = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "extra_content"})
SAMPLING = ("top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias")
PLAIN = ("user", "system", "assistant")  # roles of messages which may have nothing but their text
DEAF_TO_SYSTEM = ("o1-mini", "o1-preview")  # which refuse `system` and `developer` alike
_GPT = re.compile(r"gpt-(?!35)(\d+)(?:\.(\d+))?")


class Family(NamedTuple):
    """One of OpenAI's own models. `generation` of gpt-5.1 is (5, 1); the o-models have none, (0, 0)."""

    thinks: bool
    generation: tuple[int, int]


@functools.lru_cache(maxsize=1024)
def find_family(upstream_id: str) -> Family | None:
    """None for models that others serve in OpenAI's dialect."""
    name = upstream_id.removeprefix("ft:")
    if re.match(r"o\d", name):
        return Family(True, (0, 0))
    if found := _GPT.match(name):
        generation = int(found.group(1)), int(found.group(2) or 0)
        return Family(generation >= (5, 0) and not name.startswith("gpt-5-chat"), generation)
    return Family(False, (0, 0)) if name.startswith(("gpt-", "chatgpt-")) and "oss" not in name else None


def wants_newer_cap(upstream_id: str) -> bool:
    """Whether the model knows `max_completion_tokens` alone."""
    family = find_family(upstream_id)
    return family is not None and (family.thinks or family.generation >= (5, 0))


def fit_openai(draft: Draft) -> None:
    """Bring the request into what the model takes; of servers other than OpenAI's only their roles are known."""
    upstream_id, out = draft.order.upstream_id, draft.out
    family = find_family(upstream_id)
    fit_messages(draft, upstream_id, family is not None)
    if family is None:
        return
    if "thinking" in out:
        draft.drop("thinking")
    if out.get("tools"):
        out["tools"] = [_without_cache(tool) for tool in out["tools"]]
    if not family.thinks:
        if out.get("reasoning_effort") == "none":
            del out["reasoning_effort"]
        if "reasoning_effort" in out or "verbosity" in out:
            draft.drop("reasoning_effort", "verbosity")
        return
    _fit_effort(draft, family)
    _fit_sampling(draft, family, upstream_id)


def _fit_effort(draft: Draft, family: Family) -> None:
    asked, generation, out = draft.out.get("reasoning_effort"), family.generation, draft.out
    if out.get("tools") and generation >= (5, 4) and (asked or generation >= (5, 5)):
        # on this endpoint these models take functions only while they don't think
        if asked != "none":
            draft.clamp("reasoning_effort", "none")
        return
    if asked not in EFFORTS:
        return
    known = _efforts_of(generation)
    wanted = EFFORTS.index(asked)
    fitting = next((effort for effort in EFFORTS[wanted:] if effort in known), known[-1])
    if fitting != asked:
        draft.clamp("reasoning_effort", fitting)


def _efforts_of(generation: tuple[int, int]) -> Sequence[str]:
    """The levels that a generation knows, in rising order; those newer than this table know all but `minimal`."""
    if generation < (5, 0):
        return ("low", "medium", "high")
    if generation == (5, 0):
        return ("minimal", "low", "medium", "high")
    if generation == (5, 1):
        return ("none", "low", "medium", "high")
    return ("none", "low", "medium", "high", "xhigh", *(("max",) if generation >= (5, 5) else ()))


def _fit_sampling(draft: Draft, family: Family, upstream_id: str) -> None:
    if (5, 1) <= family.generation < (5, 5) and draft.out.get("reasoning_effort") == "none":
        return  # while they don't think, these are models like the older ones
    if draft.out.get("temperature") != 1:
        draft.drop("temperature")
    draft.drop(*SAMPLING)
    if not upstream_id.startswith("o1"):
        draft.drop("stop")
    if family.generation == (0, 0):
        draft.drop("parallel_tool_calls")


def fit_messages(draft: Draft, upstream_id: str, openais: bool) -> None:
    """The conversation in this model's words. Nearly always it is so already, and goes out as it was written once."""
    messages = draft.order.body["messages"]
    if not upstream_id.startswith(DEAF_TO_SYSTEM):
        for message in messages:
            if len(message) != 2 or message["role"] not in PLAIN or type(message.get("content")) is not str:
                break
        else:
            return
    fitted = [_fit_message(message, upstream_id, openais) for message in messages]
    if any(new is not old for new, old in zip(fitted, messages, strict=True)):
        draft.out["messages"] = fitted


def _fit_message(message: dict[str, Any], upstream_id: str, openais: bool) -> dict[str, Any]:
    role = message.get("role")
    if role in ("system", "developer"):
        if openais and upstream_id.startswith(DEAF_TO_SYSTEM):
            message = {**message, "role": "user", "content": message["content"] or ""}
        elif role == "developer" and not openais:
            message = {**message, "role": "system"}  # which every server knows
    if not openais:
        return message
    if not FOREIGN_FIELDS.isdisjoint(message):
        message = {field: value for field, value in message.items() if field not in FOREIGN_FIELDS}
    content, calls = message.get("content"), message.get("tool_calls") if role == "assistant" else None
    if isinstance(content, list) and any("cache_control" in part for part in content):
        message = {**message, "content": [_without_cache(part) for part in content]}
    if calls and any("index" in call or "extra_content" in call for call in calls):
        bare = [{field: call[field] for field in call if field not in ("index", "extra_content")} for call in calls]
        message = {**message, "tool_calls": bare}
    return _without_cache(message)


def _without_cache(thing: dict[str, Any]) -> dict[str, Any]:
    if "cache_control" not in thing:
        return thing
    return {field: value for field, value in thing.items() if field != "cache_control"}
