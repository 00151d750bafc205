"""A refund gives a whole charge back, once, to the account that paid, and every page and check shows it."""

import gevent
import pytest
import sqlalchemy as sa

from bridge.db import transaction
from bridge.errors import BridgeError, InvalidRequest, NotFound
from bridge.ledger.batch import Settlement
from bridge.ledger.refunds import find_refund, refund_request
from tests.ledger.orders import MOMENT, Ledger, new_id, order_charge, order_hold


def serve(ledger: Ledger, account: int, price: int = 25) -> str:
    hold = order_hold(account, 60)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, price) if price else Settlement(hold.request_id, MOMENT))
    return hold.request_id


def refund(request_id: str, reason: str = "It was empty.", account_id: int | None = None):
    return refund_request(request_id, reason=reason, made_by="a test", account_id=account_id)


@pytest.mark.parametrize("prefix", ["req_", "chatcmpl-"])
def test_all_of_a_charge_comes_back_and_its_row_stays(ledger: Ledger, prefix: str):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)
    assert refund(request_id.replace("req_", prefix), " It was empty. ", account).request_id == request_id
    assert ledger.find_money(account) == (100, 0)
    entry = find_refund(account, request_id)
    assert entry is not None
    assert (entry.debit, entry.credit, entry.amount_nanos) == ("refunds", "customer", 25)
    assert (entry.source, entry.external_id, entry.note, entry.made_by) == (
        *("refund", request_id, "It was empty.", "a test"),
    )
    assert ledger.find_usage(request_id).charge_nanos == 25


def test_a_refund_is_taken_once_however_many_ask(ledger: Ledger):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)

    def ask() -> str:
        with ledger.app.app_context():
            try:
                refund(request_id)
            except InvalidRequest as error:
                return error.message
            return ""

    told = [call.value for call in gevent.joinall([gevent.spawn(ask) for _ in range(8)], raise_error=True)]
    assert ledger.find_money(account) == (100, 0)
    assert told.count("") == 1
    assert all("refunded before: $0.000000025 on " in message for message in told if message)


def test_what_can_t_be_refunded_is_refused_and_says_why(ledger: Ledger):
    account, other = ledger.open_account(100), ledger.open_account(100)
    paid, free, running = serve(ledger, account), serve(ledger, account, 0), order_hold(account, 5)
    ledger.commit(running)
    for asked, error, said in [
        ((new_id(),), NotFound, "no settled request"),
        (("nonsense",), NotFound, "no such request"),
        ((running.request_id,), NotFound, "still runs"),
        ((paid, "x", other), NotFound, "another account's"),
        ((free,), InvalidRequest, "cost nothing"),
        ((paid, "  "), InvalidRequest, "needs a reason"),
        ((paid, "x" * 501), InvalidRequest, "at most 500"),
    ]:
        with pytest.raises(BridgeError, match=said) as caught:
            refund(*asked)
        assert type(caught.value) is error
    assert (ledger.find_money(account), ledger.find_money(other)) == ((75, 5), (100, 0))
    assert find_refund(account, paid) is None


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("amount_nanos = 24", "0.000000024 refunded for {}, 0.000000025 charged"),
        ("debit = 'customer', credit = 'refunds'", "-0.000000025 refunded for {}, 0.000000025 charged"),
        ("external_id = 'req_0'", "0.000000025 refunded for req_0, no request of this account"),
    ],
)
def test_the_check_names_a_refund_that_is_no_charge(damaged: Ledger, damage: str, complaint: str):
    account = damaged.open_account(100)
    request_id = serve(damaged, account)
    refund(request_id)
    assert damaged.check() == []
    with transaction() as session:
        session.execute(sa.text(f"UPDATE entries SET {damage} WHERE source = 'refund'"))
    assert f"account {account}: {complaint.format(request_id)}" in damaged.check()
