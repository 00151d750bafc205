"""No key, no number of keys and no end user gets past what an operator set for an account: on two workers over
PostgreSQL and Redis, by several keys at once."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.accounts.customers import set_account_limits
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.ledger.refunds import refund_request
from bridge.ledger.tables import Budget
from tests.factories import MadeAccount, MadeKey
from tests.gateway import Gateway
from tests.served import HELLO, await_request
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, says, stalls

CENT = 10**7
LIFTED = 10**6  # what each key asks for itself


class Customer:
    """An account with four keys, each of which has all that a key can be given; asked at two workers at once."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream):
        self.gateway, self.upstream, self.make = gateway, upstream, gateway.make
        upstream.plays(says("Hello", prompt_tokens=100))
        # a cent a token: a request of these holds a few hundred, and charges some hundred
        self.model = self.make.make_model(input_price=10**6 * CENT, output_price=10**6 * CENT)
        self.make.make_channel(upstream.base_url, self.model)
        self.account: MadeAccount = self.make.make_account(1000 * 100 * CENT)
        self.keys = [self.add_key() for _ in range(4)]

    def add_key(self, **terms: Any) -> MadeKey:
        return self.make.make_key(self.account, rpm=LIFTED, tpm=10**12, concurrency=LIFTED, **terms)

    def limit(self, **limits: int | None) -> None:
        with self.make.app.app_context():
            set_account_limits(self.account.id, limits)
            self.make.wait_for_gateway()

    def post(self, key: MadeKey, **more: Any) -> requests.Response:
        """A request on a connection of its own, so that any worker may take it."""
        body = {"model": self.model, "messages": HELLO, "max_tokens": 3, **more}
        headers = {**key.headers, "Connection": "close"}
        return requests.post(
            f"{self.gateway.base_url}/chat/completions",
            json=body,
            headers=headers,
            stream=bool(more.get("stream")),
            timeout=PATIENCE_SECONDS,
        )

    def post_all(self, number: int, keys: list[MadeKey] | None = None, **more: Any) -> Counter[tuple[int, str]]:
        """So many requests at once, by all keys in turn: how many had which answer."""
        keys = keys or self.keys
        jobs = [gevent.spawn(self.post, keys[place % len(keys)], **more) for place in range(number)]
        gevent.joinall(jobs, raise_error=True)
        return Counter((job.value.status_code, job.value.json().get("error", {}).get("code", "")) for job in jobs)

    def find_charged(self) -> int:
        return sum(row.charge_nanos for row in self.make.list_usage(self.account.id))


@pytest.fixture
def customer(start_gateway: Callable[..., Gateway], redis_url: str, upstream: ScriptedUpstream) -> Iterator[Customer]:
    gateway = start_gateway("postgresql", web_concurrency=2, redis_url=redis_url)
    customer = Customer(gateway, upstream)
    yield customer
    assert len(gateway.workers()) == 2
    assert customer.make.check_ledger() == []


def test_several_keys_at_once_get_no_more_than_the_account(customer: Customer) -> None:
    customer.limit(rpm=5)
    assert customer.post_all(16) == {(200, ""): 5, (429, "rate_limit_exceeded"): 11}
    customer.limit(rpm=0, tpm=1)
    assert customer.post_all(8) == {(429, "rate_limit_exceeded"): 8}
    customer.limit(tpm=0, concurrency=2)
    customer.upstream.plays(stalls())
    running = [gevent.spawn(customer.post, key, stream=True) for key in customer.keys[:2]]
    await_request(customer.upstream, 7)
    assert customer.post_all(6) == {(429, "rate_limit_exceeded"): 6}
    gevent.killall(running)


def test_several_keys_and_end_users_at_once_spend_no_more_than_the_day_s(customer: Customer) -> None:
    customer.limit(spend_day_nanos=1000 * CENT)
    found = customer.post_all(40, user="lena")
    served = found[200, ""]
    assert found == {(200, ""): served, (402, "spend_limit_exceeded"): 40 - served}
    assert 1 <= served < 40
    charged = customer.find_charged()
    assert charged <= 1000 * CENT
    # a new key is no way around it, and what is told is whose limit it is, and when it starts again
    customer.limit(spend_day_nanos=charged)
    answer = customer.post(customer.add_key())
    message = answer.json()["error"]["message"]
    assert (answer.status_code, answer.headers["x-should-retry"]) == (402, "false")
    assert "that the operator lets this account spend, which starts again at 00:00 UTC on" in message
    assert "Ask the operator for more" in message
    assert customer.find_charged() == charged
    # a refund gives the day back what it took
    with customer.make.app.app_context():
        row = customer.make.list_usage(customer.account.id)[0]
        refund_request(row.request_id, reason="A test", made_by="ops@example.com")
        [left] = db.session.execute(
            sa.select(Budget.held_nanos, Budget.spent_nanos).where(Budget.key_id == -customer.account.id)
        ).all()
    assert left == (0, charged - row.charge_nanos)


def test_an_end_user_s_budget_counts_at_once_on_both_workers_and_so_does_the_key_s(customer: Customer) -> None:
    customer.limit(spend_day_nanos=10_000 * CENT)
    each = customer.add_key(budget_user_nanos=500 * CENT, budget_day_nanos=800 * CENT)
    for name in ("lena", "otto"):
        found = customer.post_all(24, [each], user=name)
        assert found[200, ""] >= 1
        assert found[402, "key_budget_exceeded"] == 24 - found[200, ""]
    charged = Counter[str | None]()
    for row in customer.make.list_usage(customer.account.id):
        charged[row.end_user] += row.charge_nanos
    assert all(spent <= 500 * CENT for spent in charged.values())
    assert sum(charged.values()) <= 800 * CENT


def test_an_account_has_at_most_as_many_keys_as_it_may(make: Any, app: Any) -> None:
    account = make.make_account()
    with app.app_context():
        set_account_limits(account.id, {"max_keys": 2})
        first = issue_key(account.id, KeyTerms(name="one"))
        issue_key(account.id, KeyTerms(name="two"))
        with pytest.raises(InvalidRequest, match="may have 2 keys, and has as many"):
            issue_key(account.id, KeyTerms(name="three"))
        make.revoke_key(MadeKey(first.key.id, account.id, first.secret))
        issue_key(account.id, KeyTerms(name="three"))
