"""Refused requests are counted per key, code and hour, with the last one; they have no usage row."""

import datetime

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.accounts.tables import Account
from bridge.db import db, now_utc, transaction
from bridge.errors import InsufficientBalance, InvalidRequest, RateLimitExceeded
from bridge.limits import refusals
from bridge.limits.refusals import (
    RefusalCounter,
    RefusalFilter,
    delete_old_refusals,
    find_last_refusal,
    list_codes,
    list_refusals,
    read_refusals,
    sum_refusals_by_key,
    sum_refusals_by_model,
)
from bridge.limits.tables import Refusal
from bridge.telemetry import new_request_id
from tests.upstream import says

HELLO = [{"role": "user", "content": "Hello!"}]
DOORS = {
    "/chat/completions": {"messages": HELLO},
    "/messages": {"messages": HELLO, "max_tokens": 10},
    "/responses": {"input": "Hello!"},
}
both_engines = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


def await_refusals(gateway, account, count: int) -> list[refusals.Refused]:
    """The account's refusals, once so many have been written."""
    with gateway.make.app.app_context(), gevent.Timeout(60):
        while read_refusals(RefusalFilter(account.id)).requests < count:
            db.session.rollback()
            gevent.sleep(0.05)
        return list_refusals(RefusalFilter(account.id))


@pytest.mark.parametrize("path", DOORS)
def test_what_is_refused_at_any_door_is_counted_with_its_last_message_and_model(gateway, upstream, path):
    model = gateway.make.make_model(output_price=10**12)
    gateway.make.make_channel(upstream.base_url, model)
    account = gateway.make.make_account(balance_nanos=0)
    key = gateway.make.make_key(account, rpm=5)

    def post(**more) -> requests.Response:
        body = {"model": model, **DOORS[path], **more}
        return requests.post(gateway.base_url + path, json=body, headers=key.headers, timeout=60)

    assert [post().status_code for _ in range(3)] == [402] * 3
    assert [post(model="nothing").status_code, post(stream="yes").status_code] == [404, 400]
    late = post()
    assert late.status_code == 429
    found = {refused.code: refused for refused in await_refusals(gateway, account, 6)}
    assert {code: refused.requests for code, refused in found.items() if refused.status != 400} == {
        "insufficient_balance": 3,
        "model_not_found": 1,
        "rate_limit_exceeded": 1,
    }
    assert [refused.requests for refused in found.values() if refused.status == 400] == [1]
    assert {refused.key_id for refused in found.values()} == {key.id}
    assert found["insufficient_balance"].last_model == model
    with gateway.make.app.app_context():
        by_model = sum_refusals_by_model(RefusalFilter(account.id))
    assert by_model == {model: 4, "": 2}  # neither the unknown name nor what no one could read is a model
    assert found["insufficient_balance"].last_message.startswith("Insufficient credits")
    assert found["model_not_found"].last_model == "nothing"
    assert (found["rate_limit_exceeded"].status, found["rate_limit_exceeded"].last_request_id) == (
        429,
        late.headers["x-request-id"],
    )
    assert gateway.make.list_usage(account.id) == []


def test_answers_quotes_and_reading_endpoints_are_no_refused_requests(gateway, upstream):
    model = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))
    account = gateway.make.make_account()
    key = gateway.make.make_key(account)
    url, headers = gateway.base_url, key.headers
    assert requests.get(f"{url}/requests/req_0", headers=headers, timeout=60).status_code == 404
    assert requests.post(f"{url}/quote", json={}, headers=headers, timeout=60).status_code == 400
    good = requests.post(
        f"{url}/chat/completions", json={"model": model, "messages": HELLO}, headers=headers, timeout=60
    )
    assert good.status_code == 200
    assert requests.post(f"{url}/chat/completions", json=[], headers=headers, timeout=60).status_code == 400
    assert [refused.requests for refused in await_refusals(gateway, account, 1)] == [1]


class _Caller:
    def __init__(self, account_id: int, key_id: int):
        self.account_id, self.key_id = account_id, key_id


@both_engines
def test_two_workers_counts_add_up_and_the_later_message_stands(app, make):
    key = make.make_key()
    caller = _Caller(key.account_id, key.id)
    first, second = RefusalCounter(), RefusalCounter()
    ids = [new_request_id() for _ in range(4)]
    with app.app_context():
        first.count(caller, RateLimitExceeded("3 RPM"), ids[0], "a", "")
        second.count(caller, RateLimitExceeded("4 RPM"), ids[2], "b", "")
        first.count(caller, RateLimitExceeded("5 RPM"), ids[1], "c", "")
        first.count(caller, InsufficientBalance("none"), ids[3], "a", "")
        second.write()
        first.write()
        first.write()
        found = {refused.code: refused for refused in list_refusals(RefusalFilter(key.account_id))}
        assert (found["rate_limit_exceeded"].requests, found["rate_limit_exceeded"].last_message) == (3, "4 RPM")
        assert find_last_refusal(key.account_id, key.id).last_request_id == ids[3]
        assert list_codes(key.account_id) == ["insufficient_balance", "rate_limit_exceeded"]
        assert sum_refusals_by_key(RefusalFilter(key.account_id)) == {key.id: 4}
        for by in ("model", "key"):
            read = read_refusals(RefusalFilter(key.account_id), by)
            assert {refused.code: refused for refused in read.kinds} == found
            assert [refused.last_at for refused in read.kinds] == sorted(each.last_at for each in read.kinds)[::-1]
            assert (read.requests, sum(read.by_hour.values())) == (4, 4)
            assert read.by_part == ({"": 4} if by == "model" else {str(key.id): 4})
        assert read_refusals(RefusalFilter(key.account_id, code="insufficient_balance")).requests == 1
        assert read_refusals(RefusalFilter(key.account_id, key_id=key.id + 1)).requests == 0
        other = make.make_key()
        assert list_refusals(RefusalFilter(other.account_id)) == []


@both_engines
def test_odd_names_and_keys_in_messages_are_kept_readable_and_without_the_key(app, make):
    key = make.make_key()
    counter = RefusalCounter()
    secret = "sk-" + "Ab3" * 16
    with app.app_context():
        error = InvalidRequest(f"no {secret} \0\ud800" + "x" * 900)
        counter.count(_Caller(key.account_id, key.id), error, new_request_id(), "m" * 400, "")
        counter.write()
        [refused] = list_refusals(RefusalFilter(key.account_id))
    assert "Ab3" not in refused.last_message
    assert refused.last_message.startswith("no sk-…")
    assert (len(refused.last_message), len(refused.last_model)) == (500, 128)


def test_counts_that_cant_be_written_are_written_later(app, make, monkeypatch):
    key = make.make_key()
    caller, counter = _Caller(key.account_id, key.id), RefusalCounter()

    def fail(task) -> None:
        counter.count(caller, RateLimitExceeded("second"), new_request_id(), "", "")  # refused in the meantime
        raise sa.exc.OperationalError("INSERT", {}, Exception("gone"))

    with app.app_context():
        counter.count(caller, RateLimitExceeded("first"), new_request_id(), "", "")
        with monkeypatch.context() as patch:
            patch.setattr(refusals, "write", fail)
            with pytest.raises(sa.exc.OperationalError):
                counter.write()
        counter.write()
        [refused] = list_refusals(RefusalFilter(key.account_id))
    assert (refused.requests, refused.last_message) == (2, "second")


def test_a_database_that_is_away_costs_a_bounded_memory(app, make, monkeypatch):
    key = make.make_key()
    counter = RefusalCounter()
    monkeypatch.setattr(refusals, "MOST_WAITING", 5)
    with app.app_context():
        for number in range(20):
            counter.count(_Caller(key.account_id, number), RateLimitExceeded("no"), new_request_id(), "", "")
        counter.write()
        assert read_refusals(RefusalFilter(key.account_id)).requests == 5


def test_old_counts_are_deleted(app, make, monkeypatch):
    key = make.make_key()
    counter = RefusalCounter()
    with app.app_context():
        counter.count(_Caller(key.account_id, key.id), RateLimitExceeded("no"), new_request_id(), "", "")
        counter.write()
        delete_old_refusals()
        assert read_refusals(RefusalFilter(key.account_id)).requests == 1
        db.session.rollback()
        monkeypatch.setattr(refusals, "KEPT_FOR", datetime.timedelta(hours=-2))
        delete_old_refusals()
        rows = sa.select(sa.func.count()).select_from(Refusal).where(Refusal.account_id == key.account_id)
        assert db.session.scalar(rows) == 0


def test_a_deleted_accounts_refusals_are_deleted(app, make):
    key, other = make.make_key(), make.make_key()
    counter = RefusalCounter()
    with app.app_context():
        for one in (key, other):
            counter.count(_Caller(one.account_id, one.id), RateLimitExceeded("no"), new_request_id(), "", "")
        counter.write()
        with transaction() as session:
            session.execute(sa.update(Account).where(Account.id == key.account_id).values(deleted_at=now_utc()))
        delete_old_refusals()
        assert read_refusals(RefusalFilter(key.account_id)).requests == 0
        assert read_refusals(RefusalFilter(other.account_id)).requests == 1
