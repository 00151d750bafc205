"""DeepSeek, which speaks OpenAI's dialect."""

from typing import Any

from bridge.providers.base import Outgoing
from bridge.providers.openai import OpenAICompatible

# The two old names are one model today, which thinks or not as it is told.
THINKING = {"deepseek-chat": "disabled", "deepseek-reasoner": "enabled"}


class DeepSeek(OpenAICompatible):
    name = "deepseek"
    label = "DeepSeek"
    base_url = "https://api.deepseek.com"

    def write_chat(self, body: dict[str, Any], upstream_id: str, output_cap: int | None) -> Outgoing:
        thinking = THINKING.get(body["model"])
        if thinking and "thinking" not in body:
            body = {**body, "thinking": {"type": thinking}}
        return super().write_chat(body, upstream_id, output_cap)
