"""What providers counted of a prompt, as recorded, beside our own count of the same: never lower, so that whoever fits
a conversation by it is not refused."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.request import Conversation, Request
from bridge.conversation.turns import Text, Turn
from bridge.inference.estimate import count_prompt
from bridge.providers.token_scale import GEMINI, find_scale
from tests.factories import Factories
from tests.providers.recordings import list_exchanges

ASKED = (
    *list_exchanges("anthropic", "anthropic-count-tokens"),
    *list_exchanges("openai", "openai-responses-input-tokens"),
)
OF_GEMINI = list_exchanges("gemini", "gemini-count-tokens")
EXCHANGES = (*ASKED, *OF_GEMINI)


def read_count(exchange: dict[str, Any]) -> int:
    body = json.loads(exchange["response"]["body_text"])
    return int(body.get("input_tokens", body.get("totalTokens", 0)))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_free_counts_take_what_was_sent_and_are_no_lower_than_the_provider_s(client: FlaskClient, make: Factories):
    for provider in ("anthropic", "openai"):  # nobody is asked: it says on whose scale we count
        make.make_channel("http://127.0.0.1:9", provider=provider, models=None)
    key = make.make_key()
    for exchange in ASKED:
        path = exchange["request"]["url_path"]
        answer = client.post(path, json=exchange["request"]["json"], headers=key.headers)
        assert answer.status_code == exchange["response"]["status"], (exchange["id"], answer.text)
        if answer.status_code == 200:
            assert answer.get_json()["input_tokens"] >= read_count(exchange), exchange["id"]


def test_gemini_s_counts_are_no_higher_than_ours():
    for exchange in OF_GEMINI:
        if exchange["response"]["status"] == 200:
            request = read_request(exchange["request"]["json"], exchange["request"]["url_path"])
            assert count_prompt(request, find_scale(GEMINI, "gemini-3.5-flash")) >= read_count(exchange), exchange["id"]


def read_request(body: dict[str, Any], path: str) -> Request:
    body = body.get("generateContentRequest", body)
    texts = [part["text"] for content in body["contents"] for part in content["parts"]]
    if "embedding" in path:
        return EmbeddingRequest(endpoint="embeddings", model="m", inputs=texts, written=texts, options={})
    system = (body.get("systemInstruction") or {}).get("parts", {}).get("text", "")
    turns = [Turn("system", [Text(system)], "")] if system else []
    turns += [Turn("user", [Text(text)], "") for text in texts]
    return Conversation(endpoint="chat", model="m", turns=turns, options={})
