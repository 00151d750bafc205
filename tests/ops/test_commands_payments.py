"""`flask payment` finishes payments in review, and the ledger's check is clean afterwards."""

import pytest
from flask import Flask

from bridge.db import transaction
from bridge.ledger.ledger import find_balance
from bridge.payments.booking import settle
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import Payment
from tests.factories import DOLLAR, Factories

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def run(app: Flask, *arguments: str) -> tuple[int, str, str]:
    result = app.test_cli_runner().invoke(args=list(arguments))
    return result.exit_code, result.stdout, result.stderr


def last_line(said: str) -> str:
    """The last line: the command's output comes after its log."""
    return said.splitlines()[-1]


@pytest.fixture
def account(make: Factories) -> int:
    return make.make_account(0).id


@pytest.fixture
def payment(app: Flask, account: int) -> str:
    """A top-up of $20 for which $15 came."""
    payment_id = new_payment_id()
    with app.app_context():
        with transaction() as session:
            values = {"kind": "checkout", "amount_minor": 2000, "currency": "usd", "credit_nanos": 20 * DOLLAR}
            session.add(Payment(id=payment_id, account_id=account, **values))
        settle(payment_id, payment_intent="pi_1", amount_minor=1500, currency="usd")
    return payment_id


def test_a_payment_in_review_is_listed_settled_once_and_the_check_is_clean(app: Flask, payment: str, account: int):
    assert run(app, "ledger", "check")[0] == 1
    heading, line = run(app, "payment", "list")[1].splitlines()
    assert heading.split() == ["PAYMENT", "ACCOUNT", "STATE", "REQUESTED", "RECEIVED", "PAYMENT", "INTENT", "PROBLEM"]
    assert line.split()[:6] == [payment, str(account), "review", "$20.00", "$15.00", "pi_1"]
    status, said, _ = run(app, "payment", "settle", payment, "--reason", "They paid less")
    assert (status, last_line(said)) == (0, f"Credited $15.00 to account {account}; the balance is $15.00.")
    assert run(app, "payment", "settle", payment, "--reason", "Again")[:2] == (
        0,
        "This was done before: nothing was changed.\n",
    )
    with app.app_context():
        assert find_balance(account).balance_nanos == 15 * DOLLAR
    assert run(app, "ledger", "check")[0] == 0
    assert payment in run(app, "payment", "list", "--all")[1]
    shown = run(app, "payment", "show", payment)[1]
    assert "settle by command: They paid less (before: review: $15.00 was paid, not $20.00.)" in shown


def test_a_payment_in_review_is_closed_once_and_the_check_is_clean(app: Flask, payment: str, account: int):
    status, said, _ = run(app, "payment", "close", payment, "--reason", "Refunded by hand")
    assert (status, last_line(said)) == (0, f"{payment} is closed.")
    assert "nothing was changed" in run(app, "payment", "close", payment, "--reason", "Again")[1]
    with app.app_context():
        assert find_balance(account).balance_nanos == 0
    assert run(app, "ledger", "check")[0] == 0
    assert len(run(app, "payment", "list")[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("settle", "pay_of_nobody", "--reason", "x"), "There is no payment"),
        (("close", "pay_of_nobody", "--reason", "x"), "There is no payment"),
        (("settle", "PAYMENT"), "--reason"),
        (("close", "PAYMENT", "--reason", " "), "reason"),
        (("settle", "PAYMENT", "--reason", "x", "--dollars", "5"), "give no dollars"),
        (("link", "PAYMENT", "pi_2", "--reason", "x"), "STRIPE_SECRET_KEY is missing"),
    ],
)
def test_what_makes_no_sense_is_one_line(app: Flask, payment: str, arguments: tuple[str, ...], complaint: str):
    status, printed, said = run(app, "payment", *(payment if one == "PAYMENT" else one for one in arguments))
    assert (status, printed) == (1, "")
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert complaint in said
