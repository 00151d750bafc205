"""Values that no row can have are the visitor's mistake, not a failed database; and none of them is logged."""

import pytest
import sqlalchemy as sa

from bridge.accounts.tables import Member
from bridge.db import db
from tests.dashboard.pages import post
from tests.factories import PASSWORD

HUGE = 10**30


def test_numbers_and_texts_that_no_row_can_have_are_not_found(client, make_account):
    email = make_account().email
    assert post(client, "/sign-in", "/sign-in", email=email, password=PASSWORD).status_code == 303
    assert client.get(f"/dashboard/keys/{HUGE}").status_code == 404
    assert client.get("/dashboard/usage?model=%00&before=%00").status_code == 400


def test_an_address_with_a_nul_in_it_signs_nobody_in(client):
    answer = post(client, "/sign-in", "/sign-in", email="a\0b@example.com", password=PASSWORD)
    assert answer.status_code in (400, 401)


def test_no_error_of_the_database_shows_what_was_to_be_written(app, make_account):
    account = make_account()
    values = {"account_id": account.id, "email": account.email, "password_hash": "hash-of-a-password", "role": "owner"}
    with app.app_context(), pytest.raises(sa.exc.IntegrityError) as refused:
        db.session.execute(sa.insert(Member).values(values))
    assert "hash-of-a-password" not in str(refused.value)
