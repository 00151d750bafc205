"""An account has one key of the playground at a time, on either engine."""

from flask import Flask

from bridge.accounts.key_search import find_any_key
from bridge.accounts.keys import find_caller_of, revoke_key
from bridge.accounts.playground_key import find_playground_key, issue_playground_key
from bridge.acts import COMMAND
from bridge.payments.merging import merge_accounts
from tests.factories import Factories


def test_whoever_comes_second_gets_the_key_that_there_is(app: Flask, make: Factories):
    account = make.make_account()
    with app.app_context():
        assert find_playground_key(account.id) is None
        first = issue_playground_key(account.id, COMMAND).id
        assert issue_playground_key(account.id, COMMAND).id == first
        revoke_key(account.id, first)
        key = find_playground_key(account.id)
        assert key
        assert find_caller_of(key) is None
        assert issue_playground_key(account.id, COMMAND).id != first


def test_merged_accounts_keep_one_playground_and_both_keys(app: Flask, make: Factories):
    goes, stays = make.make_account(), make.make_account()
    with app.app_context():
        moved, kept = issue_playground_key(goes.id, COMMAND).id, issue_playground_key(stays.id, COMMAND).id
        merge_accounts(app.config["BRIDGE"], goes.id, stays.id)
        key = find_any_key(str(moved))
        assert (key.account_id, key.is_playground) == (stays.id, False)
        found = find_playground_key(stays.id)
        assert found
        assert found.id == kept
