"""The status page: what it says of each model is so, it names no channel, and it costs next to nothing."""

import datetime
import re
from collections.abc import Iterator
from xml.etree import ElementTree as XML

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from bench.pages import MOST_STATEMENTS
from bridge.acts import COMMAND
from bridge.catalogue.incident_watch import watch_incidents
from bridge.catalogue.incidents import open_incident, post_update
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.dashboard.status import draw_ticks, share
from bridge.dashboard.status_snapshot import forget_status
from bridge.db import now_utc, transaction
from bridge.ledger.model_days import DAYS, roll_up_models
from bridge.ledger.rollup_tables import ModelDay
from bridge.ledger.rollups import roll_up
from tests.dashboard.pages import sign_in
from tests.factories import Factories
from tests.ledger.records import add_failure, add_record
from tests.rooms import close_rooms, make_settings

DAY = datetime.timedelta(days=1)
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def engine() -> str:
    """One engine suffices: the rooms' own tests cover what the page asks of the database."""
    return "sqlite"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_status()


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The statements that are sent from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def row_of(client: FlaskClient, model: str) -> str:
    """What the page says of a model, without markup."""
    forget_status()
    found = re.search(
        rf'<tr><th scope="row"><a class="id"[^>]*>{model}<.*?</tr>',
        client.get("/status").text,
        re.DOTALL,
    )
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))


def set_calls(app: Flask, name: str, calls: str, **columns: object) -> None:
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).where(Channel.name == name).values(recent=calls, **columns))


def test_everyone_reads_shares_times_and_days_and_nobody_a_channels_name(
    app: Flask, client: FlaskClient, make: Factories
):
    model, key = make.make_model(), make.make_key()
    channel = make.make_channel("http://127.0.0.1:9", model, waits=False)
    assert "Not called yet" in row_of(client, model)
    assert "–" in row_of(client, model)
    mine = {"account_id": key.account_id, "key_id": key.id, "model_id": model, "channel_name": channel}
    with app.app_context():
        for _ in range(199):
            add_record(**mine, first_content_ms=400)
        add_failure(**mine)
        roll_up()
        roll_up_models()
    set_calls(app, channel, "a" * 20)
    said = row_of(client, model)
    assert "99.50%" in said
    assert "Answering" in said
    assert re.search(r"3\d\d ms p95 3\d\d ms|4\d\d ms", said)
    page = client.get("/status").text
    assert f"{model}, 90 days: 1 good, 89 without calls" in page
    found = client.get("/status.json").json
    [mine_too] = [one for one in found["models"] if one["id"] == model]
    assert (mine_too["status"], mine_too["answered_90d"], mine_too["days"][-2:]) == ("live", 0.995, [None, "good"])
    with app.app_context():
        set_calls(app, channel, "f" * 10, last_error=f"500 at {channel}")
        watch_incidents(300)
    forget_status()
    for path in ("/status", "/status.json", "/status.atom"):
        assert channel not in client.get(path).get_data(as_text=True)
        assert model in client.get(path).get_data(as_text=True)


def test_each_state_is_told_as_it_is(app: Flask, client: FlaskClient, make: Factories):
    model = make.make_model()
    first = make.make_channel("http://127.0.0.1:9", model, waits=False)
    for calls, word in {
        "f" * 10: "Not served",
        "r": "Degraded",
        "ffffffffffa": "Recovering",
        "a" * 20: "No calls",  # of its own
    }.items():
        set_calls(app, first, calls)
        assert word in row_of(client, model), calls
    make.make_channel("http://127.0.0.1:9", model, priority=2, waits=False)
    set_calls(app, first, "ff")
    assert "Not called yet" in row_of(client, model)  # the one that is left was never tried
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).where(Channel.name != first).values(recent="aa"))
    assert "with less in reserve" in row_of(client, model)


def test_an_incident_is_on_the_page_in_the_feed_and_in_json_until_it_is_earlier(app: Flask, client: FlaskClient):
    with app.app_context():
        number = open_incident("Answers are <slow>", "We look into it.", COMMAND, effect="degraded")
    forget_status()
    page = client.get("/status").text
    assert "Now: Answers are &lt;slow&gt;" in page
    assert "<b>Answers are &lt;slow&gt;.</b>" in page
    assert client.get("/status.json").json["status"] == "degraded"
    with app.app_context():
        post_update(number, "resolved", "It was a cable.", COMMAND)
    forget_status()
    page = client.get("/status").text
    assert "Now:" not in page
    assert f'<li id="incident-{number}">' in page
    assert "It was a cable." in page
    [one] = client.get("/status.json").json["incidents"]
    assert (one["state"], [each["state"] for each in one["updates"]]) == ("resolved", ["resolved", "investigating"])
    feed = XML.fromstring(client.get("/status.atom").data)  # noqa: S314 - our own
    [entry] = feed.findall(f"{ATOM}entry")
    assert entry.findtext(f"{ATOM}title") == "Answers are <slow>"
    assert "It was a cable." in (entry.findtext(f"{ATOM}content") or "")
    assert feed.findtext(f"{ATOM}updated") == entry.findtext(f"{ATOM}updated")


def test_who_has_it_is_told_so_and_a_change_reaches_the_next_look(app: Flask, client: FlaskClient):
    for path in ("/status.json", "/status.atom", "/status"):
        client.get(path)
        tag = client.get(path).headers["ETag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b"")
    with app.app_context():
        open_incident("Slow", "We look.", COMMAND)
    forget_status()
    for path in ("/status.json", "/status.atom"):
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_page_with_five_hundred_models_takes_five_statements_and_then_none(
    app: Flask, client: FlaskClient, make: Factories, asked: list[str]
):
    models = [f"many-{number:03d}" for number in range(500)]
    with app.app_context():
        for model in models:
            make.make_model(id_=model)
        today = now_utc().date()
        with transaction() as session:
            rows = [
                {"day": today - ago * DAY, "model_id": model, "answered": 200, "failed": ago % 7 == 0}
                for model in models
                for ago in range(DAYS)
            ]
            session.execute(sa.insert(ModelDay), rows)
        open_incident("Slow", "We look.", COMMAND)
    make.make_channel("http://127.0.0.1:9", *models, waits=False)
    client.get("/status")
    forget_status()
    asked.clear()
    page = client.get("/status?q=many").text
    assert 0 < len(asked) <= 5
    assert page.count('<a class="id" href="/models/many-') == 100
    assert "page=2" in page
    assert len(page) < 250_000
    asked.clear()
    assert client.get("/status?q=many&page=5").text.count('<a class="id" href="/models/many-') == 100
    assert client.get("/status?q=many-499").text.count('<a class="id" href="/models/many-') == 1
    assert asked == []
    account = make.make_account()
    sign_in(client, account.email, account.password)
    client.get("/status")
    forget_status()
    asked.clear()
    client.get("/status")
    assert len(asked) <= MOST_STATEMENTS, asked


def test_an_operator_may_have_no_such_page(database_url: str, tmp_path):
    settings: Settings = make_settings(tmp_path, database_url=database_url, status_page=False)
    app = create_app(settings)
    try:
        client = app.test_client()
        for path in ("/status", "/status.json", "/status.atom"):
            assert client.get(path).status_code == 404
        assert "/status" not in client.get("/").text
    finally:
        close_rooms(app)


def test_ticks_of_one_kind_are_one_line_and_shares_are_never_rounded_up():
    drawn = str(draw_ticks("--aab", "m"))
    assert drawn.count("<path") == 3
    assert 'class="tk-ok" d="M8 15.5h7"' in drawn
    assert 'aria-label="m, 5 days: 2 good, 1 bad, 2 without calls"' in drawn
    assert [share(*each) for each in ((0, 0), (99_999, 100_000), (5, 5))] == ["–", "99.99%", "100%"]
