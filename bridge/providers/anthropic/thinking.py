"""Decides how much Claude is to think: `reasoning_effort` or `thinking`, as far as model, cap and tools allow it."""

from msgspec import Struct, field

from bridge.conversation.request import Conversation
from bridge.json_types import JsonObject
from bridge.providers.anthropic.models import Claude
from bridge.providers.asked import Effort, read_thinking
from bridge.providers.base import refuse

LEAST_BUDGET = 1024
# Tokens to think with, for generations that take a budget and no effort.
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000}
DISPLAYS = ("summarized", "omitted")


class Decision(Struct):
    """`fields` go out (`thinking`, and `effort` within `output_config`); `on` says that the model thinks at all, and
    `budgeted` that it does so with a budget, with which nothing may be forced."""

    on: bool = False
    budgeted: bool = False
    fields: JsonObject = field(default_factory=dict)
    effort: str | None = None
    dropped: list[str] = field(default_factory=list)
    clamped: list[str] = field(default_factory=list)


def decide(conversation: Conversation, claude: Claude, cap: int, may_budget: bool) -> Decision:
    """What goes out for what the client asked for. `may_budget` is False where a budget is impossible (a forced tool,
    thoughts that are lost): then thinking is off. Raises AttemptFailed for values that mean nothing."""
    wanted = read_thinking(conversation)
    if wanted.effort is not None and wanted.effort not in ("none", *BUDGETS):
        known = ", ".join(("none", *BUDGETS))
        raise refuse("reasoning_effort", f"reasoning_effort must be one of {known}.")
    asked_by = (("reasoning_effort", conversation.effort), ("thinking", conversation.thinking))
    given = [name for name, said in asked_by if said is not None]
    asked = wanted.on or (wanted.on is None and wanted.effort is not None)
    if not asked:
        off = wanted.on is False
        return _turn_off(claude, given[-1]) if off and claude.takes_adaptive else Decision(claude.thinks_by_default)
    kind = conversation.thinking.kind if conversation.thinking is not None else None
    if claude.takes_budget and (kind == "enabled" or not claude.takes_adaptive):
        return _budget(conversation, wanted, cap, may_budget, kind)
    if claude.takes_adaptive:
        return _adapt(conversation, wanted, claude, kind)
    return Decision(dropped=given)


def _turn_off(claude: Claude, asked_by: str) -> Decision:
    """Off, or as little as there is where nothing turns it off."""
    if not claude.thinks_by_default:
        return Decision()
    if claude.thinking_off:
        on = claude.thinking_off != "disabled"
        named = [f"{asked_by}={claude.thinking_off}"] if on else []
        return Decision(on, fields={"thinking": {"type": claude.thinking_off}}, clamped=named)
    return Decision(True, effort="low", clamped=[_name(asked_by, "low", "adaptive")])


def _name(asked_by: str, effort: str, kind: str) -> str:
    return f"{asked_by}={effort if asked_by == 'reasoning_effort' else kind}"


def _budget(conversation: Conversation, wanted: Effort, cap: int, may_budget: bool, kind: str | None) -> Decision:
    asked_by = "thinking" if kind else "reasoning_effort"
    if not may_budget or cap <= LEAST_BUDGET:
        return Decision(clamped=[_name(asked_by, "none", "disabled")])
    if wanted.budget_tokens:
        asked = wanted.budget_tokens
        budget = min(max(asked, LEAST_BUDGET), cap - 1)
    else:  # an effort leaves it to us, and an answer needs room too
        asked = BUDGETS[wanted.effort or "medium"]
        budget = max(LEAST_BUDGET, min(asked, cap - min(cap // 2, 4096)))
    named = [f"thinking.budget_tokens={budget}"] if budget != asked else []
    thinking = {"type": "enabled", "budget_tokens": budget, **_display(conversation)}
    return Decision(True, budgeted=True, fields={"thinking": thinking}, clamped=named)


def _adapt(conversation: Conversation, wanted: Effort, claude: Claude, kind: str | None) -> Decision:
    display, clamped = _display(conversation), []
    if not kind and claude.hides_thoughts:
        display = {"display": "summarized"}  # who asks for thoughts in OpenAI's words wants to read them
    if kind == "enabled":
        clamped.append("thinking=adaptive")
    effort = wanted.effort
    if effort is None and wanted.budget_tokens:
        effort = next((name for name in ("low", "medium") if wanted.budget_tokens <= BUDGETS[name]), "high")
    elif effort is not None and effort not in claude.efforts:
        effort = "low" if effort == "minimal" else "high"
        clamped.append(f"reasoning_effort={effort}")
    return Decision(True, fields={"thinking": {"type": "adaptive", **display}}, effort=effort, clamped=clamped)


def _display(conversation: Conversation) -> dict[str, str]:
    display = conversation.thinking.display if conversation.thinking is not None else None
    return {"display": display} if display in DISPLAYS else {}
