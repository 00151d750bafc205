"""Sums by end user and by tag are those of the rows, whenever they are rolled up, and bounded in number."""

import collections
import datetime
import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.db import db, transaction
from bridge.ledger import check_rollups as checks
from bridge.ledger import label_rollups
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.label_rollups import OTHERS, has_others, roll_up_labels, sum_labels
from bridge.ledger.rollup_tables import LabelRollup
from bridge.ledger.rollups import Sums, roll_up
from bridge.ledger.sweep import _book_loss
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import UsageFilter, group_usage, list_requests, sum_usage
from tests.ledger.orders import MOMENT, Ledger, order_charge, order_hold
from tests.ledger.records import add_failure, add_record

DAY = datetime.timedelta(days=1)
TODAY = MOMENT.replace(hour=0, minute=0, second=0, microsecond=0)
NAMES = ["ada", "bob", "Ada", "c'd%_"]
TAGS = [None, ["env=prod"], ["env=prod", "project=search"], ["env=a=b", "project=é"]]
labelled = st.fixed_dictionaries(
    {
        "end_user": st.sampled_from([None, *NAMES]),
        "tags": st.sampled_from(TAGS),
        "model_id": st.sampled_from(["gpt-4o", "sonnet"]),
        "charge_nanos": st.integers(1, 10**9),
        "days_late": st.integers(0, 1),
    }
)
steps = st.lists(st.one_of(labelled, st.just("roll up")), min_size=1, max_size=20)


def label_of(name: str) -> dict[str, Any]:
    return {"end_user": name, "tags": [f"who={name}"], "model_id": "gpt-4o", "charge_nanos": 1, "days_late": 0}


def add_labelled(account: int, **fields: Any) -> UsageRecord:
    tags = fields.pop("tags", None)
    moment = MOMENT - fields.pop("days_late", 0) * DAY
    return add_record(account, created_at=moment, tags=tags and json.dumps(tags, ensure_ascii=False), **fields)


def sum_plainly(account: int, kind: str) -> dict[str, tuple[int, int]]:
    """Requests and charges of each label, row by row in Python."""
    found: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for row in db.session.scalars(sa.select(UsageRecord).where(UsageRecord.account_id == account)):
        for label in [row.end_user] if kind == "end_user" else json.loads(row.tags or "[]"):
            if label:
                found[label][0] += 1
                found[label][1] += row.charge_nanos
    db.session.commit()
    return {label: (many, charge) for label, (many, charge) in found.items()}


def as_pairs(sums: dict[str, Sums]) -> dict[str, tuple[int, int]]:
    db.session.commit()
    return {label: (each.requests, each.charge_nanos) for label, each in sums.items()}


def roll_all() -> None:
    roll_up()
    roll_up_labels()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_whenever_they_are_rolled_up_the_sums_of_each_label_are_those_of_its_rows(damaged: Ledger, steps: list[Any]):
    account = damaged.open_account()
    for step in steps:
        if step == "roll up":
            roll_all()
        else:
            add_labelled(account, **step)
    for kind in label_rollups.KINDS:
        assert as_pairs(sum_labels(kind, account)) == sum_plainly(account, kind)
    roll_all()
    assert check_rollups() == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([step for name in NAMES for step in (label_of(name), "roll up")])
@given(steps)
def test_an_account_that_names_ever_new_end_users_has_few_roll_ups_and_exact_sums(damaged: Ledger, steps: list[Any]):
    account = damaged.open_account()
    with pytest.MonkeyPatch.context() as patch:
        for module in (label_rollups, checks):
            patch.setattr(module, "MOST_LABELS", 2)
        for step in steps:
            if step == "roll up":
                roll_all()
            else:
                add_labelled(account, **step)
        roll_all()
        assert check_rollups() == []
    own = sa.select(sa.func.count(LabelRollup.label.distinct())).where(
        LabelRollup.account_id == account, LabelRollup.label != OTHERS
    )
    for kind in label_rollups.KINDS:
        for day in (TODAY, TODAY - DAY):
            assert (db.session.scalar(own.where(LabelRollup.kind == kind, LabelRollup.start == day)) or 0) <= 2
        plain, rolled = sum_plainly(account, kind), as_pairs(sum_labels(kind, account))
        for place in (0, 1):
            assert sum(pair[place] for pair in rolled.values()) == sum(pair[place] for pair in plain.values())
        for label, sums in plain.items():  # also of those without a roll-up: from their rows
            total = sum_usage(UsageFilter(account, TODAY - DAY, **{kind: label}))
            assert (total.requests, total.charge_nanos) == sums
    db.session.commit()


def test_a_filter_by_end_user_and_by_tag_takes_no_other_s_requests(damaged: Ledger):
    account, other = damaged.open_account(), damaged.open_account()
    wanted = add_labelled(account, end_user="ada", tags=["env=prod"], charge_nanos=3)
    add_labelled(account, end_user="Ada", tags=["env=prod2"], charge_nanos=5)
    add_labelled(account, end_user="ada", tags=["xenv=prod"], key_id=2, charge_nanos=7)
    add_labelled(account, charge_nanos=11)
    add_labelled(other, end_user="ada", tags=["env=prod"], charge_nanos=13)
    add_failure(account, created_at=MOMENT, end_user="ada", tags='["env=prod"]')
    for rolled in (False, True):
        if rolled:
            roll_all()
        ada, prod = UsageFilter(account, TODAY, end_user="ada"), UsageFilter(account, TODAY, tag="env=prod")
        assert (sum_usage(ada).charge_nanos, sum_usage(ada).failed) == (10, 1)
        assert sum_usage(prod).charge_nanos == 3
        both = UsageFilter(account, TODAY, end_user="ada", tag="env=prod", outcome="complete")
        assert (sum_usage(both).requests, sum_usage(both).charge_nanos) == (1, 3)
        assert [row.request_id for row in list_requests(both).records] == [wanted.request_id]
        assert sum_usage(UsageFilter(account, TODAY, end_user="ada", key_id=2)).charge_nanos == 7
        assert sum_usage(UsageFilter(account, TODAY, tag='env=prod"')).requests == 0
        assert sum_usage(UsageFilter(account, TODAY + DAY, end_user="ada")).requests == 0
        assert list(group_usage(UsageFilter(account, TODAY), "end_user")) == ["ada", "Ada"]
        assert as_pairs(group_usage(ada, "tag")) == {"xenv=prod": (1, 7), "env=prod": (2, 3)}
        db.session.commit()


def test_a_loss_that_is_booked_later_is_in_the_roll_ups_of_its_labels(ledger: Ledger):
    account = ledger.open_account(10**9)
    lost = []
    for user in ("ada", "bob"):
        hold = order_hold(account, 100)
        charge = order_charge(hold, 50, outcome="worker_lost", end_user=user, tags='["env=prod"]')
        ledger.commit(hold)
        ledger.commit(charge)
        lost.append(charge)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(label_rollups, "MOST_LABELS", 1)
            roll_all()
    for charge in lost:
        charge.price_nanos += 9
        _book_loss(charge)
    assert {label: sums.loss_nanos for label, sums in sum_labels("end_user", account).items()} == {"ada": 9, OTHERS: 9}
    assert sum_labels("tag", account)["env=prod"].loss_nanos == 18
    assert has_others("end_user", account, None, None)
    assert not has_others("tag", account, None, None)
    db.session.commit()
    assert check_rollups() == []


def test_the_check_names_each_label_whose_roll_up_is_not_the_sum_of_its_rows(damaged: Ledger):
    account = damaged.open_account()
    add_labelled(account, end_user="ada", tags=["env=prod"], charge_nanos=5)
    roll_all()
    assert check_rollups() == []
    with transaction() as session:
        session.execute(
            sa.update(LabelRollup).where(LabelRollup.account_id == account).values(charge_nanos=6, requests=2)
        )
    user, tag = check_rollups()
    assert user == (
        f"account {account}: the roll-up of the end user 'ada' on 2026-03-10 (key 1, gpt-4o, complete) has requests 2,"
        " its requests add up to 1; charge_nanos $0.000000006, its requests add up to $0.000000005"
    )
    assert "the roll-up of the tag 'env=prod' on 2026-03-10" in tag
