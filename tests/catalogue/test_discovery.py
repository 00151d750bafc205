"""An upstream's own list of models: each dialect, page by page, within bounds, and a sentence for what goes wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from bridge.catalogue import discovery
from bridge.catalogue.discovery import NoModelList, list_upstream_models, make_candidate
from bridge.config import Settings
from bridge.errors import InvalidRequest
from bridge.providers.base import FoundModel
from tests.upstream import ScriptedUpstream, fails, sends, stalls

KEY = "sk-upstream-0123456789"


@pytest.fixture
def far_end(app: Flask) -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


def listed(body: Any) -> Any:
    return sends(json.dumps(body).encode())


def test_openai_s_dialect_lists_at_once_with_what_gateways_tell_beside(far_end: ScriptedUpstream, settings: Settings):
    told = {
        "id": "mistral/large",
        "name": "Mistral: Large",
        "context_length": 128_000,
        "top_provider": {"max_completion_tokens": 4_096},
        "pricing": {"prompt": "0.000002", "completion": "0.000006"},
    }
    far_end.plays(listed({"object": "list", "data": [{"id": "gpt-4o"}, told, {"id": "gpt-4o"}, {"id": "a b"}, 7]}))
    found = list_upstream_models(make_candidate("openai", far_end.base_url, KEY), settings)
    large = FoundModel("mistral/large", "Mistral: Large", 128_000, 4_096, 2 * 10**9, 6 * 10**9)
    assert found == (FoundModel("gpt-4o"), large)
    (request,) = far_end.requests
    assert (request.method, request.path, request.body) == ("GET", "/v1/models", b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_anthropic_s_list_is_read_to_its_last_page(far_end: ScriptedUpstream, settings: Settings):
    first = {"data": [{"id": "claude-a", "display_name": "Claude A"}], "has_more": True, "last_id": "claude-a"}
    far_end.plays(listed(first), listed({"data": [{"id": "claude-b"}], "has_more": False, "last_id": "claude-b"}))
    found = list_upstream_models(make_candidate("anthropic", far_end.base_url, KEY), settings)
    assert found == (FoundModel("claude-a", "Claude A"), FoundModel("claude-b"))
    assert [each.path for each in far_end.requests] == [
        "/v1/models?limit=1000",
        "/v1/models?limit=1000&after_id=claude-a",
    ]
    assert far_end.requests[1].headers["x-api-key"] == KEY
    assert far_end.requests[1].headers["anthropic-version"] == "2023-06-01"


def test_gemini_s_list_is_read_to_its_last_page_by_the_names_requests_have(
    far_end: ScriptedUpstream, settings: Settings
):
    pro = {"name": "models/gemini-pro", "displayName": "Gemini Pro", "inputTokenLimit": 9, "outputTokenLimit": 5}
    far_end.plays(listed({"models": [pro], "nextPageToken": "n/2"}), listed({"models": [{"name": "models/flash"}]}))
    base_url = far_end.base_url.removesuffix("/v1")
    found = list_upstream_models(make_candidate("gemini", base_url, KEY), settings)
    assert found == (FoundModel("gemini-pro", "Gemini Pro", 9, 5), FoundModel("flash"))
    assert far_end.requests[1].path == "/v1beta/models?pageSize=1000&pageToken=n%2F2"


def test_a_list_that_leads_in_a_circle_ends(far_end: ScriptedUpstream, settings: Settings):
    far_end.plays(*[listed({"data": [{"id": "m"}], "has_more": True, "last_id": "m"})] * 3)
    assert list_upstream_models(make_candidate("anthropic", far_end.base_url, KEY), settings) == (FoundModel("m"),)
    assert len(far_end.requests) == 2


@pytest.mark.parametrize(
    ("scenario", "field", "words"),
    [
        (fails(401, f"Incorrect API key provided: {KEY}"), "api_key", "refuses this key"),
        (fails(402, "Insufficient balance"), "api_key", "refuses this key"),
        (fails(429, "Slow down"), "api_key", "limits this key"),
        (fails(503), "base_url", "is failing"),
        (sends(b"<html>", content_type="text/html"), "base_url", "does not speak as"),
        (sends(b'{"data": {}}'), "base_url", "does not speak as"),
        (sends(b"[" * 100_000), "base_url", "does not speak as"),
    ],
)
def test_what_goes_wrong_stands_at_the_field_that_mends_it_without_the_key(
    far_end: ScriptedUpstream, settings: Settings, scenario: Any, field: str, words: str
):
    far_end.plays(scenario)
    with pytest.raises(InvalidRequest, match=words) as caught:
        list_upstream_models(make_candidate("openai", far_end.base_url, KEY), settings)
    assert caught.value.param == field
    assert KEY not in str(caught.value)


def test_an_upstream_without_a_list_is_told_apart(far_end: ScriptedUpstream, settings: Settings):
    far_end.plays(fails(404))
    with pytest.raises(NoModelList):
        list_upstream_models(make_candidate("openai", far_end.base_url, KEY), settings)


def test_a_list_that_is_too_large_or_too_late_is_given_up(
    far_end: ScriptedUpstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(discovery, "PAGE_BYTES", 100)
    far_end.plays(listed({"data": [{"id": "m" * 100}]}))
    with pytest.raises(InvalidRequest, match="too large"):
        list_upstream_models(make_candidate("openai", far_end.base_url, KEY), settings)
    monkeypatch.setattr(discovery, "LIST_SECONDS", 0.2)
    far_end.plays(stalls())
    with pytest.raises(InvalidRequest, match="no answer within"):
        list_upstream_models(make_candidate("openai", far_end.base_url, KEY), settings)


def test_an_address_of_this_machine_is_never_asked_in_production(far_end: ScriptedUpstream, production: Flask):
    with pytest.raises(InvalidRequest) as caught:
        list_upstream_models(make_candidate("openai", far_end.base_url, KEY), production.config["BRIDGE"])
    assert caught.value.param == "base_url"
    assert far_end.requests == []
