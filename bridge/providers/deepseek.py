"""DeepSeek, which speaks OpenAI's dialect, and thinks unless it is told not to. One of its models sees."""

from collections.abc import Mapping

from bridge.conversation.kinds import COMPLETIONS
from bridge.conversation.request import Conversation
from bridge.json_types import JsonObject
from bridge.providers.asked import read_thinking
from bridge.providers.base import Translator, refuse
from bridge.providers.openai.completions import DeepSeekCompletions
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.messages import OPENING
from bridge.providers.openai.siblings import SAMPLING, THOUGHTS, UNKNOWN, Sibling
from bridge.providers.token_scale import DEEPSEEK

# The two old names are one model today, which thinks or not as it is told.
THINKING = {"deepseek-chat": False, "deepseek-reasoner": True}
SEEING = ("deepseek-flash", "deepseek-v4-flash-vision")  # how the names of those begin that read pictures
EFFORTS = {"minimal": "high", "low": "high", "medium": "high", "high": "high", "xhigh": "max", "max": "max"}


class DeepSeek(Sibling):
    name = "deepseek"
    label = "DeepSeek"
    base_url = "https://api.deepseek.com"
    token_scales = DEEPSEEK
    translators: Mapping[str, Translator] = {COMPLETIONS: DeepSeekCompletions()}
    most_stops = 16
    message_fields = THOUGHTS | {"prefix"}  # of an assistant's message that it goes on with

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        return 1

    def check_part(self, part: JsonObject, place: str, upstream_id: str) -> None:
        kind, sees = part["type"], upstream_id.startswith(SEEING)
        if kind == "image_url" and sees:
            return
        code = "invalid_image" if kind == "image_url" else "invalid_value"
        raise refuse(place, f"{place}: this model reads text{' and pictures' if sees else ''} only, no {kind}.", code)

    def fit(self, draft: Draft) -> None:
        draft.drop(*UNKNOWN, "prompt_cache_key")
        choice = self.write_tools(draft)
        forced = choice is not None and choice.mode == "required" and bool(draft.out.get("tools"))
        thinks = self._write_thinking(draft, forced)
        if thinks:
            draft.drop(*SAMPLING)  # which it would take and not heed
        self.write_messages(draft, thinks)
        last = draft.messages[-1]
        if thinks and last["role"] == "assistant" and not last.get("prefix") and not last.get("tool_calls"):
            draft.write_messages([*draft.messages, {"role": "user", "content": OPENING}])  # which it insists on
        self.write_format(draft, native_schema=False, names_json=True)
        self.write_stop(draft)

    def _write_thinking(self, draft: Draft, forced: bool) -> bool:
        """Whether it thinks in this call, and how hard. A tool can't be forced on it while it does."""
        conversation, out = draft.order.conversation, draft.out
        asked, effort = read_thinking(conversation), out.pop("reasoning_effort", None)
        wanted = asked.on if asked.on is not None or not asked.effort else True
        by_name = THINKING.get(conversation.model)
        on = wanted if wanted is not None else by_name
        thinking = out.pop("thinking", None)
        if on is False or (forced and draft.order.upstream_id == "deepseek-chat" and on is None):
            out["thinking"] = {"type": "disabled"}
            return False
        if forced:
            draft.clamp("thinking", {"type": "disabled"}, "disabled")
            return False
        if asked.budget_tokens:
            draft.dropped.append("thinking.budget_tokens")
        if on:
            out["thinking"] = {"type": "enabled"}
            if thinking and thinking.get("type") == "adaptive":
                draft.clamped.append("thinking=enabled")
        if effort and effort != "none":
            known = EFFORTS.get(effort, "high")
            out["reasoning_effort"] = effort
            if known != effort:
                draft.clamp("reasoning_effort", known)
        return on is True or draft.order.upstream_id != "deepseek-chat"
