"""Moonshot, which speaks OpenAI's dialect."""

from bridge.providers.openai import OpenAICompatible
from bridge.providers.token_scale import MOONSHOT


class Moonshot(OpenAICompatible):
    name = "moonshot"
    label = "Moonshot"
    base_url = "https://api.moonshot.ai/v1"
    token_scales = MOONSHOT
