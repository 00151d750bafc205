"""Every way in which a request can end has its rule, in words."""

import pytest

from bridge.ledger.charge_rules import find_rule
from bridge.ledger.tables import UsageRecord
from tests.ledger.records import record_fields


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "complete"),
        ({"tokens_source": "estimate"}, "complete_estimate"),
        ({"tokens_source": "mixed", "provider_counts": '{"prompt_tokens":5}'}, "complete_mixed"),
        ({"provider_counts": '{"prompt_tokens":5}'}, "complete_clamped"),
        ({"state": "released"}, "empty"),
        ({"outcome": "cut"}, "cut"),
        ({"outcome": "client_gone"}, "client_left"),
        ({"outcome": "client_gone", "state": "released"}, "client_left_early"),
        ({"outcome": "client_gone", "error_code": "client_left_early_paid"}, "client_left_early_paid"),
        ({"outcome": "client_slow"}, "client_slow"),
        ({"outcome": "client_slow", "state": "released"}, "client_slow_free"),
        ({"outcome": "failed", "state": "released", "status": 503}, "no_answer"),
        ({"outcome": "failed", "state": "released", "status": 200}, "no_answer"),
        ({"outcome": "failed", "state": "released", "status": 400}, "refused"),
        ({"outcome": "worker_lost"}, "interrupted"),
        ({"outcome": "worker_lost", "state": "released"}, "interrupted_free"),
    ],
)
def test_the_rule_that_applied_is_named(changes: dict, rule: str):
    assert find_rule(UsageRecord(**record_fields(**changes))).name == rule
