"""What a developer sees of their account: their own keys and what these did, on every page and in every file."""

import datetime
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bench.pages import MOST_STATEMENTS
from bridge.accounts.key_search import find_any_key
from bridge.accounts.tables import Key
from bridge.db import db, now_utc, transaction
from bridge.errors import RateLimitExceeded
from bridge.ledger.budgets import OF_KEY
from bridge.ledger.label_rollups import roll_up_labels
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Budget, Hold
from bridge.limits.refusals import RefusalCounter
from bridge.telemetry import new_request_id
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_page_statements import asked, count_statements
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.ledger.records import add_record
from tests.members import MadeMember, add_member, find_owner, make_key_of

__all__ = ["asked"]  # the fixture
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
KEYS, USAGE = "/dashboard/keys", "/dashboard/usage"
OF_ONE = (  # addresses of one key or one request
    *("/dashboard/keys/{key}", "/dashboard/keys/{key}/first-request", "/dashboard/usage/{settled}"),
    *("/dashboard/usage/{running}", "/dashboard/playground/receipts/{settled}"),
    "/dashboard/playground/receipts/{running}",
)
FURTHER = (
    *(f"{USAGE}?by={each}" for each in ("key", "end_user", "tag")),
    *(f"{USAGE}?status={each}" for each in ("refused", "running", "failed")),
    *(f"{USAGE}?key={{key}}", f"{USAGE}?of={{member}}", f"{USAGE}?end_user=enduserof{{key}}", f"{USAGE}?period=today"),
    *(f"{USAGE}?before={{settled}}", f"{USAGE}?after={{settled}}", f"{USAGE}?tag=team%3Dtagof{{key}}&by=key"),
    *(f"{USAGE}.csv", f"{USAGE}.csv?sums=1&by=key", f"{USAGE}.csv?sums=1&by=end_user", f"{USAGE}.csv?key={{key}}"),
    *(f"{KEYS}?of={{member}}", f"{KEYS}?of=team", f"{KEYS}?q=name", f"{KEYS}?sort=spend", f"{KEYS}?sort=name"),
    *("/dashboard/?period=today", "/docs/errors", "/models", "/"),
)


class Team:
    """An account whose owner and a developer have a key each, and the team has one; all three did the same things."""

    def __init__(self, app: Flask, make: Factories):
        self.app = app
        self.account: MadeAccount = make.make_account(1000 * DOLLAR)
        self.owner: MadeMember = find_owner(app, self.account)
        self.developer: MadeMember = add_member(app, self.account, "developer", 50 * DOLLAR)
        members = {"mine": self.developer, "theirs": self.owner}
        self.keys: dict[str, MadeKey] = {name: make_key_of(app, each, f"name-{name}") for name, each in members.items()}
        self.keys["team"] = make.make_key(self.account, name="name-team")
        self.places: dict[str, dict[str, str]] = {}
        with app.app_context():
            for number, (name, key) in enumerate(self.keys.items()):
                self.places[name] = self._use(name, key, (number + 1) * 111_111_111)
            roll_up()
            roll_up_labels()
            for name, key in self.keys.items():  # and what no roll-up has yet
                add_record(self.account.id, key_id=key.id, charge_nanos=1000, **self._labels(name, key))

    def _labels(self, name: str, key: MadeKey) -> dict[str, str]:
        labels = {"end_user": f"enduserof{key.id}", "tags": f'["team=tagof{key.id}"]'}
        return labels | {"model_id": f"model-of-{name}", "model_asked": f"model-of-{name}"}

    def _use(self, name: str, key: MadeKey, nanos: int) -> dict[str, str]:
        """Settled, running and refused requests, and a budget that is nearly spent; what their addresses name."""
        now, day = now_utc(), datetime.timedelta(days=1)
        settled = add_record(self.account.id, key_id=key.id, charge_nanos=nanos, **self._labels(name, key)).request_id
        hold = {"request_id": new_request_id(), "account_id": self.account.id, "key_id": key.id, "amount_nanos": 0}
        details = f'{{"model_asked": "model-of-{name}"}}'
        with transaction() as session:
            session.add(Hold(**hold, created_at=now, deadline_at=now + day, details=details))
            budget = {"period": "day", "period_start": now.date(), "scope": OF_KEY, "spent_nanos": nanos}
            session.add(Budget(key_id=key.id, **budget))
            session.execute(sa.update(Key).where(Key.id == key.id).values(budget_day_nanos=nanos))
        counter, refused = RefusalCounter(), new_request_id()
        caller = SimpleNamespace(account_id=self.account.id, key_id=key.id)
        counter.count(caller, RateLimitExceeded(f"Refused for {name}."), refused, f"model-of-{name}", "")
        counter.write()
        ids = {"settled": settled, "running": hold["request_id"], "refused": refused}
        owner = find_any_key(str(key.id)).member_id
        return {**{each: str(found) for each, found in ids.items()}, "key": str(key.id), "member": str(owner or "team")}

    def list_secrets(self, name: str) -> list[str]:
        """Texts by which a page would give away what one of the keys did."""
        place = self.places[name]
        ids = [place[each] for each in ("settled", "running", "refused")]
        short = [f"{each[:8]}…{each[-4:]}" for each in ids]
        digits = {"theirs": "222", "team": "333"}[name]
        texts = [f"name-{name}", f"model-of-{name}", f"Refused for {name}", f"enduserof{place['key']}"]
        return [*ids, *short, *texts, f"tagof{place['key']}", f"0.{digits}", f"0.<b>{digits}"]


@pytest.fixture
def team(app: Flask, make: Factories) -> Team:
    return Team(app, make)


def list_gets(app: Flask) -> Iterator[str]:
    """Every address of the customer's side that can be looked at, with the places that it names."""
    names = {"key_id": "{key}", "request_id": "{settled}"}
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("dashboard.") and "GET" in (rule.methods or ()):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: names.get(found[1], "0"), rule.rule)
            yield path
    yield from (*OF_ONE, *FURTHER)


def test_nothing_that_a_developer_can_look_at_tells_of_another_s_key(team: Team, client: FlaskClient):
    sign_in(client, team.developer.email, team.developer.password)
    secrets = team.list_secrets("theirs") + team.list_secrets("team")
    seen = ""
    for other in ("theirs", "team", "mine"):
        for path in dict.fromkeys(list_gets(team.app)):
            answer = client.get(path.format_map(team.places[other]))
            asked_for = set(path.format_map(team.places[other]).replace("=", "/").split("/"))
            told = [secret for secret in secrets if secret in answer.text and secret not in asked_for]
            told = [secret for secret in told if not any(secret in each for each in asked_for)]
            assert not told, (path, told)
            if other != "mine" and path in OF_ONE:
                assert answer.status_code == 404, path
            seen += answer.text if other == "mine" else ""
    for mine in ("name-mine", "model-of-mine", "$0.11", team.places["mine"]["settled"], "Refused for mine"):
        assert mine in seen, mine


def test_no_form_of_another_s_key_does_anything(team: Team, client: FlaskClient):
    sign_in(client, team.developer.email, team.developer.password)
    before = [(key.digest, key.name, key.disabled_at, key.revoked_at, key.member_id) for key in find_keys(team)]
    for rule in team.app.url_map.iter_rules():
        if rule.endpoint.startswith("dashboard.") and "POST" in (rule.methods or ()) and "key_id" in rule.arguments:
            path = rule.rule.replace("<int:key_id>", team.places["theirs"]["key"])
            sent = {"name": "mine now", "confirm": "name-theirs", "belongs_to": str(team.developer.id)}
            assert post(client, path, f"{KEYS}/new", **sent).status_code in (403, 404), path
    assert [(key.digest, key.name, key.disabled_at, key.revoked_at, key.member_id) for key in find_keys(team)] == before


def find_keys(team: Team) -> list[Key]:
    with team.app.app_context():
        return [find_any_key(str(key.id)) for key in team.keys.values()]


def test_an_owner_sees_all_and_filters_by_member(team: Team, client: FlaskClient):
    sign_in(client, team.owner.email, team.owner.password)
    listed = client.get(KEYS).text
    assert all(f"name-{name}" in listed for name in team.keys)
    for chosen, name in ((str(team.developer.id), "mine"), (str(team.owner.id), "theirs"), ("team", "team")):
        found = client.get(f"{KEYS}?of={chosen}").text
        assert re.findall(r"name-(\w+)</a>", found) == [name]
    narrowed = client.get(f"{USAGE}?of={team.developer.id}&by=key").text
    assert "model-of-mine" in narrowed
    assert team.places["theirs"]["settled"] not in narrowed
    assert "$0.67" in client.get(USAGE).text  # all three together


def test_a_developer_s_pages_take_no_more_statements(team: Team, client: FlaskClient, asked: list[str]):
    sign_in(client, team.developer.email, team.developer.password)
    place = team.places["mine"]
    paths = [path.format_map(place) for path in (*OF_ONE[:4], *FURTHER, "/dashboard/playground", KEYS, "/dashboard/")]
    counts = count_statements(client, [path for path in paths if ".csv" not in path], asked)
    assert not {path: count for path, count in counts.items() if count > MOST_STATEMENTS}


def test_a_key_belongs_to_its_maker_unless_they_may_choose(team: Team, client: FlaskClient):
    sign_in(client, team.developer.email, team.developer.password)
    post(client, KEYS, f"{KEYS}/new", name="new-one", belongs_to=str(team.owner.id))
    assert newest(team).member_id == team.developer.id
    client.get("/sign-out")
    owner = team.app.test_client()
    sign_in(owner, team.owner.email, team.owner.password)
    page = owner.get(f"{KEYS}/new").text
    after = page.partition('id="belongs_to"')[2]
    options = re.findall(r'<option value="(\w+)"\s*(?:selected)?>([^<]+)</option>', after)[:3]
    ids = [str(team.owner.id), str(team.developer.id), "team"]
    assert options == list(zip(ids, ["You", team.developer.email, "The team"], strict=True))
    post(owner, KEYS, f"{KEYS}/new", name="by default")
    assert newest(team).member_id == team.owner.id
    post(owner, KEYS, f"{KEYS}/new", name="the team's", belongs_to="team")
    key = newest(team)
    assert key.member_id is None
    refused = post(owner, KEYS, f"{KEYS}/new", name="nobody's", belongs_to="999")
    assert (refused.status_code, "Choose a member of this account" in refused.text) == (400, True)
    post(owner, f"{KEYS}/{key.id}/owner", f"{KEYS}/{key.id}", belongs_to=str(team.developer.id))
    assert newest(team).member_id == team.developer.id
    assert "Its member" not in owner.get(f"{KEYS}/{key.id}").text
    assert f"{team.developer.email}’s monthly budget" in owner.get(f"{KEYS}/{key.id}").text


def newest(team: Team) -> Key:
    with team.app.app_context():
        return db.session.scalars(sa.select(Key).order_by(Key.id.desc()).limit(1)).one()
