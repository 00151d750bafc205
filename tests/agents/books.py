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
    receipts = check_books(caller)
    assert sorted(map(_count, receipts)) == sorted(map(_counts_said, asked))
    assert {receipt["outcome"] for receipt in receipts} == {"complete"}


def check_only_the_delivered_part_is_paid_too(caller: Caller, asked: Sequence[Turn], broken: Turn) -> None:
    """The turn that broke off is paid for as far as it came, and all the others once."""
    receipts = check_books(caller)
    cut = [receipt for receipt in receipts if receipt["outcome"] == "cut"]
    complete = [receipt for receipt in receipts if receipt["outcome"] == "complete"]
    assert (len(cut), len(receipts)) == (1, len(asked)), [
        (receipt["outcome"], receipt["stream"], receipt["tokens"], receipt["charge"], receipt["attempts"])
        for receipt in receipts
    ]
    whole = [turn for turn in asked if turn is not broken]
    assert sorted(map(_count, complete)) == sorted(map(_counts_said, whole))
    assert 0 < cut[0]["tokens"]["completion"] <= reply_to(broken).completion_tokens


def _count(receipt: dict[str, Any]) -> tuple[int, int, int]:
    tokens = receipt["tokens"]
    return tokens["prompt"], tokens["cached"], tokens["completion"]


def _counts_said(turn: Turn) -> tuple[int, int, int]:
    reply = reply_to(turn)
    return reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens
