"""Refunds give a charge back, whole or in parts and never more, to the account that paid, and every check knows."""

import gevent
import pytest
import sqlalchemy as sa

from bridge.db import transaction
from bridge.errors import BridgeError, InvalidRequest, NotFound
from bridge.ledger.batch import Settlement
from bridge.ledger.refunds import list_refunds, read_amount, refund_request
from tests.ledger.orders import MOMENT, Ledger, new_id, order_charge, order_hold


def serve(ledger: Ledger, account: int, price: int = 25) -> str:
    hold = order_hold(account, 60)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, price) if price else Settlement(hold.request_id, MOMENT))
    return hold.request_id


def refund(request_id: str, reason: str = "It was empty.", account_id: int | None = None, **further: int | None):
    return refund_request(request_id, reason=reason, made_by="a test", account_id=account_id, **further)


@pytest.mark.parametrize("prefix", ["req_", "chatcmpl-"])
def test_all_of_a_charge_comes_back_and_its_row_stays(ledger: Ledger, prefix: str):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)
    done = refund(request_id.replace("req_", prefix), " It was empty. ", account)
    assert (done.record.request_id, done.amount_nanos) == (request_id, 25)
    assert ledger.find_money(account) == (100, 0)
    (entry,) = list_refunds(account, request_id)
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
    assert list_refunds(account, paid) == []


def test_parts_of_a_charge_come_back_and_never_more_than_all(ledger: Ledger):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)
    assert refund(request_id, amount_nanos=10).amount_nanos == 10
    with pytest.raises(InvalidRequest, match=r"at most \$0\.000000015") as caught:
        refund(request_id, amount_nanos=16)
    assert caught.value.param == "amount"
    for nothing in (0, -1):
        with pytest.raises(InvalidRequest, match="more than zero"):
            refund(request_id, amount_nanos=nothing)
    assert refund(request_id).amount_nanos == 15
    assert ledger.find_money(account) == (100, 0)
    with pytest.raises(InvalidRequest, match=r"refunded before: \$0\.000000025 on "):
        refund(request_id, amount_nanos=1)
    assert [entry.amount_nanos for entry in list_refunds(account, request_id)] == [10, 15]
    assert ledger.check() == []


def test_many_parts_at_once_are_never_more_than_the_charge(ledger: Ledger):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)

    def ask() -> int:
        with ledger.app.app_context():
            try:
                return refund(request_id, amount_nanos=10).amount_nanos
            except InvalidRequest:
                return 0

    for _ in range(4):
        gevent.joinall([gevent.spawn(ask) for _ in range(6)], raise_error=True)
    assert ledger.find_money(account) == (95, 0)
    assert sum(entry.amount_nanos for entry in list_refunds(account, request_id)) == 20


def test_a_refund_of_one_number_is_booked_once(ledger: Ledger):
    account = ledger.open_account(100)
    request_id = serve(ledger, account)
    refund(request_id, amount_nanos=10, number=1)
    with pytest.raises(InvalidRequest, match="refunded before"):
        refund(request_id, amount_nanos=10, number=1)
    assert ledger.find_money(account) == (85, 0)


def test_an_amount_is_dollars_or_a_share_rounded_down():
    charge = 1_234_567_891
    assert read_amount(" $0.25 ", charge) == 250_000_000
    assert read_amount("50%", charge) == 617_283_945
    assert read_amount("", charge) is None
    for wrong in ("half", "1.2.3", "%"):
        with pytest.raises(InvalidRequest, match="a share, such as 50%"):
            read_amount(wrong, charge)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("amount_nanos = 26", "0.000000026 refunded for {}, 0.000000025 charged"),
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


def test_the_check_adds_the_parts_up(damaged: Ledger):
    account = damaged.open_account(100)
    request_id = serve(damaged, account)
    refund(request_id, amount_nanos=10)
    refund(request_id, amount_nanos=10)
    assert damaged.check() == []
    with transaction() as session:
        session.execute(sa.text("UPDATE entries SET amount_nanos = 16 WHERE external_id LIKE '%\\:2'"))
    assert f"account {account}: 0.000000026 refunded for {request_id}, 0.000000025 charged" in damaged.check()
