"""OpenAI's own SDK as a client of a gateway. Each client is closed at its test's end: the collector would find its
sockets during another test, which then fails."""

import openai

from tests.gateway import Gateway

_opened: list[openai.OpenAI] = []


def open_sdk(gateway: Gateway, secret: str, max_retries: int = 0) -> openai.OpenAI:
    """A client of this gateway with this key."""
    _opened.append(openai.OpenAI(api_key=secret, base_url=gateway.base_url, max_retries=max_retries))
    return _opened[-1]


def close_sdks() -> None:
    """Close all that this test has opened."""
    while _opened:
        _opened.pop().close()
