"""What is said of a channel is what its last calls were, wherever it is said, and still after a restart."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from bridge.catalogue.own_calls import sum_own_calls
from bridge.catalogue.tables import Channel, ChannelOutcome
from bridge.config import Settings
from bridge.dashboard.status_snapshot import forget_status
from bridge.db import now_utc, transaction
from bridge.inference.services import Services
from bridge.ops.jobs import check_channels, look_for_changes, look_for_incidents, write_notes
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.rooms import close_rooms, make_settings
from tests.upstream import ScriptedUpstream, fails, says, vectors

IDLE = datetime.timedelta(minutes=2)
Upstreams = Callable[[], ScriptedUpstream]


ON_BOTH = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "sqlite")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Idle channels are checked after a minute, and what is out may be tried at once."""
    return make_settings(tmp_path, database_url=database_url, probe_seconds=60, cooldown_seconds=0.001)


@pytest.fixture
def start_upstream() -> Iterator[Upstreams]:
    started: list[ScriptedUpstream] = []

    def start() -> ScriptedUpstream:
        started.append(ScriptedUpstream())
        return started[-1]

    yield start
    for each in started:
        each.close()


@dataclasses.dataclass
class Scene:
    """An operator who is signed in, a customer's key, and what a test does and sees."""

    app: Flask
    make: Factories
    client: FlaskClient
    key: MadeKey

    @property
    def services(self) -> Services:
        services: Services = self.app.extensions["bridge_services"]
        return services

    def ask(self, model: str, times: int = 1, key: MadeKey | None = None) -> list[int]:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
        headers = (key or self.key).headers
        return [self.client.post("/v1/chat/completions", json=body, headers=headers).status_code for _ in range(times)]

    def run(self, *jobs: Callable[[Services], None]) -> None:
        for job in jobs:
            with self.services.app.app_context():
                job(self.services)

    def leave_idle(self, name: str) -> None:
        """Nobody has called the channel for two minutes."""
        with self.app.app_context(), transaction() as session:
            before = now_utc() - IDLE
            values = {"called_at": before, "created_at": before, "probed_at": None}
            session.execute(sa.update(Channel).where(Channel.name == name).values(**values))

    def row(self, name: str) -> str:
        """The channel's row in the list, without markup."""
        page = self.client.get("/admin/channels").text
        found = re.search(
            rf'<tr><th scope="row">(?:<input[^>]*>)?<a href="/admin/channels/{name}">.*?</tr>', page, re.DOTALL
        )
        assert found
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))

    def statuses(self) -> dict[str, str]:
        self.services.model_lists.clear()
        models = self.client.get("/v1/models", headers=self.key.headers).json["data"]
        return {model["id"]: model["status"] for model in models}

    def shown_model(self, model: str) -> str:
        """What the models page says of it."""
        page = self.client.get("/models").text
        found = re.search(rf'<tr><th scope="row"><a class="id"[^>]*>{model}<.*?</tr>', page, re.DOTALL)
        assert found
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))

    def read(self, path: str) -> str:
        """A page without markup."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self.client.get(path).text))

    def status_row(self, model: str) -> str:
        """What the status page says of it."""
        forget_status()
        page = self.client.get(f"/status?q={model}").text
        found = re.search(rf'<tr><th scope="row"><a class="id"[^>]*>{model}<.*?</tr>', page, re.DOTALL)
        assert found
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))


def make_scene(app: Flask, make: Factories, operator: MadeAccount, key: MadeKey) -> Scene:
    client = app.test_client()
    assert sign_in(client, operator.email, operator.password).status_code == 303
    return Scene(app, make, client, key)


@pytest.fixture
def operator(make: Factories) -> MadeAccount:
    return make.make_account(0, is_operator=True)


@pytest.fixture
def scene(app: Flask, make: Factories, operator: MadeAccount) -> Scene:
    return make_scene(app, make, operator, make.make_key(make.make_account(DOLLAR)))


def test_each_channel_is_shown_as_its_last_calls_were_and_still_after_a_restart(
    app: Flask, settings: Settings, scene: Scene, operator: MadeAccount, start_upstream: Upstreams
):
    models = {what: scene.make.make_model() for what in ("failing", "limited", "never", "back")}
    upstreams = {what: start_upstream() for what in models}
    names = {what: scene.make.make_channel(upstreams[what].base_url, models[what]) for what in models}
    upstreams["failing"].plays(fails(500))
    upstreams["back"].plays(fails(500))
    upstreams["limited"].plays(fails(429, headers="retry-after: 20\r\n"))
    assert set(scene.ask(models["failing"], 10)) == {503}
    assert scene.ask(models["limited"]) == [503]
    assert set(scene.ask(models["back"], 4)) == {503}
    scene.run(write_notes)
    assert scene.statuses()[models["back"]] == "unavailable"
    upstreams["back"].plays(says("Hello"))
    scene.leave_idle(names["back"])
    scene.run(check_channels, write_notes)
    assert upstreams["back"].requests[-1].json["max_tokens"] == 1

    def look(scene: Scene) -> None:
        assert "Failing its last 10 calls failed: 500" in scene.row(names["failing"])
        assert "never answered" in scene.row(names["failing"])
        limited = scene.row(names["limited"])
        assert "Cooling down" in limited or "Unsteady" in limited
        assert "429" in limited
        assert "Not tested" in scene.row(names["never"])
        assert "Recovering 1 call answered since it failed" in scene.row(names["back"])
        for what, word in {"failing": "Failing", "never": "Not tested", "back": "Recovering"}.items():
            page = scene.client.get(f"/admin/channels/{names[what]}").text
            assert f"<b>{word}" in page
            assert what == "never" or f"No other channel serves {models[what]}." in re.sub(r"\s+", " ", page)
        found = scene.statuses()
        told = {what: found[model] for what, model in models.items()}
        assert told.pop("limited") in ("degraded", "live")
        assert told == {"failing": "unavailable", "never": "live", "back": "live"}
        assert "Unavailable" in scene.shown_model(models["failing"])
        assert "Its provider fails at the moment" in scene.shown_model(models["failing"])
        assert "Live" in scene.shown_model(models["back"])
        page = re.sub(r"\s+", " ", scene.client.get("/admin/channels").text)
        assert f"<b>{models['failing']} is not to be had.</b>" in page
        assert "1 of 3" in page  # models answered, of those that were called
        home = scene.read("/admin/")
        assert f"{models['failing']} is not served." in home
        assert f"{names['failing']}: failing" in home
        assert "Incident: calls fail" in home
        assert f"{models['failing']} is not served. No operator has written of it yet" in home
        assert f"{names['back']}: recovering" in home
        assert re.search(rf"{names['limited']}: (cooling down|unsteady)", home)
        assert names["never"] not in home
        status = {what: scene.status_row(model) for what, model in models.items()}
        assert "Not served" in status["failing"]
        assert "Degraded" in status["limited"]
        assert "Not called yet" in status["never"]
        assert "Recovering" in status["back"]
        page = scene.read("/status")
        assert f"{models['failing']} is not served." in page
        assert f"Now: {models['failing']} is not served" in page
        assert not any(name in page for name in names.values())

    scene.run(look_for_incidents)
    look(scene)
    # a time that runs out changes nothing
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).values(cooling_until=now_utc() - IDLE))
    assert "Failing" in scene.row(names["failing"])
    assert "Unsteady" in scene.row(names["limited"])
    another = create_app(settings)
    try:
        look(make_scene(another, Factories(another), operator, scene.key))
    finally:
        close_rooms(another)


@ON_BOTH
def test_a_check_puts_a_channel_out_and_takes_it_back_and_costs_the_operator_alone(
    app: Flask, scene: Scene, start_upstream: Upstreams
):
    model, upstream = scene.make.make_model(), start_upstream()
    name = scene.make.make_channel(upstream.base_url, model, cost_bps=5_000)
    upstream.plays(fails(401))
    scene.leave_idle(name)
    scene.run(check_channels, write_notes)
    assert "Out of service" in scene.row(name)
    assert scene.statuses()[model] == "unavailable"
    seen = len(upstream.requests)
    scene.leave_idle(name)
    scene.run(check_channels)  # it is out for five minutes: nobody asks it before
    assert len(upstream.requests) == seen
    upstream.plays(says("Hello", prompt_tokens=7, completion_tokens=1))
    answer = post(scene.client, f"/admin/channels/{name}/test", "/admin/channels")
    assert "Test passed" in answer.text
    scene.leave_idle(name)
    scene.run(look_for_changes, check_channels, write_notes)
    assert "Healthy" in scene.row(name)
    with app.app_context():
        own = sum_own_calls(channel_name=name)
    assert (own.calls, own.cost_nanos) == (3, 9_000)  # half the price of 7 tokens in and 1 out, twice
    assert scene.make.list_usage(scene.key.account_id) == []
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", scene.client.get("/admin/usage").text))
    assert "3 tests and checks of channels" in page
    assert "$0.000009" in scene.client.get("/admin/usage").text


def test_a_channel_is_left_alone_that_is_in_use_switched_off_or_only_draws(
    app: Flask, scene: Scene, start_upstream: Upstreams
):
    upstream = start_upstream()
    model, drawing, embedding = (scene.make.make_model(kinds=[kind]) for kind in ("chat", "images", "embeddings"))
    used = scene.make.make_channel(upstream.base_url, model)
    spared = scene.make.make_channel(upstream.base_url, model, probes=False)
    draws = scene.make.make_channel(upstream.base_url, drawing)
    embeds = scene.make.make_channel(upstream.base_url, embedding)
    for name in (spared, draws):
        scene.leave_idle(name)
    scene.run(check_channels)
    assert upstream.requests == []
    assert "turned off" in scene.client.get(f"/admin/channels/{spared}").text
    upstream.plays(vectors())
    scene.leave_idle(embeds)
    scene.run(check_channels)
    assert [request.path for request in upstream.requests] == ["/v1/embeddings"]
    assert used


def test_a_channel_that_never_leaves_by_itself_is_asked_on_and_its_failures_are_shown(
    scene: Scene, start_upstream: Upstreams
):
    model, failing, spare = scene.make.make_model(), start_upstream(), start_upstream()
    first = scene.make.make_channel(failing.base_url, model, priority=1)
    scene.make.make_channel(spare.base_url, model, priority=2)
    path = f"/admin/channels/{first}"
    post(scene.client, path, f"{path}/edit", base_url=failing.base_url, models=model, always_on="yes")
    scene.make.wait_until_seen()
    assert "never leaves by itself" in scene.client.get(path).text
    failing.plays(fails(500))
    spare.plays(says("From the spare"))
    keys = [scene.make.make_key(scene.make.make_account(DOLLAR)) for _ in range(2)]
    for key in (*keys, *keys, *keys, *keys):
        assert scene.ask(model, key=key) == [200]
    assert len(failing.requests) == len(keys) * 4  # each asked it first
    scene.run(write_notes)
    assert "Failing its last 8 calls failed: 500" in scene.row(first)
    assert "It stays in use" in scene.client.get(path).text


@ON_BOTH
def test_the_hours_have_what_ended_in_which_way_and_how_long_it_took(
    app: Flask, scene: Scene, start_upstream: Upstreams
):
    model, upstream = scene.make.make_model(), start_upstream()
    name = scene.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))
    scene.ask(model, 3)
    scene.run(write_notes)
    upstream.plays(fails(429))
    scene.ask(model)
    scene.run(write_notes, write_notes)  # what was written once is written once
    with app.app_context():
        rows = {row.upstream_id: row for row in transaction_rows()}
    assert set(rows) == {"", model}
    assert all((row.answered, row.limited, row.failed) == (3, 1, 0) for row in rows.values())
    assert sum(rows[""].first_counts.values()) == sum(rows[""].whole_counts.values()) == 3
    page = scene.client.get(f"/admin/channels/{name}").text
    assert "1 of 4 calls failed" in page  # the hour's tip
    assert 'class="ln c1 quiet"' in page
    assert "/admin/usage?channel=" in page


def transaction_rows() -> list[ChannelOutcome]:
    with transaction() as session:
        return list(session.scalars(sa.select(ChannelOutcome)))


def test_the_list_and_a_page_take_ten_statements_at_most(scene: Scene, start_upstream: Upstreams):
    model, upstream = scene.make.make_model(), start_upstream()
    names = [scene.make.make_channel(upstream.base_url, model, rpm=5) for _ in range(3)]
    upstream.plays(says("Hello"))
    scene.ask(model)
    scene.run(write_notes)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        for path in ("/admin/channels", f"/admin/channels/{names[0]}"):
            assert scene.client.get(path).status_code == 200  # some things are read once
            asked.clear()
            assert scene.client.get(path).status_code == 200
            assert len(asked) <= 10, (path, [each[:90] for each in asked])
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@ON_BOTH
def test_a_model_that_fails_on_a_channel_that_otherwise_answers_is_shown_so_everywhere(
    scene: Scene, start_upstream: Upstreams
):
    good, bad, upstream = scene.make.make_model(), scene.make.make_model(), start_upstream()
    name = scene.make.make_channel(upstream.base_url, good, bad)
    upstream.plays(lambda request: (fails(500) if request.json["model"] == bad else says("Hello"))(request))
    other = scene.make.make_key(scene.make.make_account(DOLLAR))
    for key in (scene.key, scene.key):
        assert (scene.ask(bad, key=key), scene.ask(good, key=key)) == ([503], [200])
        scene.run(write_notes)
    assert scene.statuses()[bad] == "live"  # one account alone says nothing for the others
    page = scene.client.get(f"/admin/channels/{name}").text
    assert f"<b>{bad} fails for one account.</b>" in page
    assert "Fails for one account" in scene.client.get(f"/admin/models/one?id={bad}").text
    scene.ask(bad, key=other)
    scene.run(write_notes)
    found = scene.statuses()
    assert (found[bad], found[good]) == ("unavailable", "live")
    assert "Unavailable" in scene.shown_model(bad)
    assert "Live" in scene.shown_model(good)
    assert f"Partly failing {bad}: its last" in scene.row(name)
    page = re.sub(r"\s+", " ", scene.client.get(f"/admin/models/one?id={bad}").text)
    assert f">{name}</a>" in page
    assert "Failing</span>" in page
    page = re.sub(r"\s+", " ", scene.client.get("/admin/").text)
    assert f"{name}: partly failing" in page
    upstream.plays(says("Hello"))
    for _ in range(2):  # it may be out for a moment
        scene.ask(bad)
    scene.run(write_notes)
    assert scene.statuses()[bad] == "live"


def test_what_one_account_alone_has_met_is_checked_while_its_channel_is_in_use(scene: Scene, start_upstream: Upstreams):
    good, bad, upstream = scene.make.make_model(), scene.make.make_model(input_price=9 * DOLLAR), start_upstream()
    scene.make.make_channel(upstream.base_url, good, bad)
    upstream.plays(lambda request: (fails(500) if request.json["model"] == bad else says("Hello"))(request))
    for _ in range(3):
        assert (scene.ask(bad), scene.ask(good)) == ([503], [200])
        scene.run(write_notes)
    seen = len(upstream.requests)
    scene.run(check_channels, write_notes)
    asked = upstream.requests[seen:]
    assert [(request.json["model"], request.json["max_tokens"]) for request in asked] == [(bad, 1)]
    assert scene.statuses()[bad] == "unavailable"
    scene.run(check_channels)  # not twice within its period
    assert len(upstream.requests) == seen + 1
