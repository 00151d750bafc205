"""A base URL that is nearly right works, and a wrong one is told the right one."""

import pytest
from flask.testing import FlaskClient

from tests.factories import Factories, MadeKey
from tests.served import HELLO
from tests.upstream import ScriptedUpstream

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "base", ["/v1", "", "/v1/v1", "//v1", "/v1/", "/v1//v1", "//", "///v1///", "/v1/v1/v1", "/v1/v1/"]
)
def test_a_base_url_without_v1_with_it_twice_or_a_slash_too_many_works(
    client: FlaskClient, make: Factories, upstream: ScriptedUpstream, base: str, engine: str
):
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    body = {"model": model, "messages": HELLO}
    assert client.post(f"{base}/chat/completions", json=body, headers=key.headers).status_code == 200
    assert client.get(f"{base}/models", headers=key.headers).json["object"] == "list"
    assert client.get(f"{base}/models/{model}", headers=key.headers).json["id"] == model


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "X-Api-Key"])
def test_a_key_in_other_vendors_headers_is_taken(client: FlaskClient, make: Factories, header: str, engine: str):
    key = make.make_key()
    assert client.get("/v1/key", headers={header: key.secret}).status_code == 200
    both = {header: key.secret, "Authorization": "Basic abc"}
    assert client.get("/v1/credits", headers=both).status_code == 200
    assert client.get("/v1/key", headers={header: "sk-wrong"}).json["error"]["code"] == "invalid_api_key"


def test_of_two_keys_that_differ_none_is_taken(client: FlaskClient, make: Factories, engine: str):
    key = make.make_key()
    assert client.get("/v1/key", headers={"x-api-key": key.secret, **key.headers}).status_code == 200
    refused = client.get("/v1/key", headers={"x-api-key": "sk-other", **key.headers})
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "invalid_api_key")


def ask(key: MadeKey) -> list[dict[str, str]]:
    return [key.headers, {"x-api-key": key.secret}, {"Accept": "application/json"}]


ELSEWHERE = ["/", "/api/chat/completions", "/v2/models", "/chat", "/nothing"]
ELSEWHERE += ["/api/v1/chat/completions", "/openai/v1/models", "/V1/models", "/v1beta/models"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_program_at_another_address_is_told_the_base_url(
    client: FlaskClient, make: Factories, path: str, engine: str
):
    for headers in ask(make.make_key()):
        answer = client.post(path, json={}, headers=headers)
        assert answer.status_code in (404, 405)
        assert answer.content_type == "application/json"
        assert "/v1" in answer.json["error"]["message"]
        assert answer.headers["x-request-id"]


def test_people_still_get_pages(client: FlaskClient, engine: str):
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    assert "<html" in client.get("/models", headers=browser).text
    assert "<html" in client.get("/nothing", headers=browser).text
    assert "<html" in client.get("/models").text


@pytest.mark.parametrize("path", ["/livez", "/health"])
def test_health_has_two_names(client: FlaskClient, path: str, engine: str):
    assert client.get(path).json == {"status": "ok"}


def test_bytes_that_are_no_path_are_refused_in_order(client: FlaskClient, make: Factories, engine: str):
    headers = make.make_key().headers
    assert client.get("/v1/models/%00", headers=headers).status_code == 404
    assert client.get("/v1/requests/%00%ff", headers=headers).status_code == 404
