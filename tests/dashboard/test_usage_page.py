"""Usage and receipts: the page adds up to the charges, a charge is explained to the nano-dollar, the CSV matches the
filter."""

import csv
import io
import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.db import now_utc, transaction
from bridge.ledger import label_rollups
from bridge.ledger.receipt import make_receipt
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Hold
from bridge.telemetry import new_request_id
from tests.dashboard.pages import sign_in
from tests.factories import Factories, MadeAccount, MadeKey
from tests.ledger.records import add_failure, add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
USAGE = "/dashboard/usage"


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account()
    sign_in(client, account.email, account.password)
    return account


@pytest.fixture
def key(make: Factories, account: MadeAccount) -> MadeKey:
    return make.make_key(account, name="worker-prod")


def ids_in(page: str) -> list[str]:
    return re.findall(r'href="/dashboard/usage/(req_[0-9a-f]{32})"', page)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_page_sums_to_the_charges_exactly(app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey):
    with app.app_context():
        for charge in (1, 20_000_000, 1_837_204_414):
            add_record(account.id, key_id=key.id, charge_nanos=charge)
    page = client.get(USAGE).text
    assert "exactly $1.857204415" in page
    assert "40.0% from cache" in page


def test_older_and_newer_go_through_all_of_the_filter(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    with app.app_context():
        records = [add_record(account.id, key_id=key.id) for _ in range(30)]
        add_record(account.id, key_id=key.id, model_id="other-model")
    first = client.get(f"{USAGE}?model=gpt-4o&status=complete").text
    older = re.search(r'href="([^"]+)">Older<', first)
    assert older
    second = client.get(older[1].replace("&amp;", "&")).text
    assert ids_in(first) + ids_in(second) == [record.request_id for record in reversed(records)]
    assert "other-model" not in "".join(re.findall(r"<tbody>.*</tbody>", second, re.DOTALL))
    newer = re.search(r'href="([^"]+)">Newer<', second)
    assert newer
    assert ids_in(client.get(newer[1].replace("&amp;", "&")).text) == ids_in(first)


@pytest.mark.parametrize(
    "query", ["period=x&key=1;drop&status=%27&model=", "key=99999999999999999999", "before=req_0&after="]
)
def test_a_strange_filter_is_no_error(client: FlaskClient, account: MadeAccount, query: str):
    answer = client.get(f"{USAGE}?{query}")
    assert answer.status_code == 200
    assert "No requests here" in answer.text


def test_a_request_id_leads_to_its_receipt(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        record = add_record(account.id)
    for asked in (record.request_id, record.request_id.replace("req_", "chatcmpl-")):
        assert client.get(USAGE, query_string={"q": asked}).location == f"{USAGE}/{record.request_id}"
    refused = client.get(f"{USAGE}?q=nonsense").text
    assert 'aria-describedby="q-error"' in refused
    assert 'value="nonsense"' in refused


def test_the_csv_is_the_filter(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    key, other = make.make_key(account, name="=cmd()"), make.make_key(account, name="other")
    with app.app_context():
        record = add_record(account.id, key_id=key.id, charge_nanos=1_857_204_415)
        add_record(account.id, key_id=other.id)
        add_record(make.make_account().id, key_id=key.id)
    answer = client.get(f"{USAGE}.csv?key={key.id}")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Cache-Control"] == "no-store"
    (row,) = read_csv(answer.text)
    assert row["request_id"] == record.request_id
    assert row["cost_dollars"] == "1.857204415"
    assert row["created_at"] == f"{record.created_at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert row["key"] == "'=cmd()"  # no spreadsheet runs it


def test_the_csv_names_every_column_and_every_row(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        for _ in range(3):
            add_record(account.id)
        add_failure(account.id)
    rows = read_csv(client.get(f"{USAGE}.csv").text)
    assert len(rows) == 4
    assert all(None not in row and None not in row.values() for row in rows)
    assert rows[0]["error_code"] == "upstream_error"
    assert rows[0]["first_content_ms"] == ""


def test_the_csv_tells_pictures_from_texts(app: Flask, client: FlaskClient, account: MadeAccount):
    counts = {"image_tokens": 700, "image_output_tokens": 400, "pictures": 2}
    with app.app_context():
        add_record(account.id, endpoint="images", pricing=json.dumps(counts))
        add_record(account.id)
    rows = {row["endpoint"]: row for row in read_csv(client.get(f"{USAGE}.csv").text)}
    told = {name: (row["image_tokens"], row["image_output_tokens"], row["images"]) for name, row in rows.items()}
    assert told == {"images": ("700", "400", "2"), "chat": ("0", "0", "0")}


def amounts_in(page: str) -> list[str]:
    """The amounts of the receipt, in order."""
    table = page[page.index('<table class="receipt">') : page.index("</table>")]
    return re.findall(r"[+−]?\$[\d.]+", re.sub(r"<[^>]*>", "", table))


def test_a_receipt_adds_up_to_the_nano(app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey):
    with app.app_context():
        record = add_record(
            account.id,
            key_id=key.id,
            prompt_tokens=7_986,
            cached_tokens=6_144,
            completion_tokens=512,
            input_nanos_per_mtok=3_000_000_000,
            cached_nanos_per_mtok=300_000_000,
            output_nanos_per_mtok=15_000_000_000,
            charge_nanos=15_049_200,
            hold_nanos=55_920_000,
            adapted=json.dumps({"dropped": ["logit_bias"], "clamped": ["temperature=1"]}),
        )
    page = client.get(f"{USAGE}/{record.request_id}").text
    assert amounts_in(page) == [
        *("$3.00", "$0.005526000", "$0.30", "$0.001843200", "$15.00", "$0.007680000"),
        *("$0.015049200", "$0.055920000", "$0.040870800"),
    ]
    for shown in (
        record.request_id,
        "worker-prod",
        "gpt-4o-2024-11-20",
        "logit_bias",
        "temperature=1",
        "Price version 37",
    ):
        assert shown in page
    assert record.request_id.replace("req_", "chatcmpl-") in page
    assert "Counts reported by the provider" in page


def explain(app: Flask, account: MadeAccount, **changes: object) -> tuple[str, int]:
    with app.app_context():
        receipt = make_receipt(add_record(account.id, **changes))
    assert sum(line.amount_nanos for line in receipt.lines) + receipt.difference_nanos == receipt.record.charge_nanos
    return receipt.difference_name, receipt.difference_nanos


def test_what_separates_the_lines_from_the_charge_is_named(app: Flask, account: MadeAccount):
    exact = {"prompt_tokens": 1_000, "cached_tokens": 400, "completion_tokens": 100}
    assert explain(app, account, **exact) == ("", 0)
    odd = {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1, "input_nanos_per_mtok": 37_500_000}
    assert explain(app, account, **odd, output_nanos_per_mtok=37_500_000, charge_nanos=75) == ("Rounded up, once", 1)
    paid = ("Beyond your hold and balance: we pay it", -1_000_000)
    assert explain(app, account, **exact, charge_nanos=2_000_000, loss_nanos=1_000_000) == paid
    free = ("Not charged", -3_000_000)
    assert explain(app, account, **exact, charge_nanos=0, state="released", outcome="client_gone") == free


def test_what_was_written_to_a_cache_has_lines_of_its_own(app: Flask, client: FlaskClient, account: MadeAccount):
    written = {"cache_write_tokens": 500, "cache_write_hour_tokens": 200, "completion_tokens": 100}
    prices = {"cache_write_nanos_per_mtok": 3_125_000_000, "cache_write_hour_nanos_per_mtok": 5_000_000_000}
    charge = 100 * 2_500 + 400 * 1_250 + 300 * 3_125 + 200 * 5_000 + 100 * 10_000
    with app.app_context():
        record = add_record(account.id, **written, **prices, charge_nanos=charge)
        receipt = make_receipt(record)
    assert [(line.name, line.count, line.amount_nanos) for line in receipt.lines] == [
        ("Prompt", 100, 250_000),
        ("Prompt, from cache", 400, 500_000),
        ("Prompt, to cache", 300, 937_500),
        ("Prompt, to cache for an hour", 200, 1_000_000),
        ("Answer", 100, 1_000_000),
    ]
    assert receipt.difference_name == ""
    assert "Prompt, to cache for an hour" in client.get(f"{USAGE}/{record.request_id}").text
    (row,) = read_csv(client.get(f"{USAGE}.csv").text)
    assert (row["prompt_tokens"], row["cached_tokens"], row["cache_write_tokens"]) == ("1000", "400", "500")
    with app.app_context():
        plain = add_record(account.id)
    assert "to cache" not in client.get(f"{USAGE}/{plain.request_id}").text


def test_a_receipt_shows_what_the_provider_counted_where_that_was_not_charged(
    app: Flask, client: FlaskClient, account: MadeAccount
):
    said = '{"prompt_tokens":25000,"completion_tokens":null,"cached_tokens":9000}'
    with app.app_context():
        record = add_record(
            account.id, provider_counts=said, uncharged_tokens=24_000, uncharged_nanos=60_000_000, tokens_source="mixed"
        )
        plain = add_record(account.id)
    page = client.get(f"{USAGE}/{record.request_id}").text
    assert "The provider counted: prompt 25,000, of it from cache 9,000, answer not counted" in page
    assert "24,000" in page
    assert "0.06" in page
    assert "our own where it reported none" in page
    assert "provider counted:" not in client.get(f"{USAGE}/{plain.request_id}").text


def test_five_lines_that_are_each_rounded_down_are_rounded_up_once(app: Flask, account: MadeAccount):
    counts = {"prompt_tokens": 4, "cached_tokens": 1, "cache_write_tokens": 2, "cache_write_hour_tokens": 1}
    names = ("input", "cached", "cache_write", "cache_write_hour", "output")
    prices = {f"{name}_nanos_per_mtok": 999_999 for name in names}
    assert explain(app, account, **counts, **prices, completion_tokens=1, charge_nanos=5) == ("Rounded up, once", 5)


def test_attempts_are_drawn_in_time(app: Flask, account: MadeAccount):
    attempts = [
        {"channel": "a", "started_ms": 0, "took_ms": 410, "outcome": "529, overloaded"},
        {"channel": "b", "started_ms": 410, "took_ms": 9_430, "outcome": "200"},
    ]
    with app.app_context():
        receipt = make_receipt(
            add_record(account.id, attempts=json.dumps(attempts), first_content_ms=1_180, total_ms=9_840)
        )
    first, second = receipt.attempts
    assert (first.ok, first.waited_ms, first.streamed_ms, first.charge_nanos) == (False, 410, 0, 0)
    assert (second.ok, second.waited_ms, second.streamed_ms, second.charge_nanos) == (True, 770, 8_660, 3_000_000)
    assert receipt.failed_attempts == 1


def test_an_attempt_that_broke_off_is_not_shown_as_a_good_one(app: Flask, client: FlaskClient, account: MadeAccount):
    attempts = json.dumps([{"channel": "a", "started_ms": 0, "took_ms": 900, "outcome": "the answer was cut off"}])
    with app.app_context():
        record = add_record(account.id, outcome="cut", attempts=attempts, first_content_ms=100, total_ms=900)
        path = f"/dashboard/usage/{record.request_id}"
    assert '<span class="st st-warn">the answer was cut off</span>' in client.get(path).text


def test_an_attempt_that_its_client_left_is_no_failure(app: Flask, client: FlaskClient, account: MadeAccount):
    attempts = json.dumps([{"channel": "a", "started_ms": 0, "took_ms": 900, "outcome": "client gone"}])
    left = {"outcome": "client_gone", "error_code": "client_left_early_paid", "tokens_source": "estimate"}
    with app.app_context():
        record = add_record(account.id, attempts=attempts, first_content_ms=None, total_ms=900, **left)
    page = client.get(f"{USAGE}/{record.request_id}").text
    assert '<span class="st st-off">client gone</span>' in page
    assert "failed attempt" not in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outcome": "cut"}, "The answer broke off."),
        ({"outcome": "client_gone"}, "The client left before the end."),
        ({"outcome": "client_slow"}, "The client took nothing of the answer for too long."),
        ({"outcome": "worker_lost"}, "You paid at most for what had been delivered."),
        ({"outcome": "worker_lost", "state": "released", "charge_nanos": 0, "attempts": "[]"}, "You were not charged."),
    ],
)
def test_a_receipt_says_what_became_of_the_money(
    app: Flask, client: FlaskClient, account: MadeAccount, changes: dict, said: str
):
    with app.app_context():
        record = add_record(account.id, **changes)
    assert said in client.get(f"{USAGE}/{record.request_id}").text


def test_a_failure_says_it_cost_nothing(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        record = add_failure(account.id)
    page = client.get(f"{USAGE}/{record.request_id}").text
    assert "answered 503, upstream_error" in page
    assert "You were not charged" in page
    assert amounts_in(page)[2:] == [
        "$10.00",
        "$0.000000000",
        "$0.000000000",
        "$0.050000000",
        "$0.050000000",
        "$0.000000000",
    ]


def test_a_receipt_shows_what_was_left_after_it_where_that_is_known(
    app: Flask, client: FlaskClient, account: MadeAccount
):
    with app.app_context():
        known, old = add_record(account.id, balance_after_nanos=-9_997_000_000), add_record(account.id)
    assert amounts_in(client.get(f"{USAGE}/{known.request_id}").text)[-1] == "−$9.997000000"
    assert "Balance after this request" not in client.get(f"{USAGE}/{old.request_id}").text


def test_another_accounts_receipt_looks_missing(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    with app.app_context():
        foreign = add_record(make.make_account().id)
    assert client.get(f"{USAGE}/{foreign.request_id}").status_code == 404
    assert client.get(f"{USAGE}/nonsense").status_code == 404
    assert foreign.request_id not in client.get(USAGE).text
    assert foreign.request_id not in client.get(f"{USAGE}.csv").text


def test_a_running_request_shows_its_hold(app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey):
    request_id = new_request_id()
    hold = Hold(request_id=request_id, account_id=account.id, key_id=key.id, amount_nanos=55_920_000)
    hold.details, hold.created_at, hold.deadline_at = json.dumps({"model_asked": "gpt-4o"}), now_utc(), now_utc()
    with app.app_context(), transaction() as session:
        session.add(hold)
    page = client.get(f"{USAGE}/{request_id}").text
    assert "Running request" in page
    assert "$0.055920" in page


def test_every_page_needs_a_session(app: Flask, engine: str):
    stranger = app.test_client()
    for path in (USAGE, f"{USAGE}.csv", f"{USAGE}/req_0", "/dashboard/", "/dashboard/keys", "/dashboard/keys/1"):
        answer = stranger.get(path)
        assert answer.status_code == 302
        assert answer.location.startswith("/sign-in?next=")


def table_of(page: str, label: str) -> list[list[str]]:
    """The cells of a table's rows, without markup."""
    [body] = re.findall(rf'aria-label="{label}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)]
    return [[" ".join(re.sub(r"<.*?>", " ", cell).split()) for cell in row] for row in rows]


def test_usage_is_grouped_by_end_user_and_by_tag_and_each_leads_to_its_requests(
    app: Flask, client: FlaskClient, account: MadeAccount
):
    with app.app_context():
        ada = add_record(account.id, end_user="ada & co", tags='["env=prod","project=search"]', charge_nanos=20_000_000)
        add_record(account.id, end_user="bob", tags='["env=prod"]', charge_nanos=30_000_000)
        add_record(account.id, charge_nanos=90_000_000)
    users = client.get(f"{USAGE}?by=end_user").text
    assert [(row[0], row[1], row[-1]) for row in table_of(users, "Spend by end user")] == [
        ("bob", "1", "$0.03"),
        ("ada &amp; co", "1", "$0.02"),
    ]
    tags = client.get(f"{USAGE}?by=tag").text
    assert [(row[0], row[1], row[-1]) for row in table_of(tags, "Spend by tag")] == [
        ("env=prod", "2", "$0.05"),
        ("project=search", "1", "$0.02"),
    ]
    [link] = re.findall(r'href="([^"]+)"\s*>ada &amp; co</a>', users)
    page = client.get(link.replace("&amp;", "&")).text
    assert ids_in(page) == [ada.request_id]
    assert "exactly $0.02" in page
    assert 'value="ada &amp; co"' in page
    assert ids_in(client.get(USAGE, query_string={"tag": "project=search"}).text) == [ada.request_id]
    within = client.get(USAGE, query_string={"by": "tag", "end_user": "bob"}).text
    assert [row[0] for row in table_of(within, "Spend by tag")] == ["env=prod"]
    [row] = read_csv(client.get(f"{USAGE}.csv?tag=project%3Dsearch").text)
    assert row["request_id"] == ada.request_id


def test_an_account_that_names_nobody_sees_no_filter_for_it(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        add_record(account.id)
    assert "End user" not in client.get(USAGE).text
    assert client.get(f"{USAGE}?by=nonsense&tag=%22").status_code == 200


def test_others_labels_are_not_shown(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    with app.app_context():
        add_record(make.make_account().id, end_user="eve", tags='["env=theirs"]')
        add_record(account.id, end_user="ada")
    for by in ("end_user", "tag"):
        page = client.get(f"{USAGE}?by={by}").text
        assert "eve" not in page
        assert "env=theirs" not in page


def test_end_users_without_a_roll_up_of_their_own_are_one_line(
    app: Flask, client: FlaskClient, account: MadeAccount, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(label_rollups, "MOST_LABELS", 1)
    with app.app_context():
        for name in ("ada", "bob", "eve"):
            add_record(account.id, end_user=name, charge_nanos=20_000_000)
        roll_up()
        label_rollups.roll_up_labels()
    rows = table_of(client.get(f"{USAGE}?by=end_user").text, "Spend by end user")
    assert [(row[0].partition(" each")[0], row[1], row[-1]) for row in rows] == [
        ("All others", "2", "$0.04"),
        ("ada", "1", "$0.02"),
    ]
    assert "exactly $0.02" in client.get(f"{USAGE}?end_user=eve").text


def test_a_receipt_names_its_end_user_and_its_tags_and_leads_to_theirs(
    app: Flask, client: FlaskClient, account: MadeAccount
):
    with app.app_context():
        record = add_record(
            account.id, end_user="<b>ada</b>", tags='["env=prod","x=a&b"]', stop_at_nanos=10_000_000, charge_nanos=1
        )
    page = client.get(f"{USAGE}/{record.request_id}").text
    assert "&lt;b&gt;ada&lt;/b&gt;" in page
    assert "$0.01" in page
    [link] = re.findall(r'href="([^"]+)">x=a&amp;b</a>', page)
    assert ids_in(client.get(link.replace("&amp;", "&")).text) == [record.request_id]
