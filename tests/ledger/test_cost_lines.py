"""What each class of a request cost us adds up to what the request cost, whatever share of the list was paid."""

import pytest
from flask import Flask

from bridge.catalogue.price_rows import make_price
from bridge.catalogue.rates import make_rates
from bridge.db import transaction
from bridge.ledger.cost_lines import list_costs
from tests.factories import DOLLAR, Factories
from tests.ledger.records import add_failure, add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PROMPT, CACHED, ANSWER = 600, 400, 100  # as in tests/ledger/records.py


@pytest.fixture
def price_id(app: Flask, make: Factories) -> int:
    """A price of which the provider takes 2, 1 and 8 dollars a million."""
    model = make.make_model()
    charged = make_rates({"input": 3 * DOLLAR, "cached": 2 * DOLLAR, "output": 10 * DOLLAR})
    listed = make_rates({"input": 2 * DOLLAR, "cached": DOLLAR, "output": 8 * DOLLAR})
    with app.app_context(), transaction() as session:
        price = make_price(model, (charged,), (listed,), source="test")
        session.add(price)
        session.flush()
        return price.id


@pytest.mark.parametrize("percent", [100, 80, 33])
def test_the_lines_add_up_to_the_cost_and_say_the_share(app: Flask, make: Factories, price_id: int, percent: int):
    listed = (PROMPT * 2 + CACHED + ANSWER * 8) * 1000
    with app.app_context():
        record = add_record(make.make_account().id, price_id=price_id, cost_nanos=listed * percent // 100)
        costs = list_costs(record)
    assert costs.share_bps == percent * 100
    assert {line.name: line.own_unit_nanos for line in costs.lines} == {
        "Prompt": 2 * DOLLAR * percent // 100,
        "Prompt, from cache": DOLLAR * percent // 100,
        "Answer": 8 * DOLLAR * percent // 100,
    }
    assert sum(line.cost_nanos or 0 for line in costs.lines) + costs.cost_difference_nanos == record.cost_nanos
    assert 0 <= costs.cost_difference_nanos < len(costs.lines)


def test_what_is_not_known_or_not_charged_has_no_share(app: Flask, make: Factories, price_id: int):
    account = make.make_account()
    with app.app_context():
        unknown = list_costs(add_record(account.id, price_id=987654321))
        failed = list_costs(add_failure(account.id, price_id=price_id, cost_nanos=0))
    assert {line.cost_nanos for line in unknown.lines} == {None}
    assert (unknown.share_bps, failed.share_bps) == (None, None)
    assert sum(line.amount_nanos for line in failed.lines) == 0
