"""Google's Gemini, through the OpenAI dialect that it offers beside its own."""

from bridge.providers.openai import OpenAICompatible
from bridge.providers.token_scale import GEMINI


class Gemini(OpenAICompatible):
    name = "gemini"
    label = "Google"
    base_url = "https://generativelanguage.googleapis.com"
    token_scales = GEMINI
    chat_path = "/v1beta/openai/chat/completions"
