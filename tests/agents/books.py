"""What an agent's work cost: the receipts of its account against the upstream's counts, the prices and the balance."""

from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from typing import Any

import requests

from tests.agents.task import Turn, reply_to
from tests.factories import DOLLAR
from tests.played import Caller

START_NANOS = 10 * DOLLAR
NANO = Decimal("0.000000001")


def list_receipts(caller: Caller) -> list[dict[str, Any]]:
    """The receipts of all that this account has paid for, the oldest first, as its key reads them."""
    gateway, key = caller.gateway, caller.key
    ids = [row.request_id for row in gateway.make.list_usage(key.account_id)]
    answers = [requests.get(f"{gateway.base_url}/requests/{id_}", headers=key.headers, timeout=60) for id_ in ids]
    return [answer.json() for answer in answers]


def check_books(caller: Caller) -> list[dict[str, Any]]:
    """Each receipt adds up, and all of them to what the balance has lost. The receipts."""
    receipts = list_receipts(caller)
    for receipt in receipts:
        tokens, prices = receipt["tokens"], receipt["prices_per_million"]
        fresh = tokens["prompt"] - tokens["cached"] - tokens["cache_write"] - tokens["cache_write_hour"]
        counted = {**tokens, "prompt": fresh}
        exact = sum(counted[kind] * Decimal(price) for kind, price in prices.items() if kind != "version") / 10**6
        assert Decimal(receipt["charge"]) == Decimal(exact).quantize(NANO, ROUND_UP), receipt
    balance, held = caller.gateway.make.find_money(caller.key.account_id)
    charged = sum(Decimal(receipt["charge"]) for receipt in receipts)
    assert (balance, held) == (START_NANOS - int(charged / NANO), 0)
    return receipts


def check_paid_once(caller: Caller, asked: Sequence[Turn]) -> None:
    """Everything that the upstream was asked is paid for once, by the upstream's own counts."""
    counts = [(receipt["tokens"], receipt["outcome"]) for receipt in check_books(caller)]
    paid = sorted((tokens["prompt"], tokens["cached"], tokens["completion"]) for tokens, _outcome in counts)
    replies = [reply_to(turn) for turn in asked]
    assert paid == sorted((reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens) for reply in replies)
    assert {outcome for _tokens, outcome in counts} == {"complete"}
