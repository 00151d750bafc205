"""An account's fault drill over sockets: its requests meet the fault first, others' do not, and no channel suffers."""

import datetime
import json

import pytest
import sqlalchemy as sa
from gevent import Timeout, sleep

from bridge.accounts.customers import end_drill, start_drill
from bridge.accounts.tables import Account
from bridge.catalogue.editing import find_channel
from bridge.db import now_utc, transaction
from bridge.versions import bump
from tests.gateway import Gateway
from tests.served import Served
from tests.upstream import ScriptedUpstream, says

ON_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


def begin(served: Served, fault: str) -> None:
    make = served.gateway.make
    with make.app.app_context():
        start_drill(served.key.account_id, fault, 15)
    make.make_account(0)
    make.wait_for_gateway()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_drills_fault_comes_first_and_the_real_channel_answers(
    gateway: Gateway, upstream: ScriptedUpstream, stream: bool
):
    upstream.plays(says("Good", prompt_tokens=10, completion_tokens=5))
    served, other = Served(gateway, upstream.base_url), gateway.make.make_key()
    begin(served, "402")
    answer = served.post(stream)
    assert answer.status_code == 200
    assert "Good" in answer.text
    assert answer.headers["x-bridge-attempts"] == "2"
    attempts = served.receipt(answer)["attempts"]
    assert [(attempt["channel"], attempt["outcome"].split()[0]) for attempt in attempts][0] == ("drill", "402")
    assert attempts[1]["outcome"] == "200"
    assert served.spent() == (20_000, 0)
    [line] = [line for line in gateway.log_lines("drill") if line["request_id"] == answer.headers["x-request-id"]]
    assert (line["account_id"], line["fault"]) == (served.key.account_id, "402")
    assert [line for line in gateway.log_lines("attempt_failed") if line["channel"] == "drill"] == []
    served.key = other
    assert served.post().headers["x-bridge-attempts"] == "1"


def test_a_drill_that_is_over_or_ended_is_met_no_more(gateway: Gateway, upstream: ScriptedUpstream):
    served = Served(gateway, upstream.base_url)
    begin(served, "500")
    assert served.post().headers["x-bridge-attempts"] == "2"
    with gateway.make.app.app_context(), transaction() as session:
        past = now_utc() - datetime.timedelta(seconds=1)
        session.execute(sa.update(Account).values(drill_until=past).where(Account.id == served.key.account_id))
        bump("keys")
    with Timeout(60):
        while served.post().headers["x-bridge-attempts"] != "1":
            sleep(0.05)
    begin(served, "500")
    with gateway.make.app.app_context():
        end_drill(served.key.account_id)
    with Timeout(60):
        while served.post().headers["x-bridge-attempts"] != "1":
            sleep(0.05)


def test_no_header_of_a_client_makes_a_drill(gateway: Gateway, upstream: ScriptedUpstream):
    served = Served(gateway, upstream.base_url)
    served.key = type(served.key)(served.key.id, served.key.account_id, served.key.secret)
    answer = served.post(bridge_drill="500", drill="500")
    assert answer.headers["x-bridge-attempts"] == "1"


@ON_POSTGRESQL
def test_the_command_shows_what_a_client_sees_and_gives_the_charge_back(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(says("Good", " answer", prompt_tokens=10, completion_tokens=5))
    served = Served(gateway, upstream.base_url)
    account = str(served.key.account_id)
    run = gateway.run_flask("drill", served.model, "--fault", "500", "--account", account, "--channels", "real")
    assert run.returncode == 0, run.stderr
    assert "Good answer" in run.stdout
    assert "x-bridge-attempts: 2" in run.stdout
    assert "The answer was complete." in run.stdout
    assert "charged $0.00002, given back $0.00002" in run.stdout
    assert served.spent() == (0, 0)
    assert [row.charge_nanos for row in gateway.make.list_usage(served.key.account_id)] == [20_000]
    assert gateway.make.check_ledger() == []
    with gateway.make.app.app_context():
        assert find_channel(list_channel(served)).health in ("unknown", "healthy")


def list_channel(served: Served) -> str:
    """The name of the channel that answered last."""
    return str(json.loads(served.await_usage().attempts)[-1]["channel"])
