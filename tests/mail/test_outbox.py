"""A queued mail goes out once, from one worker, or says why it didn't; and never from a request."""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.mail.outbox import RETRY_AFTER_SECONDS, count_mails, delete_old_mails, queue_mail, send_due
from bridge.mail.tables import Mail
from tests.mail.server import MailServer


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def queue(once: str = "first", **fields: str) -> None:
    with transaction() as session:
        values = {"recipient": "ada@example.com", "subject": "Hello", "text": "Hi.\n", **fields}
        queue_mail(session, once=once, **values)


def states() -> list[tuple[str, int]]:
    db.session.commit()
    rows = db.session.execute(sa.select(Mail.state, Mail.attempts).order_by(Mail.id))
    return [(state, attempts) for state, attempts in rows]


def test_a_mail_is_sent_once(mailing: Settings, server: MailServer):
    queue()
    queue()  # the same again
    assert send_due(mailing) == 1
    assert send_due(mailing) == 0
    assert [mail.recipients for mail in server.mails] == [["TO:<ada@example.com>"]]
    assert states() == [("sent", 1)]
    assert count_mails().sent == 1


def test_however_many_workers_look_one_sends(app: Flask, mailing: Settings, server: MailServer):
    for number in range(3):
        queue(str(number))

    def look() -> int:
        with app.app_context():
            return send_due(mailing)

    workers = [gevent.spawn(look) for _ in range(5)]
    assert sum(worker.get() for worker in workers) == 3
    assert len(server.mails) == 3


def test_what_is_rolled_back_is_not_sent(mailing: Settings, server: MailServer):
    with contextlib.suppress(ZeroDivisionError), transaction() as session:
        queue_mail(session, once="x", recipient="ada@example.com", subject="Hello", text="Hi.")
        raise ZeroDivisionError
    assert send_due(mailing) == 0
    assert server.connections == 0


def test_one_click_turns_such_mails_off(mailing: Settings, server: MailServer):
    queue(off_url="https://gateway.test/alerts/off/x")
    queue("second")
    send_due(mailing)
    first, second = (mail.message for mail in server.mails)
    assert first["List-Unsubscribe"] == "<https://gateway.test/alerts/off/x>"
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert second["List-Unsubscribe"] is None


def test_a_long_address_is_not_cut_in_two(mailing: Settings, server: MailServer):
    address = "https://gateway.test/alerts/off/" + "x" * 300
    queue(off_url=address, text=f"Turn it off:\n{address}\n")
    send_due(mailing)
    message = server.mails[0].message
    assert message["List-Unsubscribe"] == f"<{address}>"
    assert address in message.get_payload()  # as it was sent, before any decoding


def test_a_mail_that_can_go_later_goes_later_and_not_before(mailing: Settings, server: MailServer):
    server.answers["RCPT"] = b"451 come back"
    queue()
    assert send_due(mailing) == send_due(mailing) == 0
    assert states() == [("waiting", 1)]
    assert count_mails().last_problem == "451 come back"
    server.answers.clear()
    with time_machine.travel(now_utc() + datetime.timedelta(seconds=RETRY_AFTER_SECONDS[0] + 1)):
        assert send_due(mailing) == 1
    assert states() == [("sent", 2)]
    assert count_mails().last_problem is None


def test_after_a_day_of_trying_it_is_given_up(mailing: Settings, server: MailServer):
    server.answers["RCPT"] = b"451 come back"
    queue()
    at = now_utc()
    for seconds in (*RETRY_AFTER_SECONDS, 24 * 3600, 24 * 3600):
        with time_machine.travel(at):
            send_due(mailing)
        at += datetime.timedelta(seconds=seconds + 1)
    assert states() == [("failed", len(RETRY_AFTER_SECONDS) + 1)]


def test_a_mail_that_is_refused_is_not_tried_again(mailing: Settings, server: MailServer):
    server.answers["RCPT"] = b"550 no such user"
    queue()
    queue("second", recipient="grace@example.com\nBcc: all@example.com")
    send_due(mailing)
    assert states() == [("failed", 1), ("failed", 1)]
    assert count_mails().failed == 2


def test_a_worker_that_dies_in_the_middle_leaves_the_mail_to_others(mailing: Settings, server: MailServer):
    queue()
    with transaction() as session:  # as the first worker leaves it: claimed, and its attempt never recorded
        later = now_utc() + datetime.timedelta(seconds=RETRY_AFTER_SECONDS[0])
        session.execute(sa.update(Mail).values(attempts=1, due_at=later))
    assert send_due(mailing) == 0
    with time_machine.travel(later + datetime.timedelta(seconds=1)):
        assert send_due(mailing) == 1


@pytest.mark.parametrize(("mode", "state"), [("development", "logged"), ("production", "skipped")])
def test_without_a_server_mails_are_logged_or_skipped_and_never_kept_for_later(
    settings: Settings, mailing: Settings, server: MailServer, mode: str, state: str
):
    queue()
    assert send_due(dataclasses.replace(settings, bridge_env=mode)) == 0
    assert states() == [(state, 1)]
    assert send_due(mailing) == 0
    assert server.connections == 0


def test_addresses_are_forgotten_after_a_month(mailing: Settings):
    queue()
    send_due(mailing)
    queue("waiting")
    delete_old_mails()
    assert len(states()) == 2
    with time_machine.travel(now_utc() + datetime.timedelta(days=31)):
        delete_old_mails()
    assert [state for state, _ in states()] == ["waiting"]
