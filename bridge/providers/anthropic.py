"""Anthropic, through the OpenAI dialect that it offers beside its own."""

from bridge.providers.openai import OpenAICompatible


class Anthropic(OpenAICompatible):
    name = "anthropic"
    label = "Anthropic"
    base_url = "https://api.anthropic.com"
    chat_path = "/v1/chat/completions"
