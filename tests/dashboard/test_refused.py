"""Each refusal of a client's own making has a remedy of its own, not that of a malformed request."""

import ast
import inspect

import pytest
from flask import Flask

from bridge import errors
from bridge.dashboard import refused
from bridge.dashboard.refused import find_remedy
from bridge.db import now_utc
from bridge.limits.refusals import Refused


def list_codes(base: type[errors.BridgeError] = errors.BridgeError) -> set[str]:
    return {base.code}.union(*(list_codes(each) for each in base.__subclasses__()))


def list_known() -> set[str]:
    """The codes of the table in `refused.py`."""
    tree = ast.parse(inspect.getsource(refused._list_known))
    [table] = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return {key.value for key in table.keys if isinstance(key, ast.Constant)}


def test_no_remedy_waits_for_a_code_that_the_gateway_never_answers_with():
    assert list_known() <= list_codes() | {"context_length_exceeded"}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_address_that_a_key_does_not_allow_leads_to_the_key(app: Flask):
    with app.test_request_context():
        found = find_remedy(Refused(7, errors.AddressNotAllowed.code, 403, 1, now_utc(), "no", "gpt-4o", "req_1"))
    assert found.action == "Change its addresses"
    assert found.url.endswith("/keys/7")
