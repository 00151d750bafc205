"""DeepSeek, which speaks OpenAI's dialect."""

from bridge.providers.openai import OpenAICompatible


class DeepSeek(OpenAICompatible):
    name = "deepseek"
    label = "DeepSeek"
    base_url = "https://api.deepseek.com"
