"""PROVIDERS: every provider the gateway can speak with, one line each."""

from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import Provider
from bridge.providers.deepseek import DeepSeek
from bridge.providers.gemini.provider import Gemini
from bridge.providers.moonshot import Moonshot
from bridge.providers.openai.provider import OpenAI
from bridge.providers.sandbox import Sandbox

_ALL: tuple[Provider, ...] = (OpenAI(), Anthropic(), Gemini(), DeepSeek(), Moonshot(), Sandbox())
PROVIDERS = {provider.name: provider for provider in _ALL}
SANDBOX = Sandbox.name  # for who connects it; whoever asks what a channel is asks `stands_in`
COMMON_DIALECT = OpenAI.name  # which model servers speak that have no provider of their own
STAND_INS = frozenset(provider.name for provider in _ALL if provider.stands_in)
COMPANIES = tuple(name for name in PROVIDERS if name not in STAND_INS)  # those that a key connects


def stands_in(provider: str) -> bool:
    """Whether this provider makes its answers up, for models that no real channel serves."""
    return provider in STAND_INS


def is_trial_model(provider: str, model_id: str) -> bool:
    """Whether a first try of this provider may take the model: others may be there to fail."""
    trial = PROVIDERS[provider].trial_model if provider in PROVIDERS else None
    return trial is None or model_id == trial
