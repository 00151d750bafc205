"""Moonshot, which speaks OpenAI's dialect: what each generation of its models takes."""

import re
from typing import NamedTuple

from bridge.conversation.request import Conversation, ToolChoice
from bridge.json_types import JsonObject
from bridge.providers.asked import Effort, read_thinking
from bridge.providers.base import refuse
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.siblings import SAMPLING, THOUGHTS, UNKNOWN, Sibling
from bridge.providers.token_scale import MOONSHOT
from bridge.providers.tool_names import MOONSHOT_NAMES
from bridge.providers.tool_schemas import ToolRule

MOST_STOP_BYTES = 32
MOST_CHOICES = 5
TOOLS = ToolRule(MOONSHOT_NAMES, typed_branches=True)
EFFORTS = {"none": "low", "minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "max"}
EFFORTS["max"] = "max"


class Generation(NamedTuple):
    """`thinking` is "never", "if told" (by a field of that name, which is on by default), "always", or "by effort"
    (always, as hard as `reasoning_effort` says). Newer ones choose how they sample by themselves."""

    thinking: str
    newer: bool
    sees: bool


# By how the name begins, the first that fits; what is none of these is taken for the newest.
GENERATIONS = (
    (r"moonshot-v1", Generation("never", newer=False, sees=False)),
    (r"kimi-k2-thinking", Generation("always", newer=False, sees=False)),
    (r"kimi-k2(?!\.)", Generation("never", newer=False, sees=False)),
    (r"kimi-k2\.5", Generation("if told", newer=True, sees=True)),
    (r"kimi-k2\.6", Generation("if told", newer=True, sees=True)),
    (r"kimi-k2\.7", Generation("always", newer=True, sees=True)),
)
NEWEST = Generation("by effort", newer=True, sees=True)


def find_generation(upstream_id: str) -> Generation:
    name = upstream_id.lower().rpartition("/")[2]
    found = next((generation for start, generation in GENERATIONS if re.match(start, name)), NEWEST)
    return found._replace(sees=True) if "vision" in name else found


class Moonshot(Sibling):
    name = "moonshot"
    label = "Moonshot"
    base_url = "https://api.moonshot.ai/v1"
    token_scales = MOONSHOT
    most_stops = 5
    refuses_blanks = True
    message_fields = THOUGHTS | {"partial"}  # of an assistant's message that it goes on with

    def cap_field(self, upstream_id: str) -> str:
        return "max_completion_tokens"

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        """Several choices only of the older models, and not of nearly the same ones."""
        return (
            1
            if find_generation(upstream_id).newer or not (conversation.options.get("temperature") or 0) > 0.3
            else MOST_CHOICES
        )

    def tool_rule(self, upstream_id: str) -> ToolRule:
        return TOOLS

    def takes_parts(self, upstream_id: str) -> bool:
        return find_generation(upstream_id).sees

    def check_part(self, part: JsonObject, place: str, upstream_id: str) -> None:
        if part["type"] != "image_url":
            raise refuse(place, f"{place}: this model reads text and pictures only, no {part['type']}.")
        if not find_generation(upstream_id).sees:
            raise refuse(place, f"{place}: this model reads text only, no pictures.", "invalid_image")
        url = part["image_url"]["url"]
        if url[:5].lower() != "data:":
            where = f"{place}.image_url.url"
            message = f"{where}: this model fetches no pictures. Send it as data:image/png;base64,…."
            raise refuse(where, message, "invalid_image")

    def fit(self, draft: Draft) -> None:
        generation = find_generation(draft.order.upstream_id)
        draft.drop(*UNKNOWN, "logprobs", "top_logprobs")
        choice = self.write_tools(draft)
        thinks = _write_thinking(draft, generation, choice)
        if generation.newer:
            if draft.out.get("temperature") == 1:
                del draft.out["temperature"]
            draft.drop(*SAMPLING)
        elif (draft.out.get("temperature") or 0) > 1:
            draft.clamp("temperature", 1)
        self.write_messages(draft, thinks)
        self.write_format(draft, native_schema=generation.newer, names_json=False)
        self.write_stop(draft, MOST_STOP_BYTES)
        user = draft.out.pop("user", None)
        if user is not None:
            draft.out.setdefault("safety_identifier", user)


def _write_thinking(draft: Draft, generation: Generation, choice: ToolChoice | None) -> bool:  # noqa: C901 - a branch for each generation
    """Whether the model thinks in this call, told in its generation's field alone. A tool can't be forced on one that
    does: thinking gives way where it can."""
    out, asked = draft.out, read_thinking(draft.order.conversation)
    effort = out.get("reasoning_effort")
    forced = choice is not None and choice.mode == "required" and bool(out.get("tools"))
    given = {field: out.pop(field, None) for field in ("thinking", "reasoning_effort")}
    if generation.thinking == "never":
        if asked.on or (asked.on is None and asked.effort):
            draft.dropped += [field for field, value in given.items() if value is not None]
        return False
    if asked.budget_tokens:
        draft.dropped.append("thinking.budget_tokens")
    if generation.thinking == "if told":
        old = find_generation(draft.order.conversation.model).thinking == "never"
        # a name that never thought and is served by a successor doesn't begin to, at its customer's expense
        return _tell(draft, Effort(False) if old and asked == Effort() else asked, forced)
    if forced:
        draft.clamp("tool_choice", "auto")
    if generation.thinking == "by effort":
        wanted = "none" if asked.on is False else effort
        if wanted and wanted in EFFORTS:
            out["reasoning_effort"] = EFFORTS[wanted]
            if EFFORTS[wanted] != effort:
                draft.clamped.append(f"reasoning_effort={EFFORTS[wanted]}")
        elif wanted:
            draft.clamp("reasoning_effort", "high")
    elif asked.on is False or effort:
        draft.clamped.append("thinking=enabled")
    return True


def _tell(draft: Draft, asked: Effort, forced: bool) -> bool:
    """The thinking field of the models that have one; they think unless it says otherwise."""
    if asked.on is False:
        draft.out["thinking"] = {"type": "disabled"}
        return False
    if forced:
        draft.clamp("thinking", {"type": "disabled"}, "disabled")
        return False
    if asked.on or asked.effort:
        draft.out["thinking"] = {"type": "enabled"}
        if asked.effort:
            draft.clamped.append("thinking=enabled")
    return True
