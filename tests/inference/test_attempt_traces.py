"""What an attempt leaves for its operator: the upstream's own id of the request, and what it answered when it failed;
without credentials, and nothing that a customer reads."""

from collections.abc import Iterator

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from bridge.ledger.attempt_errors import list_errors
from tests.dashboard.pages import sign_in
from tests.factories import Factories
from tests.upstream import ScriptedUpstream, completion, fails, sends, whole

KEY = "lavender-Harbour-quietly-Mendable-trac7or"
HELLO = [{"role": "user", "content": "Hello!"}]
GOOD = completion("Hi", {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})

sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def second() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


def write_notes(app: Flask) -> None:
    with app.app_context():
        app.extensions["bridge_services"].attempt_errors.write()


@pytest.fixture
def failed_over(
    client: FlaskClient, make: Factories, upstream: ScriptedUpstream, second: ScriptedUpstream, operator: FlaskClient
) -> tuple[str, dict, str]:
    """A request that the second channel answered: its id, its receipt as its customer reads it, its operator's page."""
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model, api_key=KEY, priority=0, waits=False)
    make.make_channel(second.base_url, model, priority=1, waits=False)
    said = f"Overloaded: node-17 of account Blue Heron; key {KEY}, sk-abcdef1234567890"
    upstream.plays(fails(529, said, "overloaded_error", "x-request-id: up-first-1\r\n"))
    second.plays(lambda _: [whole(GOOD, headers="request-id: up-second-2\r\n")])
    answer = client.post("/v1/chat/completions", json={"model": model, "messages": HELLO}, headers=key.headers)
    assert answer.status_code == 200
    write_notes(client.application)
    request_id = answer.headers["x-request-id"]
    receipt = client.get(f"/v1/requests/{request_id}", headers=key.headers)
    return request_id, receipt.json, operator.get(f"/admin/requests/{request_id}").text


@pytest.fixture
def operator(app: Flask, make: Factories) -> FlaskClient:
    account, browser = make.make_account(0, is_operator=True), app.test_client()
    sign_in(browser, account.email, account.password)
    return browser


@sqlite
def test_an_operator_reads_each_upstreams_id_and_its_error(failed_over: tuple[str, dict, str]):
    _, _, page = failed_over
    for text in ("up-first-1", "up-second-2", "529 overloaded_error", "node-17 of account Blue Heron"):
        assert text in page
    assert "lavender" not in page
    assert "abcdef1234567890" not in page


@sqlite
def test_a_customer_reads_neither_and_no_channels_name(failed_over: tuple[str, dict, str], app: Flask):
    request_id, receipt, _ = failed_over
    assert [set(attempt) for attempt in receipt["attempts"]] == [
        {"channel", "upstream_id", "started_ms", "took_ms", "outcome"}
    ] * 2
    assert "Blue Heron" not in str(receipt)
    with app.app_context():
        assert "lavender" not in list_errors(request_id)[1].said


@sqlite
def test_of_an_error_about_the_request_only_what_its_client_was_told_is_kept(
    app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream
):
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model, waits=False)
    body = b'{"error": {"message": "temperature must be at most 2", "param": "temperature", "input": "my own prompt"}}'
    upstream.plays(sends(body, 400))
    answer = client.post("/v1/chat/completions", json={"model": model, "messages": HELLO}, headers=key.headers)
    assert answer.status_code == 400
    write_notes(app)
    with app.app_context():
        said = list_errors(answer.headers["x-request-id"])[1].said
    assert said == answer.json["error"]["message"]


@pytest.mark.parametrize("shown", [False, True])
def test_channel_names_are_null_unless_the_operator_shows_them(start_gateway, upstream: ScriptedUpstream, shown: bool):
    gateway = start_gateway(show_channel_names=shown)
    model, key = gateway.make.make_model(), gateway.make.make_key()
    channel = gateway.make.make_channel(upstream.base_url, model)
    body, wanted = {"model": model, "messages": HELLO}, channel if shown else None
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    receipt = requests.get(
        f"{gateway.base_url}/requests/{answer.headers['x-request-id']}", headers=key.headers, timeout=60
    )
    quote = requests.post(f"{gateway.base_url}/quote", json=body, headers=key.headers, timeout=60)
    assert [attempt["channel"] for attempt in receipt.json()["attempts"]] == [wanted]
    assert [route["channel"] for route in quote.json()["route"]] == [wanted]
