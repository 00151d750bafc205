"""A duplicate is merged: money, members and keys go to the account that stays, to the nano, and nothing is charged
twice, whatever runs meanwhile."""

import pytest
import requests
import sqlalchemy as sa

from bridge.accounts.customers import find_customer, reactivate_account
from bridge.accounts.emails import find_member
from bridge.accounts.operator_notes import add_note, list_notes
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.ledger.ledger import MERGE, adjust, find_balance
from bridge.ledger.tables import Entry
from bridge.payments.merging import merge_accounts, move_leftovers
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.upstream import PAUSE, ScriptedUpstream, says, starts


def post(gateway: Gateway, key, model: str, **more) -> requests.Response:
    headers = {**key.headers, **more.pop("headers", {})}
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 5, **more}
    return requests.post(
        f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60, stream=bool(more.get("stream"))
    )


def sum_transfers() -> int:
    signed = sa.case((Entry.credit == "customer", Entry.amount_nanos), else_=-Entry.amount_nanos)
    return int(db.session.scalar(sa.select(sa.func.sum(signed)).where(Entry.source == MERGE)) or 0)


def test_a_duplicate_goes_into_the_account_that_stays(gateway: Gateway, upstream: ScriptedUpstream):
    make = gateway.make
    model = make.make_model()
    make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))
    duplicate, stays = make.make_account(3 * DOLLAR), make.make_account(5 * DOLLAR)
    key = make.make_key(duplicate)
    paid = post(gateway, key, model, headers={"Idempotency-Key": "once"})
    assert paid.status_code == 200
    # one runs while they are merged: it is settled where it began
    hold = make.find_money(duplicate.id)
    upstream.plays(starts("Hel", then=PAUSE))
    running = post(gateway, key, model, stream=True)
    assert make.find_money(duplicate.id)[1] > 0
    with make.app.app_context():
        settings = make.app.config["BRIDGE"]
        add_note(duplicate.id, "Signed up twice")
        moved = merge_accounts(settings, duplicate.id, stays.id)
        make.wait_for_gateway()
        assert moved < hold[0]
        assert find_member(duplicate.email).account_id == stays.id
        assert [note.text for note in list_notes(stays.id)] == ["Signed up twice"]
        assert find_customer(duplicate.id).merged_into == stays.id
    upstream.resume()
    assert running.text.endswith("data: [DONE]\n\n")
    upstream.plays(says("Hello"))
    # the key goes on, at the other account's charge; what it has paid for is given again
    again = post(gateway, key, model, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.content == paid.content
    assert post(gateway, key, model).status_code == 200
    assert [row.key_id for row in make.list_usage(stays.id)] == [key.id]
    with make.app.app_context():
        assert move_leftovers() >= 1
        assert move_leftovers() == 0
        assert sum_transfers() == 0
    charged = [sum(row.charge_nanos for row in make.list_usage(account.id)) for account in (duplicate, stays)]
    assert make.find_money(duplicate.id) == (0, 0)
    assert make.find_money(stays.id) == (8 * DOLLAR - sum(charged), 0)
    assert len(make.list_usage(duplicate.id)) == 2
    assert make.check_ledger() == []


def test_a_debt_goes_too_and_a_closed_account_stays_closed(app, make):
    duplicate, stays, other = (make.make_account(DOLLAR) for _ in range(3))
    settings = app.config["BRIDGE"]
    with app.app_context():
        adjust(duplicate.id, -3 * DOLLAR, note="Charge-back", made_by="a test")
        merge_accounts(settings, duplicate.id, stays.id)
        assert find_balance(duplicate.id).balance_nanos == 0
        assert find_balance(stays.id).balance_nanos == -DOLLAR
        for wrong in (duplicate.id, stays.id):
            with pytest.raises(InvalidRequest):
                merge_accounts(settings, duplicate.id, wrong)
        with pytest.raises(InvalidRequest, match="merged into another"):
            reactivate_account(duplicate.id)
        # what was merged before follows where its account goes
        merge_accounts(settings, stays.id, other.id)
        assert find_customer(duplicate.id).merged_into == other.id
        adjust(duplicate.id, 7, note="A late refund", made_by="a test")
        assert move_leftovers() == 1
        assert find_balance(other.id).balance_nanos == 7
    assert make.check_ledger() == []
