"""What pages read about settled requests: exact sums, adjacent pages, and no other account's rows."""

import datetime
from collections.abc import Iterator

import pytest
from flask import Flask

from bridge.chart import rank_parts
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import NotFound
from bridge.ledger import usage
from bridge.ledger.batch import BudgetWindow
from bridge.ledger.budgets import NEVER, period_start
from bridge.ledger.journal import (
    find_first_credit,
    list_balances,
    list_budgets,
    list_entries,
    list_key_budgets,
    list_spend_by_key,
)
from bridge.ledger.ledger import adjust, credit
from bridge.ledger.rollups import Sums
from bridge.ledger.tables import Budget, Hold
from bridge.ledger.usage import (
    UsageFilter,
    find_request,
    group_usage,
    list_requests,
    read_usage,
    sum_spans,
    sum_usage,
)
from tests.accounts.conftest import make_account
from tests.ledger.records import add_failure, add_record
from tests.rooms import close_rooms, open_rooms

DAY = datetime.timedelta(days=1)
NOON = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = open_rooms(settings)
    with app.app_context():
        yield app
    close_rooms(app)


@pytest.fixture
def mira(app: Flask) -> int:
    return make_account("mira@example.com")


@pytest.fixture
def kai(app: Flask) -> int:
    return make_account("kai@example.com")


def test_totals_are_the_sum_of_the_charges_to_the_nano(mira: int, kai: int):
    charges = [1, 999_999_999, 123_456_789_012_345]
    for charge in charges:
        add_record(mira, charge_nanos=charge, reasoning_tokens=10)
    add_failure(mira)
    add_record(kai, charge_nanos=7)
    totals = sum_usage(UsageFilter(mira))
    assert totals.charge_nanos == sum(charges)
    assert (totals.requests, totals.failed) == (4, 1)
    assert (totals.prompt_tokens, totals.cached_tokens) == (3_000, 1_200)
    assert (totals.completion_tokens, totals.reasoning_tokens) == (300, 30)


def test_an_account_without_requests_has_zeros(mira: int):
    assert sum_usage(UsageFilter(mira)) == Sums()
    assert usage.measure_first_content(UsageFilter(mira)) is None
    assert usage.find_first_request(mira, 1) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"key_id": 2}, ["cut"]),
        ({"model_id": "gpt-4o-mini"}, ["mini"]),
        ({"outcome": "complete"}, ["mini"]),
        ({"outcome": "failed"}, ["lost", "failed"]),
        ({"outcome": "client_gone"}, ["slow", "left"]),
        ({"outcome": "cut"}, ["cut"]),
        ({"until": NOON}, ["old"]),
        ({"since": NOON, "outcome": "failed"}, ["lost", "failed"]),
    ],
)
def test_a_filter_finds_what_it_names(mira: int, wanted: dict, found: list[str]):
    add_record(mira, created_at=NOON - DAY, outcome="client_gone", state="released", error_code="old")
    add_failure(mira, error_code="failed")
    add_record(mira, model_id="gpt-4o-mini", error_code="mini")
    add_record(mira, outcome="client_gone", error_code="left", created_at=now_utc())
    add_record(mira, outcome="client_slow", error_code="slow", created_at=now_utc() + datetime.timedelta(seconds=1))
    add_record(mira, outcome="cut", key_id=2, error_code="cut")
    add_failure(mira, outcome="worker_lost", error_code="lost")
    only = {"since": NOON, **wanted} if "until" not in wanted else wanted
    assert [record.error_code for record in list_requests(UsageFilter(mira, **only)).records] == found


def test_older_and_newer_pages_lie_beside_each_other(mira: int, kai: int):
    same = now_utc()  # several at one moment: the id decides
    records = [add_record(mira, created_at=same if number < 4 else same + DAY) for number in range(7)]
    add_record(kai, created_at=same)
    expected = [
        one.request_id for one in sorted(records, key=lambda one: (one.created_at, one.request_id), reverse=True)
    ]
    wanted = UsageFilter(mira)
    first = list_requests(wanted, limit=3)
    second = list_requests(wanted, older_than=first.records[-1].request_id, limit=3)
    third = list_requests(wanted, older_than=second.records[-1].request_id, limit=3)
    assert [one.request_id for page in (first, second, third) for one in page.records] == expected
    assert [(page.has_newer, page.has_older) for page in (first, second, third)] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    back = list_requests(wanted, newer_than=third.records[0].request_id, limit=3)
    assert [one.request_id for one in back.records] == [one.request_id for one in second.records]
    assert (back.has_newer, back.has_older) == (True, True)


def test_a_foreign_request_is_no_place_to_start_from(mira: int, kai: int):
    add_record(mira)
    foreign = add_record(kai)
    assert len(list_requests(UsageFilter(mira), older_than=foreign.request_id).records) == 1


def test_sums_are_by_day_and_hour_in_utc(mira: int):
    evening = datetime.datetime(2026, 3, 10, 23, 59, 59, 999_999, tzinfo=datetime.UTC)
    add_record(mira, created_at=evening)
    add_record(mira, created_at=evening)
    add_record(mira, created_at=evening, model_id="gpt-4o-mini", charge_nanos=5)
    add_record(mira, created_at=evening + datetime.timedelta(microseconds=1))
    midnight = datetime.datetime(2026, 3, 11, tzinfo=datetime.UTC)
    by_day = [(one.start, one.name, one.requests, one.charge_nanos) for one in sum_spans(UsageFilter(mira))]
    assert by_day == [
        (midnight - DAY, "gpt-4o", 2, 6_000_000),
        (midnight - DAY, "gpt-4o-mini", 1, 5),
        (midnight, "gpt-4o", 1, 3_000_000),
    ]
    assert [one.start for one in sum_spans(UsageFilter(mira), "hour")] == [
        evening.replace(minute=0, second=0, microsecond=0),
        evening.replace(minute=0, second=0, microsecond=0),
        midnight,
    ]


@pytest.mark.parametrize("more", [{}, {"tag": "env=prod"}], ids=["all", "of a tag"])
@pytest.mark.parametrize("by", ["model", "key", "end_user", "tag"])
def test_what_a_page_reads_at_once_is_what_its_parts_are(mira: int, by: str, more: dict[str, str]):
    for number in range(1, 8):
        for ago in (DAY, 2 * DAY):
            labels = {"end_user": f"user-{number}", "tags": f'["env=prod", "n={number}"]'}
            add_record(mira, key_id=number, model_id=f"model-{number}", charge_nanos=number, ago=ago, **labels)
    wanted = UsageFilter(mira, **more)
    read = read_usage(wanted, by, "day", 4)
    assert read.totals == sum_usage(wanted)
    assert read.groups == group_usage(wanted, by)
    charges = [14, 12, 10, 8, 6, 4, 2]
    assert [sums.charge_nanos for sums in read.groups.values()] == ([56, *charges] if by == "tag" else charges)
    series = rank_parts(read.spans)
    dearest = [56, 14, 12, 10, 20] if by == "tag" else [14, 12, 10, 8, 12]  # the four dearest, and all others
    assert [one.charge_nanos for one in series] == dearest
    assert [one.colour for one in series] == ["c1", "c2", "c3", "c4", "c0"]
    assert sum(one.requests for one in read.spans) == read.totals.requests * (2 if by == "tag" else 1)
    # of thousands of keys only those with a colour have rows
    assert len(read.spans) == (14 if by == "model" and not more else 10)


@pytest.mark.parametrize("by", ["model", "key", "end_user"])
def test_a_page_lists_the_dearest_groups_and_an_export_all(mira: int, by: str):
    groups = usage.MOST_GROUPS + 2
    for number in range(1, groups + 1):
        labels = {"end_user": f"user-{number}"}
        add_record(mira, key_id=number, model_id=f"model-{number}", charge_nanos=number, **labels)
    listed = read_usage(UsageFilter(mira), by, "day", 4).groups
    exported = group_usage(UsageFilter(mira), by)
    assert [sums.charge_nanos for sums in exported.values()] == list(range(groups, 0, -1))
    assert listed == dict(list(exported.items())[: usage.MOST_GROUPS])


def test_a_receipt_is_found_by_the_requests_id_and_by_the_answers(mira: int):
    record = add_record(mira)
    by_answer = record.request_id.replace("req_", "chatcmpl-")
    assert find_request(mira, record.request_id).request_id == record.request_id
    assert find_request(mira, f" {by_answer.upper()} ").request_id == record.request_id


def test_another_accounts_receipt_looks_missing(mira: int, kai: int):
    record = add_record(kai)
    for id_ in (record.request_id, "req_", "", "' OR 1=1", record.request_id + "0"):
        with pytest.raises(NotFound):
            find_request(mira, id_)


def test_a_running_request_is_found_by_its_owner_alone(mira: int, kai: int):
    id_ = "req_" + "0" * 32
    hold = Hold(
        request_id=id_, account_id=mira, key_id=1, amount_nanos=1, details="{}", created_at=NOON, deadline_at=NOON
    )
    with transaction() as session:
        session.add(hold)
    assert usage.find_running_request(mira, id_).amount_nanos == 1
    with pytest.raises(NotFound):
        usage.find_running_request(kai, id_)


def test_an_export_has_every_row_once_and_ends_at_its_bound(mira: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage, "EXPORT_PAGE", 2)
    ids = {add_record(mira).request_id for _ in range(5)}
    exported = [record.request_id for record in usage.export_requests(UsageFilter(mira))]
    assert len(exported) == 5
    assert set(exported) == ids
    assert len(list(usage.export_requests(UsageFilter(mira), most=4))) == 4
    assert len(list(usage.export_requests(UsageFilter(mira), most=None))) == 5


def test_the_time_to_the_first_token_is_a_median_and_a_95th(mira: int):
    for milliseconds in range(1, 101):
        add_record(mira, first_content_ms=milliseconds)
    add_failure(mira)
    assert usage.measure_first_content(UsageFilter(mira)) == usage.Timing(50, 95)


def test_the_operators_hour_counts_everyone(mira: int, kai: int):
    add_record(mira)
    add_failure(kai)
    add_record(kai, created_at=now_utc() - 2 * datetime.timedelta(hours=1))
    totals = usage.count_last_hour()
    assert (totals.requests, totals.failed, totals.charge_nanos) == (2, 1, 3_000_000)


@pytest.mark.parametrize(
    ("period", "start"),
    [("day", "2026-03-11"), ("week", "2026-03-09"), ("month", "2026-03-01"), ("total", "1970-01-01")],
)
def test_budget_periods_begin_in_utc_weeks_on_monday(period: str, start: str):
    moment = datetime.datetime(2026, 3, 11, 23, 59, tzinfo=datetime.UTC)
    assert period_start(period, moment) == datetime.date.fromisoformat(start)


def test_a_budget_is_what_its_window_alone_holds_and_spent(mira: int):
    today = now_utc().date()
    with transaction() as session:
        session.add(Budget(key_id=1, period="day", period_start=today, held_nanos=9, spent_nanos=5))
        session.add(Budget(key_id=1, period="day", period_start=today - DAY, held_nanos=0, spent_nanos=70))
        session.add(Budget(key_id=1, period="day", period_start=today, scope="user:ada", held_nanos=0, spent_nanos=3))
        session.add(Budget(key_id=2, period="total", period_start=NEVER, held_nanos=0, spent_nanos=8))
    day, total = BudgetWindow("day", today, "", 10), BudgetWindow("total", NEVER, "", 100)
    found = list_budgets({1: (day,), 2: (day, total), 3: (), 4: (total,)})
    assert {key_id: [(each.held_nanos, each.spent_nanos) for each in states] for key_id, states in found.items()} == {
        1: [(9, 5)],
        2: [(0, 0), (0, 8)],
        4: [(0, 0)],
    }
    own, users = list_key_budgets(1, (total, day), day, 5)
    assert [(each.window, each.spent_nanos) for each in own] == [(total, 0), (day, 5)]
    assert [(each.end_user, each.spent_nanos) for each in users] == [("ada", 3)]
    assert list_key_budgets(1, (), None, 5) == ([], [])
    assert list_budgets({}) == {}


def test_spend_by_key_starts_from_the_account(mira: int, kai: int):
    add_record(mira, key_id=1)
    add_record(mira, key_id=1)
    add_record(mira, key_id=1, created_at=NOON)
    add_record(kai, key_id=2)
    assert list_spend_by_key(mira, NOON + DAY) == {1: 6_000_000}


def test_the_journal_is_the_accounts_own(mira: int, kai: int):
    credit(mira, 10, source="signup", external_id="signup:1")
    adjust(mira, -4, note="a slip", made_by="ops@example.com")
    credit(kai, 1_000, source="operator")
    db.session.expire_all()
    assert [(entry.source, entry.amount_nanos) for entry in list_entries(mira)] == [("operator", 4), ("signup", 10)]
    first = find_first_credit(mira)
    assert first
    assert first.source == "signup"
    assert {id_: view.available_nanos for id_, view in list_balances([mira, kai, 99]).items()} == {mira: 6, kai: 1_000}
