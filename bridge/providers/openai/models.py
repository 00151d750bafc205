"""What OpenAI's own models take: which names mean a model that thinks, and what such a model refuses."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from bridge.conversation.request import CHAT
from bridge.providers.asked import effort_of
from bridge.providers.openai.draft import Draft

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SAMPLING = ("top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias")
ALWAYS_THINK = ("gpt-6-astra", "gpt-6.1-sol", "gpt-6.2-")  # which refuse an effort of none
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
    fit_roles(draft, upstream_id, family is not None)
    if family is None:
        return
    if "thinking" in out:
        if family.thinks:
            _say_by_effort(draft)
        draft.drop("thinking")
    if not family.thinks:
        if out.get("reasoning_effort") == "none":
            del out["reasoning_effort"]
        if "reasoning_effort" in out or "verbosity" in out:
            draft.drop("reasoning_effort", "verbosity")
        return
    _fit_effort(draft, family)
    _fit_sampling(draft, family, upstream_id)


def _say_by_effort(draft: Draft) -> None:
    """Thinking asked for in another dialect's words as an effort. A client of this one has a word for that itself."""
    conversation, out = draft.order.conversation, draft.out
    thinking = conversation.thinking
    if thinking is None or conversation.find_native(CHAT) is not None:
        return
    del out["thinking"]
    effort = "none" if thinking.kind == "disabled" else None
    if effort is None and (budget := thinking.budget_tokens) is not None:
        effort = effort_of(budget)
        draft.name_dropped("thinking.budget_tokens")
    if effort is not None:
        out.setdefault("reasoning_effort", effort)


def _fit_effort(draft: Draft, family: Family) -> None:
    asked, generation, out = draft.out.get("reasoning_effort"), family.generation, draft.out
    if out.get("tools") and generation >= (5, 4) and (asked or generation >= (5, 5)):
        # on this endpoint these models take functions only while they don't think
        if asked != "none":
            draft.clamp("reasoning_effort", "none")
        return
    if asked not in EFFORTS:
        return
    known = [
        effort
        for effort in _efforts_of(generation)
        if effort != "none" or not draft.order.upstream_id.removeprefix("ft:").startswith(ALWAYS_THINK)
    ]
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


def fit_roles(draft: Draft, upstream_id: str, openais: bool) -> None:
    """Instructions in a role that the model knows."""
    deaf = openais and upstream_id.startswith(DEAF_TO_SYSTEM)
    if not deaf and (openais or "developer" not in [message["role"] for message in draft.messages]):
        return
    wanted = ("system", "developer") if deaf else ("developer",)
    role = "user" if deaf else "system"  # which every other server knows
    draft.write_messages(
        [{**message, "role": role} if message["role"] in wanted else message for message in draft.messages]
    )
