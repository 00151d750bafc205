"""Accounts as the operator finds them."""

import pytest

from bridge.accounts.customers import find_customer, list_customers, suspend_account
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, revoke_key
from bridge.errors import NotFound
from tests.accounts.conftest import make_account


def test_customers_are_found_by_a_part_of_name_or_address(account_id: int):
    other = make_account("kai@example.org")
    assert [one.account_id for one in list_customers("")] == [other, account_id]
    assert [one.account_id for one in list_customers("MIRA")] == [account_id]
    assert [one.account_id for one in list_customers("example.org")] == [other]


@pytest.mark.parametrize("sign", ["%", "_", "\\"])
def test_signs_of_a_pattern_are_plain_text(account_id: int, sign: str):
    assert list_customers(sign) == []


def test_the_next_page_begins_where_the_last_one_ended(account_id: int):
    ids = [make_account(f"member{number}@example.com") for number in range(3)]
    first = list_customers("member", limit=2)
    assert [one.account_id for one in first] == [ids[2], ids[1]]
    assert [one.account_id for one in list_customers("member", before_id=ids[1], limit=2)] == [ids[0]]


def test_a_customer_counts_the_keys_that_are_left(account_id: int):
    issue_key(account_id, KeyTerms(name="kept"))
    revoke_key(account_id, issue_key(account_id, KeyTerms(name="gone")).key.id)
    customer = find_customer(account_id)
    assert (customer.account_id, customer.keys, customer.status) == (account_id, 1, "active")


def test_who_is_not_there_is_not_found(account_id: int):
    for missing in (lambda: find_customer(999), lambda: suspend_account(999)):
        with pytest.raises(NotFound):
            missing()
