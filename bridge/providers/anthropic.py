"""Anthropic, through the OpenAI dialect that it offers beside its own."""

from bridge.providers.openai import OpenAICompatible
from bridge.providers.token_scale import ANTHROPIC


class Anthropic(OpenAICompatible):
    name = "anthropic"
    label = "Anthropic"
    base_url = "https://api.anthropic.com"
    token_scales = ANTHROPIC
    chat_path = "/v1/chat/completions"
