"""What is written for Gemini, in the shortest words."""

import json
from typing import Any

import pytest

from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.gemini.provider import Gemini
from tests.conversations import make_order

HI = [{"role": "user", "content": "Hi"}]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": WEATHER}}
NEW, MIDDLE, OLD = "gemini-3.5-flash", "gemini-2.5-flash", "gemini-2.0-flash"


def write(model: str = MIDDLE, kept: dict | None = None, cap: int | None = None, **body: Any) -> Outgoing:
    body = {"model": "public", "messages": HI, **body}
    return Gemini().write_request(make_order(body, model, cap, kept=kept or {}))


def sent(model: str = MIDDLE, **more: Any) -> dict[str, Any]:
    return json.loads(write(model, **more).body)


def config(model: str = MIDDLE, **more: Any) -> dict[str, Any]:
    return sent(model, **more).get("generationConfig", {})


def contents(*messages: dict[str, Any], model: str = MIDDLE, **more: Any) -> list[dict[str, Any]]:
    return sent(model, messages=list(messages), **more)["contents"]


def refusal(model: str = MIDDLE, **body: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        write(model, **body)
    assert caught.value.blame is Blame.REQUEST
    assert caught.value.message
    return caught.value


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def call(call_id: str = "call_1", name: str = "weather", arguments: str = '{"city":"Oslo"}', **more: Any) -> dict:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*made: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(made)}


def result(call_id: str = "call_1", content: Any = "rain", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}
