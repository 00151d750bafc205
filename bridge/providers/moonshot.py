"""Moonshot, which speaks OpenAI's dialect."""

from bridge.providers.openai import OpenAICompatible


class Moonshot(OpenAICompatible):
    name = "moonshot"
    label = "Moonshot"
    base_url = "https://api.moonshot.ai/v1"
