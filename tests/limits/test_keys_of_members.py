"""A key of a member: it counts against their budget, answers as long as their role may call models, and reads about
their own requests alone."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge import versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.tables import Membership
from bridge.accounts.team import revoke_member_keys
from bridge.db import transaction
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.members import MadeMember, add_member, make_key_of
from tests.upstream import ScriptedUpstream, says

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Team:
    """An account with a developer, and a model that they may call."""

    def __init__(self, app: Flask, make: Factories, client: FlaskClient, upstream: ScriptedUpstream):
        self.app, self.client, self.make, self.upstream = app, client, make, upstream
        self.account: MadeAccount = make.make_account()
        self.member: MadeMember = add_member(app, self.account, "developer")
        self.model = make.make_model(output_price=1000 * DOLLAR)
        make.make_channel(upstream.base_url, self.model)

    def change(self, **columns: Any) -> None:
        """Change the developer's membership, as every worker hears of it."""
        with self.app.app_context():
            with transaction() as session:
                theirs = (Membership.account_id == self.account.id, Membership.member_id == self.member.id)
                session.execute(sa.update(Membership).where(*theirs).values(**columns))
                versions.bump(TOPIC)
            versions.wait_until_seen(self.app.config["BRIDGE"])

    def ask(self, key: MadeKey, path: str = "/v1/chat/completions") -> Any:
        self.upstream.plays(says("Good ", "day"))
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 100}
        return self.client.post(path, json=body, headers=key.headers, buffered=True)


@pytest.fixture
def team(app: Flask, make: Factories, client: FlaskClient, upstream: ScriptedUpstream) -> Team:
    return Team(app, make, client, upstream)


def test_a_new_budget_counts_from_the_next_request_and_refuses_every_key_of_the_member(team: Team):
    first, second = (make_key_of(team.app, team.member) for _ in range(2))
    own = team.make.make_key(team.account)
    assert team.ask(first).status_code == 200
    team.change(budget_month_nanos=DOLLAR // 20)
    for key in (first, second):
        answer = team.ask(key)
        assert (answer.status_code, answer.json["error"]["code"]) == (402, "key_budget_exceeded")
        message = answer.json["error"]["message"]
        assert "left of the budget of $0.05 a month that all keys of this key's member share" in message
        assert "which starts again at 00:00 UTC on" in message
        assert "Ask an owner or admin of the account for more" in message
        assert team.ask(key, "/v1/quote").json["refusal"] == "key_budget_exceeded"
        shown = team.client.get("/v1/key", headers=key.headers).json
        assert (shown["member_budget"]["amount"], shown["member_budget"]["period"]) == ("0.05", "month")
    assert team.ask(own).status_code == 200
    assert team.client.get("/v1/key", headers=own.headers).json["member_budget"] is None
    team.change(budget_month_nanos=None)
    assert team.ask(second).status_code == 200


def test_a_key_answers_as_long_as_its_member_may_call_models(team: Team):
    key = make_key_of(team.app, team.member)
    assert team.ask(key).status_code == 200
    team.change(role="viewer")
    answer = team.ask(key)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "permission_denied")
    assert "may not call models in this account" in answer.json["error"]["message"]
    team.change(role="admin")
    assert team.ask(key).status_code == 200
    with team.app.app_context():
        with transaction() as session:
            assert revoke_member_keys(session, team.account.id, team.member.id) == ["key"]
        versions.wait_until_seen(team.app.config["BRIDGE"])
    assert team.ask(key).status_code == 401


def test_a_developer_s_key_reads_no_receipt_of_another_key(team: Team):
    mine, other = make_key_of(team.app, team.member), team.make.make_key(team.account)
    ids = [team.ask(key).headers["x-request-id"] for key in (mine, other)]

    def read(key: MadeKey) -> list[int]:
        paths = (f"/v1/requests/{request_id}" for request_id in ids)
        return [team.client.get(path, headers=key.headers).status_code for path in paths]

    assert (read(mine), read(other)) == ([200, 404], [200, 200])
    team.change(role="admin")
    assert read(mine) == [200, 200]
