"""Every answer, our own or recorded, is played byte by byte through a running gateway.

The SDK reads it, and its counts are booked."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.recorded_chats import Exchange, list_exchanges
from tests.factories import DOLLAR
from tests.played import Caller, Providers
from tests.providers.recordings import FOLDERS
from tests.replay import replays

MODELS = {
    "openai": "gpt-4.1",
    "anthropic": "claude-opus-4-8",
    "gemini": "gemini-3.5-flash",
    "deepseek": "deepseek-v4-pro",
    "moonshot": "kimi-k3",
}
THINK_ALOUD = ("openai", "deepseek", "moonshot")  # whose thoughts `Exchange.said` holds
FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}


def ask(caller: Caller, model: str, exchange: Exchange, stream: bool) -> tuple[str, list[str], set[str]]:
    """Texts, arguments of calls, and finish reasons of all choices. Offers the tools that the recorded request did."""
    tools: Any = exchange.body.get("tools") or None
    long = "Hello " + "a" * exchange.prompt_tokens  # no prompt has more tokens than bytes, whatever an upstream says
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": long}], "max_tokens": 32_000}
    if tools:
        names = {tool["function"]["name"]: None for tool in tools if "function" in tool}
        asked["tools"] = [{"type": "function", "function": {"name": name}} for name in names] or None
    if exchange.body.get("functions"):
        asked["functions"] = [{"name": function["name"]} for function in exchange.body["functions"]]
    asked = {field: value for field, value in asked.items() if value}
    sdk = caller.sdk.chat.completions
    text, arguments, finishes = "", {}, set()
    for chunk in sdk.create(**asked, stream=True) if stream else [sdk.create(**asked)]:
        for choice in chunk.choices:
            said = choice.delta if stream else choice.message
            thought = getattr(said, "reasoning_content", None) if exchange.provider in THINK_ALOUD else None
            text += (said.content or "") + (said.refusal or "") + (thought or "")
            finishes |= {choice.finish_reason} if choice.finish_reason else set()
            for place, call in enumerate(said.tool_calls or ()):
                at = (choice.index, call.index if stream else place)
                arguments[at] = arguments.get(at, "") + (call.function.arguments or "")
    return text, [arguments[at] for at in sorted(arguments)], finishes


def is_stream(body: str) -> bool:
    return body.lstrip()[:1] not in ("{", "[")


@pytest.mark.parametrize("folder", FOLDERS, ids=["own", "recorded"][: len(FOLDERS)])
@pytest.mark.parametrize("provider", MODELS)
def test_every_recorded_answer_reads_the_same_and_is_booked_as_its_provider_counted(
    provider: str, folder: Path, providers: Providers
):
    key = providers.gateway.make.make_key(providers.gateway.make.make_account(balance_nanos=1_000_000 * DOLLAR))
    caller, wrong, read = Caller(providers.gateway, key), {}, 0
    for exchange in list_exchanges(folder):
        recording = json.loads((folder / exchange.provider / f"{exchange.name}.json").read_text())
        body = recording["response"]["body_text"]
        if exchange.provider != provider or recording["api"] == "gemini-openai-compat-chat" or body.lstrip()[:1] == "[":
            continue
        if "UNEXPECTED_TOOL_CALL" in body:  # of what nobody offered, which is no answer
            continue
        providers[provider].plays(replays(recording))
        try:
            text, arguments, finishes = ask(caller, MODELS[provider], exchange, is_stream(body))
        except Exception as error:
            wrong[exchange.name] = repr(error)[:300]
            continue
        booked = caller.last_booked()
        read += 1
        found = (booked.tokens_source, booked.prompt_tokens, booked.completion_tokens)
        if found != ("provider", exchange.prompt_tokens, exchange.completion_tokens):
            wrong[exchange.name] = f"{found}, not {exchange.prompt_tokens}, {exchange.completion_tokens}"
        calls = arguments or exchange.body.get("functions") or exchange.apart == "provider's tools"
        if not calls and sorted(text) != sorted("".join(exchange.said)):  # thoughts may stand before or behind
            wrong[exchange.name] = f"{text[:200]!r}, not {''.join(exchange.said)[:200]!r}"
        if not finishes or not finishes <= FINISHES:
            wrong[exchange.name] = f"finish reasons {finishes}"
        if "length" not in finishes and not all(isinstance(json.loads(each), dict) for each in arguments):
            wrong[exchange.name] = f"arguments {arguments}"
    assert read > 5
    assert wrong == {}
