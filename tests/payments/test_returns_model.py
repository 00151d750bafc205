"""Whatever events come, in any sequence and number, balance, journal, states and check match a simple model.

One payment is requested. Up to two payment intents name it, each paid as requested or otherwise. Refunds and disputes
return money of either, in part or more than whole, and some of them are undone."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

import gevent
import pytest
import responses
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.db import db
from bridge.extensions import limiter
from bridge.ledger.ledger import find_balance
from bridge.ledger.tables import Entry
from bridge.payments.tables import Payment
from tests.payments.conftest import Till
from tests.payments.stripe_side import make_dispute, make_event, make_intent, make_refund, make_session, new_id

ASKED = 2000
CREDIT = 20_000_000_007  # no whole number of nanos a cent: parts are rounded, the whole is not
BONUS = 2_000_000_003


@dataclasses.dataclass(frozen=True)
class Return:
    """A refund or dispute of one of the intents."""

    is_dispute: bool
    intent: int
    amount: int
    undone: bool
    has_metadata: bool


@dataclasses.dataclass(frozen=True)
class Story:
    """What happened at Stripe; `order` has the numbers of its events as they arrive, some of them twice."""

    paid: list[int]  # by intent, in cents
    returns: list[Return]
    order: list[int]


NEWS_OF_PAYMENT, NEWS_OF_RETURN = 2, 2


@st.composite
def stories(draw: st.DrawFn) -> Story:
    paid = draw(st.lists(st.sampled_from([ASKED, ASKED, 1500, 2600]), min_size=1, max_size=2))
    some_return = st.builds(
        Return,
        st.booleans(),
        st.integers(0, len(paid) - 1),
        st.sampled_from([1, 333, 800, 1500, ASKED, 2600]),
        st.booleans(),
        st.booleans(),
    )
    returns = draw(st.lists(some_return, max_size=4))
    numbers = list(range(NEWS_OF_PAYMENT * len(paid) + NEWS_OF_RETURN * len(returns)))
    again = draw(st.lists(st.sampled_from(numbers), max_size=5))
    return Story(paid, returns, draw(st.permutations([*numbers, *again])))


class Stage:
    """An account with the payment, and a story's events."""

    def __init__(self, till: Till, story: Story):
        self.till, self.story = till, story
        self.account = till.open_account()
        self.payment = till.open_payment(self.account, ASKED)
        with till.app.app_context():
            db.session.execute(
                sa.update(Payment).where(Payment.id == self.payment).values(credit_nanos=CREDIT, bonus_nanos=BONUS)
            )
            db.session.commit()
        self.intents = [new_id("pi") for _ in story.paid]
        self.news = [event for number in range(len(story.paid)) for event in self._tell_payment(number)]
        self.news += [event for one in story.returns for event in self._tell_return(one)]

    def _tell_payment(self, number: int) -> list[dict[str, Any]]:
        amount, intent = self.story.paid[number], self.intents[number]
        session = make_session(self.payment, amount, payment_intent=intent)
        succeeded = make_intent(self.payment, amount, id=intent)
        return [
            make_event("checkout.session.completed", session),
            make_event("payment_intent.succeeded", succeeded),
        ]

    def _tell_return(self, one: Return) -> list[dict[str, Any]]:
        intent, metadata = self.intents[one.intent], {"bridge_payment": self.payment} if one.has_metadata else {}
        if one.is_dispute:
            found = make_dispute(intent, one.amount, "needs_response", metadata=metadata)
            end = {**found, "status": "won" if one.undone else "lost"}
            return [make_event("charge.dispute.created", found), make_event("charge.dispute.closed", end)]
        found = make_refund(intent, one.amount, status="pending", metadata=metadata)
        end = {**found, "status": "failed" if one.undone else "succeeded"}
        return [make_event("refund.created", found), make_event("refund.updated", end)]

    @property
    def first_that_fits(self) -> int | None:
        """The intent that is credited: the first whose event comes and that is as requested."""
        told = [number // NEWS_OF_PAYMENT for number in self.story.order]
        fits = [intent for intent in told if intent < len(self.story.paid) and self.story.paid[intent] == ASKED]
        return fits[0] if fits else None

    def returned(self, intent: int) -> int:
        return sum(one.amount for one in self.story.returns if one.intent == intent and not one.undone)

    @property
    def expected_nanos(self) -> int:
        if self.first_that_fits is None:
            return 0
        returned = min(ASKED, self.returned(self.first_that_fits))
        return CREDIT - returned * CREDIT // ASKED + BONUS - returned * BONUS // ASKED

    def expected_states(self) -> dict[str, str]:
        """Intent -> the state of its row."""
        states = {}
        for number, amount in enumerate(self.story.paid):
            went_back = self.returned(number) >= amount
            credited = number == self.first_that_fits
            states[self.intents[number]] = "paid" if credited else "refunded" if went_back else "review"
        return states

    def assert_right(self) -> None:
        with self.till.app.app_context():
            assert find_balance(self.account).balance_nanos == self.expected_nanos
            rows = {row.payment_intent: row for row in self.till.list_payments(self.account)}
            entries = list(db.session.scalars(sa.select(Entry).where(Entry.account_id == self.account)))
        assert {intent: row.state for intent, row in rows.items()} == self.expected_states()
        keys = [(entry.source, entry.external_id) for entry in entries]
        assert len(keys) == len(set(keys))
        credits_ = [entry for entry in entries if entry.source == "stripe"]
        assert [entry.amount_nanos for entry in credits_] == ([] if self.first_that_fits is None else [CREDIT])
        gifts = [entry.amount_nanos for entry in entries if entry.source == "bonus"]
        assert gifts == ([] if self.first_that_fits is None else [BONUS])
        signed = [entry.amount_nanos if entry.credit == "customer" else -entry.amount_nanos for entry in entries]
        assert sum(signed) == self.expected_nanos
        waiting = {row.id for row in rows.values() if row.state == "review"}
        found = [line for line in self.till.check() if line.startswith(f"account {self.account}: ")]
        assert {line.split("payment ")[1].split(":")[0] for line in found} == waiting


@pytest.fixture
def told(till: Till) -> Iterator[dict[str, str]]:
    """Stripe, asked for a payment intent, says whose it is: intent -> payment."""
    found: dict[str, str] = {}

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        intent = urlparse(request.url).path.split("/")[-1]
        return 200, {}, json.dumps(make_intent(found[intent], ASKED, id=intent))

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        pattern = re.compile("https://api.stripe.com/v1/payment_intents/.*")
        mock.add_callback("GET", pattern, answer)
        yield found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_any_story_in_any_order_ends_as_the_model_says(till: Till, told: dict[str, str], story: Story):
    limiter.reset()  # of webhooks in a minute; this sends thousands
    stage = Stage(till, story)
    told |= dict.fromkeys(stage.intents, stage.payment)
    for number in story.order:
        assert till.send(stage.news[number]).status_code == 200
    stage.assert_right()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories().filter(lambda story: story.paid.count(ASKED) < 2))
def test_any_story_told_all_at_once_ends_as_the_model_says(till: Till, told: dict[str, str], story: Story):
    limiter.reset()  # of webhooks in a minute; this sends thousands
    stage = Stage(till, story)
    told |= dict.fromkeys(stage.intents, stage.payment)
    calls = [gevent.spawn(till.send, stage.news[number]) for number in story.order]
    assert {call.get().status_code for call in calls} == {200}
    stage.assert_right()
