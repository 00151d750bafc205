"""What the tests of the operator's pages share."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.dashboard.pages import sign_in
from tests.factories import Factories, MadeAccount


@pytest.fixture
def engine() -> str:
    """One engine suffices: the rooms' own tests cover what these pages ask of the database."""
    return "sqlite"


@pytest.fixture
def operator(make: Factories, client: FlaskClient) -> MadeAccount:
    """The operator, signed in at `client`."""
    operator = make.make_account(0, is_operator=True)
    assert sign_in(client, operator.email, operator.password).status_code == 303
    return operator


@pytest.fixture
def customer(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def customers_client(app: Flask, customer: MadeAccount) -> FlaskClient:
    """A client at which the customer is signed in."""
    client = app.test_client()
    sign_in(client, customer.email, customer.password)
    return client
