"""Accounts as the operator finds them."""

import datetime

import pytest

from bridge.accounts.customers import find_customer, select_matching, suspend_account
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, revoke_key
from bridge.accounts.tables import Key
from bridge.db import transaction
from bridge.errors import NotFound
from bridge.ledger.tables import Balance
from bridge.payments.customer_list import NEWEST, SORTS, list_places, read_place
from tests.accounts.conftest import make_account


def find(search: str) -> list[int]:
    return [place.account_id for place in list_places(select_matching(search), NEWEST, None, 10)]


def test_customers_are_found_by_a_part_of_name_or_address(account_id: int):
    other = make_account("kai@example.org")
    assert find("") == [other, account_id]
    assert find("MIRA") == [account_id]
    assert find("example.org") == [other]


@pytest.mark.parametrize("sign", ["%", "_", "\\"])
def test_signs_of_a_pattern_are_plain_text(account_id: int, sign: str):
    assert find(sign) == []


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_every_order_have_each_customer_once(account_id: int, sort: str):
    ids = [make_account(f"member{number}@example.com") for number in range(5)]
    with transaction() as session:
        for number, nanos in ((0, 7), (3, 9), (4, -2)):
            session.add(Balance(account_id=ids[number], balance_nanos=nanos, debt_nanos=max(0, -nanos)))
        for number, day in ((1, 3), (2, 5)):
            at = datetime.datetime(2026, 11, day, 1, 2, 3, 45, tzinfo=datetime.UTC)
            key = Key(account_id=ids[number], name="k", digest=bytes([number]) * 32, last_four="abcd")
            key.last_used_at = at
            session.add(key)
    matching, found, after = select_matching("member"), [], None
    while places := list_places(matching, sort, after, 2):
        after = read_place(str(places[-1]))
        found += [ids.index(place.account_id) for place in places]
    expected = {"balance": [3, 0, 2, 1, 4], "used": [2, 1, 4, 3, 0]}
    assert found == expected.get(sort, [4, 3, 2, 1, 0])


@pytest.mark.parametrize("text", ["", "x", "1", "1.x", "٣.١", "--1.2", "1.-2", "9" * 19 + ".1"])
def test_a_place_that_is_none_is_the_first_page(text: str):
    assert read_place(text) is None


def test_a_customer_counts_the_keys_that_are_left(account_id: int):
    issue_key(account_id, KeyTerms(name="kept"))
    revoke_key(account_id, issue_key(account_id, KeyTerms(name="gone")).key.id)
    customer = find_customer(account_id)
    assert (customer.account_id, customer.keys, customer.status) == (account_id, 1, "active")


def test_who_is_not_there_is_not_found(account_id: int):
    for missing in (lambda: find_customer(999), lambda: suspend_account(999)):
        with pytest.raises(NotFound):
            missing()
