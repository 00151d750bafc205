"""Requests with the same Idempotency-Key get the same answer, charged once: whole and streamed, also many at once."""

import datetime

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.db import db, now_utc, transaction
from bridge.inference.purchase import Purchase
from bridge.ledger.idempotency import delete_expired_keys
from bridge.ledger.tables import IdempotencyKey
from tests.gateway import Gateway
from tests.upstream import PATIENCE_SECONDS, PAUSE, ScriptedUpstream, hangs_up, pauses, says, starts

DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "Hello!"}]
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Served:
    """A model, a key, and requests to it under an Idempotency-Key."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream):
        self.gateway, self.upstream = gateway, upstream
        self.model = gateway.make.make_model(input_price=DOLLAR, output_price=DOLLAR)
        gateway.make.make_channel(upstream.base_url, self.model)
        self.key = gateway.make.make_key()

    def post(self, name: str | bytes, headers: dict[str, str] | None = None, **more) -> requests.Response:
        body = {"model": self.model, "messages": HELLO, **more}
        headers = {"Idempotency-Key": name, **(headers or self.key.headers)}
        return requests.post(f"{self.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)

    def spent(self) -> int:
        balance, held = self.gateway.make.find_money(self.key.account_id)
        assert held == 0
        return 10 * DOLLAR - balance

    def await_request(self) -> None:
        with gevent.Timeout(PATIENCE_SECONDS):
            while not self.upstream.requests:
                gevent.sleep(0.02)


@pytest.fixture
def served(gateway: Gateway, upstream: ScriptedUpstream) -> Served:
    return Served(gateway, upstream)


@both
def test_asked_again_it_is_the_same_answer_and_costs_nothing_more(served: Served, stream: bool):
    served.upstream.plays(says("Hello", " there"), says("Something", " else"))
    more = {"stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}
    first, second = served.post("order-1", **more), served.post("order-1", **more)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert b"there" in second.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-request-id"] == first.headers["x-request-id"]
    assert second.headers["x-bridge-cost"] == "0"
    assert served.spent() == 9_000
    assert len(served.upstream.requests) == 1


def test_another_body_under_the_same_key_is_422(served: Served):
    served.post("order-1")
    answer = served.post("order-1", temperature=0.5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert served.spent() == 9_000


@both
def test_while_the_first_one_runs_it_is_409_and_afterwards_its_answer(served: Served, stream: bool):
    served.upstream.plays(pauses(says("Hello", " there")))
    first = gevent.spawn(served.post, "order-1", stream=stream)
    served.await_request()
    second = served.post("order-1", stream=stream)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert int(second.headers["retry-after"]) >= 1
    served.upstream.resume()
    assert first.get().status_code == 200
    assert served.post("order-1", stream=stream).content == first.get().content
    assert served.spent() == 9_000


def test_of_many_at_once_one_runs(served: Served):
    served.upstream.plays(pauses(says("Hello", " there")))
    asking = [gevent.spawn(served.post, "order-1") for _ in range(12)]
    served.await_request()
    with gevent.Timeout(PATIENCE_SECONDS):
        while sum(one.ready() for one in asking) < 11:
            gevent.sleep(0.02)
    served.upstream.resume()
    statuses = sorted(one.get().status_code for one in asking)
    assert statuses == [200] + [409] * 11
    assert len(served.upstream.requests) == 1
    assert served.spent() == 9_000


@both
def test_after_a_failure_the_key_is_free_again(served: Served, stream: bool):
    served.upstream.plays(hangs_up(), says("Hello", " there"))
    assert served.post("order-1", stream=stream).status_code == 503
    answer = served.post("order-1", stream=stream)
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
    assert served.spent() == 9_000


def test_after_a_refusal_for_money_the_key_is_free_again(served: Served):
    dear = {"x-bridge-max-cost": "0", **served.key.headers}
    assert served.post("order-1", headers=dear).status_code == 402
    assert served.post("order-1").status_code == 200


def test_a_stream_that_broke_is_given_again_with_its_error(served: Served):
    served.upstream.plays(starts("Some", " words"), says("Something", " else"))
    first, second = (served.post("order-1", stream=True) for _ in range(2))
    assert "upstream_error" in first.text
    assert second.content == first.content
    assert len(served.upstream.requests) == 1


def test_a_stream_that_its_client_left_is_given_again_as_far_as_it_was_delivered(served: Served):
    served.upstream.plays(starts("Some", " words", then="stall"))
    url = f"{served.gateway.base_url}/chat/completions"
    body = {"model": served.model, "messages": HELLO, "stream": True}
    headers = {"Idempotency-Key": "order-1", **served.key.headers}
    with requests.post(url, json=body, headers=headers, stream=True, timeout=60) as answer:
        pieces, received = answer.iter_content(None), b""
        while b"words" not in received:
            received += next(pieces)
    with gevent.Timeout(PATIENCE_SECONDS):
        while (again := requests.post(url, json=body, headers=headers, timeout=60)).status_code == 409:
            gevent.sleep(0.05)
    assert again.content.startswith(received)
    assert b"error" in again.content
    assert b"[DONE]" not in again.content
    with gevent.Timeout(PATIENCE_SECONDS):  # the answer is kept before it is charged
        while not (rows := served.gateway.make.list_usage(served.key.account_id)):
            gevent.sleep(0.05)
    assert len(rows) == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_stream_under_a_key_leaves_no_mark_to_be_charged_by(served: Served):
    """Its answer would be lost with its worker, and a repetition would be charged."""
    served.upstream.plays(starts("Some", " words", then=PAUSE))
    other = served.gateway.make.make_key()
    asking = []
    for key, headers in ((served.key, {"Idempotency-Key": "order-1"}), (other, {})):
        url, body = f"{served.gateway.base_url}/chat/completions", {"model": served.model, "messages": HELLO}
        asked = {"json": body | {"stream": True}, "headers": key.headers | headers, "timeout": 60}
        answer = requests.post(url, **asked, stream=True)
        pieces = answer.iter_content(None)
        asking.append((answer, pieces))  # both: a generator that is forgotten closes the connection
        assert b"Some" in next(pieces)
    with gevent.Timeout(PATIENCE_SECONDS):  # one worker marks all of its streams together
        while "captured" not in "".join(served.gateway.make.list_hold_details(other.account_id)):
            gevent.sleep(0.05)
    (details,) = served.gateway.make.list_hold_details(served.key.account_id)
    assert "captured" not in details
    served.upstream.resume()
    for answer, _ in asking:
        answer.close()


def test_a_key_belongs_to_its_account(served: Served):
    other = served.gateway.make.make_key()
    first = served.post("order-1")
    second = served.post("order-1", headers=other.headers)
    assert "idempotent-replayed" not in second.headers
    assert second.json()["id"] != first.json()["id"]


def test_an_empty_value_is_no_key(served: Served):
    assert served.post("").headers["x-request-id"] != served.post("").headers["x-request-id"]
    assert served.spent() == 18_000


@pytest.mark.parametrize("name", ["x" * 256, "schlüssel".encode("latin-1")])
def test_a_value_that_is_no_key_is_400_and_names_the_header(served: Served, name):
    answer = served.post(name)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert served.spent() == 0


def test_the_kept_answer_is_sealed_and_gone_after_a_day(served: Served):
    served.upstream.plays(says("Hello", " there"), says("Something", " else"))
    first = served.post("order-1")
    with served.gateway.make.app.app_context():
        sealed = db.session.scalar(
            sa.select(IdempotencyKey.sealed).where(IdempotencyKey.account_id == served.key.account_id)
        )
        assert "there" not in sealed
        with transaction() as session:
            session.execute(
                sa.update(IdempotencyKey)
                .where(IdempotencyKey.account_id == served.key.account_id)
                .values(expires_at=now_utc() - datetime.timedelta(seconds=1))
            )
    assert served.post("order-1").content != first.content
    assert served.spent() == 18_000


def test_what_has_expired_is_deleted(app, make_account):
    account = make_account()
    with app.app_context():
        for key, seconds in (("old", -1), ("new", 60)):
            db.session.add(
                IdempotencyKey(
                    account_id=account.id,
                    key=key,
                    fingerprint="",
                    request_id=key,
                    stream=False,
                    expires_at=now_utc() + datetime.timedelta(seconds=seconds),
                )
            )
        db.session.commit()
        delete_expired_keys()
        assert list(db.session.scalars(sa.select(IdempotencyKey.key))) == ["new"]


def test_a_fault_of_ours_before_the_hold_leaves_the_key_free(client, make_key, monkeypatch):
    key, body = make_key(), {"model": "gpt-4o", "messages": HELLO}
    headers = {**key.headers, "Idempotency-Key": "order-1"}

    def broken(_purchase: Purchase) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Purchase, "place_hold", broken)
        assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 503
    assert client.post("/v1/chat/completions", json=body, headers=headers).status_code != 409
