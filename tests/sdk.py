"""OpenAI's own SDK, and Anthropic's, as clients of a gateway. Each client is closed at its test's end: the collector
would find its sockets during another test, which then fails."""

import anthropic
import openai

from tests.gateway import Gateway

_opened: list[openai.OpenAI | anthropic.Anthropic] = []


def open_sdk(gateway: Gateway, secret: str, max_retries: int = 0) -> openai.OpenAI:
    """A client of this gateway with this key."""
    client = openai.OpenAI(api_key=secret, base_url=gateway.base_url, max_retries=max_retries)
    _opened.append(client)
    return client


def open_anthropic(gateway: Gateway, secret: str, max_retries: int = 0) -> anthropic.Anthropic:
    """A client of Messages. Its base URL has no /v1."""
    base_url = gateway.base_url.removesuffix("/v1")
    client = anthropic.Anthropic(api_key=secret, base_url=base_url, max_retries=max_retries)
    _opened.append(client)
    return client


def close_sdks() -> None:
    """Close all that this test has opened."""
    while _opened:
        _opened.pop().close()
