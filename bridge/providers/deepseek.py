"""DeepSeek, which speaks OpenAI's dialect."""

import dataclasses
from typing import Any

from bridge.providers.base import ChatOrder, Outgoing
from bridge.providers.openai import OpenAICompatible
from bridge.providers.token_scale import DEEPSEEK

# The two old names are one model today, which thinks or not as it is told.
THINKING = {"deepseek-chat": "disabled", "deepseek-reasoner": "enabled"}


class DeepSeek(OpenAICompatible):
    name = "deepseek"
    label = "DeepSeek"
    base_url = "https://api.deepseek.com"
    token_scales = DEEPSEEK

    def choices_per_call(self, body: dict[str, Any], upstream_id: str) -> int:
        return 1

    def write_chat(self, order: ChatOrder) -> Outgoing:
        thinking = THINKING.get(order.body["model"])
        if thinking and "thinking" not in order.body:
            order = dataclasses.replace(order, body={**order.body, "thinking": {"type": thinking}})
        return super().write_chat(order)
