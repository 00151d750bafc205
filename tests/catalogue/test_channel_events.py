"""What operators read about a channel: its state, and a timeline of why it was left and taken back."""

import datetime

import pytest
import sqlalchemy as sa

from bridge.catalogue import editing
from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW
from bridge.catalogue.channel_events import HEALTH, delete_old_events, list_events, record_test
from bridge.catalogue.health import Health
from bridge.catalogue.routing import load_catalogue
from bridge.catalogue.tables import Channel, ChannelEvent
from bridge.db import db, now_utc, transaction
from bridge.providers.base import AttemptFailed, Blame
from bridge.versions import Version
from tests.catalogue.test_health import Clock, OneRoute, answer, fail

FIRST = 30.0
pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """One clock for the breaker and what it notes."""
    clock, started = Clock(), now_utc()
    monkeypatch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
    moment = datetime.timedelta(seconds=1)
    monkeypatch.setattr("bridge.catalogue.health.now_utc", lambda: started + (clock.now - Clock.now) * moment)
    return clock


@pytest.fixture
def channel() -> OneRoute:
    with transaction() as session:
        row = Channel(name="main", provider="openai")
        session.add(row)
    return OneRoute(channel_id=row.id)


def show(health: Health, name: str = "main") -> Channel:
    health.write_notes()
    row = editing.find_channel(name)
    db.session.refresh(row)
    db.session.commit()
    return row


def health_number() -> int:
    db.session.rollback()
    return db.session.scalar(sa.select(Version.number).where(Version.topic == HEALTH)) or 0


def test_workers_hear_of_a_channels_state_only_when_it_changes(channel: OneRoute, clock: Clock):
    health = Health(FIRST)
    answer(health, channel)
    show(health)
    before = health_number()
    answer(health, channel)  # its last answer is a later one, and that is all
    show(health)
    assert health_number() == before
    fail(health, times=FAILURES_IN_A_ROW, route=channel)
    assert show(health).health == "cooling"
    assert health_number() > before


def timeline(row: Channel) -> list[tuple[str, str, int | None]]:
    return [(event.what, event.why, event.seconds) for event in list_events(row)]


def test_an_outage_is_told_from_beginning_to_end(channel: OneRoute, clock: Clock):
    health = Health(FIRST)
    fail(health, times=FAILURES_IN_A_ROW, route=channel)
    row = show(health)
    assert row.health == "cooling"
    assert row.cooling_until is not None
    clock.now += FIRST
    answer(health, channel)
    row = show(health)
    assert (row.health, row.cooling_until, row.last_error) == ("healthy", None, "5 failures in a row, the last: 500")
    assert row.last_answer_at is not None
    assert timeline(row) == [
        ("back", "It answers again.", None),
        ("out", "5 failures in a row, the last: 500", 30),
    ]
    assert list_events(row)[0].process


@pytest.mark.parametrize(
    ("blame", "health", "refused", "told"),
    [
        (Blame.RATE, "cooling", None, [("cooling", "500", 60)]),
        (Blame.CREDENTIAL, "out", None, [("out", "500", 300)]),
        (Blame.SETUP, "failing", ["gpt-4o"], [("misconfigured", "gpt-4o: 500", 30)]),
        (Blame.UPSTREAM, "failing", None, []),
    ],
)
def test_the_page_says_what_is_wrong(
    channel: OneRoute, blame: Blame, health: str, refused: list[str] | None, told: list[object]
):
    found = Health(FIRST)
    fail(found, blame, times=2, retry_after=60, route=channel)
    row = show(found)
    assert (row.health, row.refused_models, row.last_error) == (health, refused, "500")
    assert timeline(row) == told


def test_neither_address_nor_key_is_written_down(channel: OneRoute):
    health = Health(FIRST)
    said = "401 sk-proj-abcd1234 is refused at https://api.internal.example/v1"
    for account in (1, 2):
        health.failed(channel, AttemptFailed(Blame.CREDENTIAL, said), account_id=account)
    row = show(health)
    for text in (row.last_error or "", timeline(row)[0][1]):
        assert "sk-proj" not in text
        assert "internal" not in text
        assert text.startswith("401")


def test_a_late_answer_does_not_show_a_channel_healthy_before_its_time(channel: OneRoute, clock: Clock):
    health = Health(FIRST)
    fail(health, Blame.RATE, retry_after=60, route=channel)
    answer(health, channel)
    assert show(health).health == "cooling"
    clock.now += 60
    answer(health, channel)
    row = show(health)
    assert row.health == "healthy"
    assert [what for what, *_ in timeline(row)] == ["back", "cooling"]


def test_notes_are_written_once_and_kept_while_the_database_is_away(channel: OneRoute, monkeypatch: pytest.MonkeyPatch):
    def away(_notes: object) -> None:
        raise sa.exc.OperationalError("", {}, Exception())

    health = Health(FIRST)
    fail(health, Blame.CREDENTIAL, times=2, route=channel)
    with monkeypatch.context() as patch:
        patch.setattr("bridge.catalogue.channel_events.write_notes", away)
        with pytest.raises(sa.exc.OperationalError):
            health.write_notes()
    assert len(timeline(show(health))) == 1
    assert len(timeline(show(health))) == 1


def test_notes_of_a_channel_that_began_afresh_or_is_gone_change_nothing(channel: OneRoute):
    health, gone = Health(FIRST), OneRoute(channel_id=999)
    fail(health, Blame.CREDENTIAL, times=2, route=channel)
    fail(health, Blame.CREDENTIAL, times=2, route=gone)
    editing.update_channel("main", api_key="another")
    row = show(health)
    assert (row.health, timeline(row)) == ("unknown", [])


def test_a_new_key_address_or_list_of_models_begins_afresh_and_another_weight_does_not():
    channel = editing.add_channel("main", "openai", api_key="k")
    for fields in ({"api_key": "l"}, {"base_url": "https://x.example", "api_key": "l"}):
        before = channel.resets
        channel = editing.update_channel("main", **fields)
        assert channel.resets == before + 1
    assert editing.update_channel("main", weight=3).resets == 2
    assert editing.set_channel_enabled("main", False).resets == 2
    assert editing.set_channel_enabled("main", True).resets == 3


def test_channels_with_one_key_at_one_address_share_a_credential_and_its_new_beginning():
    editing.add_model("m", provider="local", input_price_nanos=1, output_price_nanos=1, context_tokens=9)
    given = [("a", "k", None), ("b", "k", None), ("c", "l", None), ("d", "k", "https://x.example"), ("e", None, None)]
    for name, key, url in given:
        url = url or ("https://y.example" if key is None else None)
        editing.add_channel(name, "openai", api_key=key, base_url=url, models={"m": ""})

    def read() -> dict[str, str]:
        return {route.channel_name: route.credential for route in load_catalogue().models["m"].routes}

    found = read()
    assert found["a"] == found["b"]
    assert len({found["a"], found["c"], found["d"]}) == 3
    assert found["e"] == ""
    record_test("b", True, "It answered.")
    after = read()
    assert after["a"] == after["b"] != found["a"]
    assert (after["c"], after["d"]) == (found["c"], found["d"])


def test_a_test_is_told_and_brings_back_only_if_it_is_answered(channel: OneRoute):
    health = Health(FIRST)
    fail(health, Blame.CREDENTIAL, times=2, route=channel)
    fail(health, Blame.SETUP, times=2, route=channel)
    show(health)
    record_test("main", False, "Nothing answers at http://10.0.0.1.")
    row = show(health)
    assert (row.health, row.resets) == ("out", 0)
    before = number()
    record_test("main", True, "gpt-4o answered.")
    row = show(health)
    assert (row.health, row.refused_models, row.resets) == ("healthy", None, 1)
    assert number() == before + 1
    assert [(what, why) for what, why, _ in timeline(row)][:3] == [
        ("back", "It passed its test."),
        ("tested", "Passed: gpt-4o answered."),
        ("tested", "Failed: Nothing answers at …"),
    ]


def number() -> int:
    row = db.session.get(Version, "catalogue", populate_existing=True)
    return row.number if row else 0


def test_what_is_older_than_thirty_days_is_forgotten(channel: OneRoute):
    with transaction() as session:
        for days in (31, 29):
            at = now_utc() - datetime.timedelta(days=days)
            session.add(ChannelEvent(channel_id=channel.channel_id, at=at, what="back", why=str(days), process="p"))
    delete_old_events()
    assert [why for _, why, _ in timeline(editing.find_channel("main"))] == ["29"]


def test_the_timeline_goes_with_its_channel(channel: OneRoute):
    record_test("main", True, "It answered.")
    editing.remove_channel("main")
    assert db.session.scalars(sa.select(ChannelEvent)).all() == []
