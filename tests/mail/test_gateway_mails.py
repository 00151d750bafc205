"""A running gateway with several workers: one mail for each fall of a balance, and one a night for a damaged ledger."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.db import transaction
from bridge.ledger.alerts import set_alert
from tests.factories import DOLLAR, Factories
from tests.gateway import Gateway
from tests.mail.server import MailServer, Received
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.services import Databases

FROM = "AI Bridge <no-reply@gateway.test>"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_many_requests_at_once_cross_the_threshold_and_one_mail_says_so(
    start_gateway: Callable[..., Gateway], server: MailServer, redis_url: str, engine: str
):
    gateway = start_gateway(
        engine,
        web_concurrency=2,
        redis_url=redis_url,
        smtp_url=f"smtp://127.0.0.1:{server.port}",
        smtp_from=FROM,
        mail_seconds=0.05,
    )
    account = gateway.make.make_account(10 * DOLLAR)
    key = gateway.make.make_key(account)
    with gateway.make.app.app_context():
        set_alert(account.id, 10 * DOLLAR)

    def call() -> int:
        answer = requests.post(f"{gateway.base_url}/chat/completions", json=BODY, headers=key.headers, timeout=60)
        return answer.status_code

    def call_and_wait(mails: int) -> list[Received]:
        calls = [gevent.spawn(call) for _ in range(20)]
        assert {each.get() for each in calls} == {200}
        return server.wait_for(mails)

    call_and_wait(1)
    call_and_wait(1)  # still below: nothing new
    with gateway.make.app.app_context():
        set_alert(account.id, gateway.make.find_money(account.id)[0])  # the next nano is a fall
    mails = call_and_wait(2)
    assert [mail.recipients for mail in mails] == [[f"TO:<{account.email}>"]] * 2
    assert "below $10.00" in mails[0].message["Subject"]
    assert mails[0].message["List-Unsubscribe"].startswith(f"<{gateway.site_url}/alerts/off/")
    off = requests.post(mails[0].message["List-Unsubscribe"].strip("<>"), timeout=60)
    assert off.status_code == 200


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_damaged_ledger_is_told_once_by_whichever_worker_checks(
    start_gateway: Callable[..., Gateway], databases: Databases, server: MailServer, tmp_path: Path, engine: str
):
    url = databases.open(engine)
    rooms = open_rooms(make_settings(tmp_path, database_url=url))
    make = Factories(rooms)
    account, operator = make.make_account(), make.make_account(0, is_operator=True)
    with rooms.app_context(), transaction() as session:
        session.execute(sa.text("UPDATE balances SET balance_nanos = 1 WHERE account_id = :id"), {"id": account.id})
    close_rooms(rooms)
    gateway = start_gateway(
        engine,
        database_url=url,
        web_concurrency=2,
        smtp_url=f"smtp://127.0.0.1:{server.port}",
        smtp_from=FROM,
        mail_seconds=0.05,
        nightly_hour=0,
    )
    (mail,) = server.wait_for(1)
    assert mail.recipients == [f"TO:<{operator.email}>"]
    assert f"account {account.id}: balance is 0.000000001" in mail.message.get_content()
    command = gateway.run_flask("ledger", "check")
    assert command.returncode == 1
    assert command.stderr.startswith(f"account {account.id}: balance is 0.000000001")
    assert [line["differences"] for line in gateway.log_lines("ledger_checked")] == [1]
    assert len(server.mails) == 1


def test_production_without_a_mail_server_says_so_at_start(start_gateway: Callable[..., Gateway]):
    fields = {"bridge_env": "production", "public_base_url": "https://gateway.test"}
    silent = start_gateway("postgresql", **fields)
    assert "Without SMTP_URL no mail is sent" in silent.log()
    mailing = start_gateway("postgresql", **fields, smtp_url="smtp://127.0.0.1:9", smtp_from=FROM)
    assert "SMTP_URL" not in mailing.log()
