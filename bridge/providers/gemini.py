"""Google's Gemini, through the OpenAI dialect that it offers beside its own."""

from bridge.providers.openai import OpenAICompatible


class Gemini(OpenAICompatible):
    name = "gemini"
    label = "Google"
    base_url = "https://generativelanguage.googleapis.com"
    chat_path = "/v1beta/openai/chat/completions"
