"""PROVIDERS: every provider the gateway can speak with, one line each."""

from bridge.providers.anthropic import Anthropic
from bridge.providers.base import Provider
from bridge.providers.deepseek import DeepSeek
from bridge.providers.gemini import Gemini
from bridge.providers.moonshot import Moonshot
from bridge.providers.openai import OpenAI
from bridge.providers.sandbox import Sandbox

_ALL: tuple[Provider, ...] = (OpenAI(), Anthropic(), Gemini(), DeepSeek(), Moonshot(), Sandbox())
PROVIDERS = {provider.name: provider for provider in _ALL}
