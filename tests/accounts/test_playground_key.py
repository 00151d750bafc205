"""A member has one key of an account's playground at a time, on either engine."""

from flask import Flask

from bridge.accounts.key_search import find_any_key
from bridge.accounts.keys import find_caller_of, revoke_key
from bridge.accounts.playground_key import find_playground_key, issue_playground_key
from bridge.acts import COMMAND
from bridge.payments.merging import merge_accounts
from tests.factories import Factories
from tests.members import add_member, find_owner


def test_whoever_comes_second_gets_the_key_that_there_is(app: Flask, make: Factories):
    account = make.make_account()
    with app.app_context():
        mine, other = find_owner(app, account).id, add_member(app, account, "developer").id
        assert find_playground_key(account.id, mine) is None
        first = issue_playground_key(account.id, mine, COMMAND).id
        assert issue_playground_key(account.id, mine, COMMAND).id == first
        theirs = issue_playground_key(account.id, other, COMMAND)
        assert (theirs.member_id, theirs.id != first) == (other, True)
        revoke_key(account.id, first)
        key = find_playground_key(account.id, mine)
        assert key
        assert find_caller_of(key) is None
        assert issue_playground_key(account.id, mine, COMMAND).id != first


def test_merged_accounts_keep_one_playground_and_both_keys(app: Flask, make: Factories):
    goes, stays = make.make_account(), make.make_account()
    member = find_owner(app, stays).id
    with app.app_context():
        moved = issue_playground_key(goes.id, find_owner(app, goes).id, COMMAND).id
        kept = issue_playground_key(stays.id, member, COMMAND).id
        merge_accounts(app.config["BRIDGE"], goes.id, stays.id)
        key = find_any_key(str(moved))
        assert (key.account_id, key.is_playground) == (stays.id, False)
        found = find_playground_key(stays.id, member)
        assert found
        assert found.id == kept
