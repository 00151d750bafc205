"""The check recomputes every charge from its row, page by page, and names the accounts that were charged
differently."""

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from bridge.db import now_utc
from bridge.ops import check_charges as module
from bridge.ops.check_charges import check_charges
from tests.factories import Factories
from tests.ledger.records import add_failure, add_record

LOST = {"outcome": "worker_lost"}
FREE = {"state": "released", "charge_nanos": 0}
TIERED = json.dumps({"above_tokens": 500, "calls": 2, "rates": {"reasoning": 20_000_000_000, "request": 7}})


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"charge_nanos": 2_999_999}, False),
        ({"charge_nanos": 3_000_001}, False),
        ({"charge_nanos": 2_000_000, "loss_nanos": 1_000_000}, True),
        ({"charge_nanos": 2_000_000, "loss_nanos": 999_999}, False),
        ({"completion_tokens": 101}, False),
        ({"output_nanos_per_mtok": 10_000_000_001, "charge_nanos": 3_000_001}, True),  # rounded up
        ({"output_nanos_per_mtok": 10_000_000_001}, False),
        ({"pricing": TIERED, "reasoning_tokens": 50, "charge_nanos": 3_500_014}, True),
        ({"pricing": TIERED, "reasoning_tokens": 50}, False),
        (FREE, True),
        ({**FREE, "charge_nanos": 1}, False),
        ({**FREE, "loss_nanos": 1}, False),
        ({**FREE, **LOST, "loss_nanos": 1}, True),  # its own settlement came after the sweep
        ({**FREE, **LOST, "charge_nanos": 1}, False),
        ({**LOST, "loss_nanos": 5}, True),
        ({**LOST, "charge_nanos": 3_000_001}, False),
        ({**LOST, "charge_nanos": 2_999_999}, False),
    ],
)
def test_a_charge_is_its_counts_times_its_prices_rounded_up_once(make: Factories, changes: dict[str, Any], right: bool):
    account = make.make_account()
    add_failure(account.id)
    record = add_record(account.id, **changes)
    found = check_charges()
    assert len(found) == (not right)
    for line in found:
        assert line.startswith(f"account {account.id}: 1 request charged wrongly, first {record.request_id}: ")


def test_each_page_is_read_and_an_account_is_a_line(make: Factories, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAGE_ROWS", 3)
    ada, kai = make.make_account().id, make.make_account().id
    same = now_utc()  # several at one moment: the id decides
    for number in range(9):
        add_record(ada, created_at=same, completion_tokens=100 + number % 2)
    add_record(kai, completion_tokens=99)
    first, second = check_charges()
    assert first.startswith(f"account {ada}: 4 requests charged wrongly")
    assert second.startswith(f"account {kai}: 1 request charged wrongly")
    assert second.endswith(": 0.003 charged, its row adds up to 0.00299")


def test_only_those_since_then_are_looked_at(make: Factories):
    account = make.make_account().id
    day = datetime.timedelta(days=1)
    add_record(account, completion_tokens=99, ago=2 * day)
    assert check_charges(now_utc() - day) == []
    assert len(check_charges(now_utc() - 3 * day)) == 1
