"""The playground asks by a key of its own: seen, bounded and revoked like any other, through the door that all use."""

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.accounts.customers import set_account_limits, suspend_account
from bridge.accounts.key_search import list_all_keys
from bridge.accounts.keys import disable_key, enable_key, revoke_key
from bridge.accounts.playground_key import DAY_BUDGET_NANOS
from bridge.accounts.tables import Key, MemberSession
from bridge.acts import list_acts
from bridge.db import transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.upstream import ScriptedUpstream, says

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PAGE = "/dashboard/playground"
HELLO = [{"role": "user", "content": "Hello!"}]


class Playground:
    """The page of a signed-in account, and a model that it can ask."""

    def __init__(self, app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream):
        self.app, self.client, self.make = app, client, make
        self.account: MadeAccount = make.make_account()
        self.model = make.make_model(input_modalities=["text", "image"])
        make.make_channel(upstream.base_url, self.model)
        sign_in(client, self.account.email, self.account.password)

    @property
    def token(self) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get(PAGE).text)
        assert found
        return found[1]

    def ask(self, what: str = "chat", headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        body = {"model": self.model, "messages": HELLO, **more}
        given = {"X-CSRFToken": self.token} if headers is None else headers
        return self.client.post(f"{PAGE}/{what}", json=body, headers=given, buffered=True)

    def list_keys(self) -> list[Key]:
        with self.app.app_context():
            return list_all_keys(self.account.id)


@pytest.fixture
def playground(app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream) -> Playground:
    return Playground(app, client, make, upstream)


def test_a_call_is_streamed_charged_and_has_a_receipt_under_a_key_of_its_own(
    playground: Playground, upstream: ScriptedUpstream
):
    upstream.plays(says("Good ", "day"))
    assert playground.list_keys() == []  # looking makes none
    playground.client.get(PAGE)
    assert playground.list_keys() == []
    answer = playground.ask(stream=True, stream_options={"include_usage": True})
    assert answer.status_code == 200
    assert "Good " in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    (key,) = playground.list_keys()
    assert (key.name, key.budget_day_nanos, key.is_playground) == ("Playground", DAY_BUDGET_NANOS, True)
    (record,) = playground.make.list_usage(playground.account.id)
    assert record.key_id == key.id
    assert record.request_id == answer.headers["x-request-id"]
    receipt = playground.client.get(f"{PAGE}/receipts/{record.request_id}").json
    assert receipt["outcome"] == "complete"
    assert receipt["completion_tokens"] == 2
    assert "Playground" in playground.client.get("/dashboard/keys").text
    with playground.app.app_context():
        made = [act for act in list_acts(playground.account.id) if act.what == "key_created"]
    assert [act.made_by for act in made] == [playground.account.email]


def test_no_other_site_and_no_stranger_asks(playground: Playground, app: Flask):
    assert playground.ask(headers={}).status_code == 400  # without the form's token
    assert app.test_client().post(f"{PAGE}/chat", json={}, headers={"X-CSRFToken": playground.token}).status_code == 400
    assert playground.list_keys() == []
    answer = playground.ask(model="nothing")
    assert answer.status_code == 404
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


def test_the_pages_cookie_opens_no_door_of_the_api(playground: Playground):
    answer = playground.client.post("/v1/chat/completions", json={"model": playground.model, "messages": HELLO})
    assert answer.status_code == 401


def test_no_header_passes_for_the_key(playground: Playground, app: Flask):
    for name in ("Bridge-Caller", "bridge.caller"):
        answer = app.test_client().post("/v1/chat/completions", json={}, headers={name: "1"})
        assert answer.status_code == 401


def test_a_quote_makes_no_request_and_takes_none_of_the_accounts_minute(
    playground: Playground, app: Flask, upstream: ScriptedUpstream
):
    with app.app_context():
        set_account_limits(playground.account.id, {"rpm": 1})
    for _ in range(2):
        quote = playground.ask("quote", max_tokens=1000)
        assert float(quote.json["max_cost"]) > 0
    assert upstream.requests == []
    assert playground.make.list_usage(playground.account.id) == []
    upstream.plays(says("Hi"))
    assert [playground.ask().status_code for _ in range(2)] == [200, 429]


def test_a_body_larger_than_any_form_is_taken(playground: Playground, upstream: ScriptedUpstream):
    upstream.plays(says("Long"))
    words = "word " * (3 * 2**18)  # 3.75 MiB
    answer = playground.ask(messages=[{"role": "user", "content": words}], max_tokens=1)
    assert answer.status_code == 200, answer.text


def test_a_form_is_no_larger_here_than_elsewhere(playground: Playground):
    headers = {"X-CSRFToken": playground.token}
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = playground.client.post(f"{PAGE}/chat", data=b"a" * 2**21, content_type=kind, headers=headers)
        assert answer.status_code == 413


def test_another_key_in_the_place_of_a_revoked_one_needs_a_fresh_sign_in(
    playground: Playground, app: Flask, upstream: ScriptedUpstream
):
    upstream.plays(says("Hi"))
    playground.ask()
    with app.app_context():
        revoke_key(playground.account.id, playground.list_keys()[0].id)
        with transaction() as session:
            session.execute(sa.update(MemberSession).values(proven_at=None))
    answer = post(playground.client, f"{PAGE}/key", PAGE)
    assert answer.location.startswith("/dashboard/prove")
    assert len(playground.list_keys()) == 1


def test_a_key_that_is_off_asks_nothing_and_the_page_says_what_to_do(
    playground: Playground, app: Flask, upstream: ScriptedUpstream
):
    upstream.plays(says("Hi"))
    playground.ask()
    (key,) = playground.list_keys()
    with app.app_context():
        disable_key(playground.account.id, key.id)
    answer = playground.ask()
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "playground_key_off")
    assert f'href="/dashboard/keys/{key.id}">Enable it' in playground.client.get(PAGE).text
    with app.app_context():
        enable_key(playground.account.id, key.id)
        revoke_key(playground.account.id, key.id)
    assert playground.ask().json["error"]["message"] == "The key Playground is revoked, so nothing was sent."
    assert len(playground.list_keys()) == 1  # no other takes its place by itself
    assert "Make a new key" in playground.client.get(PAGE).text
    assert post(playground.client, f"{PAGE}/key", PAGE).status_code == 303
    assert playground.ask().status_code == 200
    assert len(playground.list_keys()) == 2


def test_its_budget_ends_its_calls_and_no_others(playground: Playground, app: Flask, upstream: ScriptedUpstream):
    upstream.plays(says("Hi"))
    playground.ask()
    (key,) = playground.list_keys()
    fields = {"name": "Playground", "budget_day": "0"}
    assert (
        post(playground.client, f"/dashboard/keys/{key.id}", f"/dashboard/keys/{key.id}", **fields).status_code == 303
    )
    answer = playground.ask()
    assert (answer.status_code, answer.json["error"]["code"]) == (402, "key_budget_exceeded")
    assert "Change its budget" in playground.client.get(PAGE).text


def test_a_suspended_account_asks_nothing(playground: Playground, app: Flask):
    with app.app_context():
        suspend_account(playground.account.id, reason="A charge-back")
    sign_in(playground.client, playground.account.email, playground.account.password)
    assert playground.ask().status_code == 403
    assert playground.make.list_usage(playground.account.id) == []


def test_whoever_leaves_is_charged_for_what_came(playground: Playground, upstream: ScriptedUpstream):
    upstream.plays(says("One ", "two ", "three"))
    body = {"model": playground.model, "messages": HELLO, "stream": True}
    headers = {"X-CSRFToken": playground.token}
    answer = playground.client.post(f"{PAGE}/chat", json=body, headers=headers, buffered=False)
    first = next(iter(answer.response))
    answer.close()
    assert first
    (record,) = playground.make.list_usage(playground.account.id)
    assert record.outcome == "client_gone"
    assert playground.make.find_money(playground.account.id)[1] == 0


def test_the_page_shows_the_models_that_can_be_asked_and_what_they_take(playground: Playground, make: Factories):
    make.make_model(id_="vectors", kinds=["embeddings"])
    page = playground.client.get(PAGE).text
    found = re.search(rf'value="{playground.model}"(.*?)>', page, re.DOTALL)
    assert found
    assert "temperature" in found[1]
    assert "data-images" in found[1]
    assert 'value="vectors"' not in page
    assert json.dumps(playground.account.password) not in page


def test_other_accounts_receipts_are_none_of_its_own(
    playground: Playground, make: Factories, upstream: ScriptedUpstream
):
    upstream.plays(says("Hi"))
    key = make.make_key()
    body = {"model": playground.model, "messages": HELLO}
    answer = playground.app.test_client().post("/v1/chat/completions", json=body, headers=key.headers)
    assert playground.client.get(f"{PAGE}/receipts/{answer.headers['x-request-id']}").status_code == 404
    assert make.find_money(key.account_id)[0] < 10 * DOLLAR


def test_a_models_page_leads_to_the_playground_with_this_model(playground: Playground):
    page = playground.client.get(f"/models/{playground.model}").text
    (address,) = re.findall(rf'href="({PAGE}\?model=[^"]+)"', page)
    assert f'<span class="mono" data-chosen>{playground.model}<' in playground.client.get(address).text
    assert " data-asked" in playground.client.get(address).text
    for wrong in ("nothing", "%00", "<b>"):
        answer = playground.client.get(PAGE, query_string={"model": wrong})
        assert answer.status_code == 200
        assert " data-asked" not in answer.text
