"""gunicorn's settings for a gateway without a part, to measure what the part costs: the product's own, with a function
replaced from outside. `BENCH_WITHOUT` names the part. Nothing of this is in the product."""

from gevent import monkey

monkey.patch_all()

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

from bench.plays import PLAYS
from bridge.ledger.batch import HoldResult, SettleResult
from bridge.ledger.writer import Writer
from bridge.limits import limits
from bridge.ops import gunicorn
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here
from bridge.providers.wire.http import Upstream

BODY = PLAYS["play-whole"].writes[0].partition(b"\r\n\r\n")[2]


class ReadyAnswer:
    """An upstream's answer that is ready before anybody asks."""

    status = 200
    headers = {"content-type": "application/json"}

    def __init__(self) -> None:
        self._pieces = itertools.chain((BODY,), itertools.repeat(b""))

    def read_some(self, _timeout_seconds: float) -> bytes:
        """All of it, then its end."""
        return next(self._pieces)

    def read_all(self, _max_bytes: int, _timeout_seconds: float) -> bytes:
        """All of it."""
        return BODY

    def close(self) -> None:
        """There is nothing to close."""


def answer_at_once(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI app that only reads the request and answers: what remains is the server's own work."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def leave_out(part: str) -> None:
    """Replace the part, in this process and those that it forks."""
    replacements: dict[str, tuple[tuple[Any, str, Callable[..., Any]], ...]] = {
        "ledger": (
            (Writer, "place_hold", lambda _self, order: HoldResult(order.amount_nanos)),
            (Writer, "settle", lambda _self, settlement: SettleResult(settlement.price_nanos, 0)),
        ),
        "limits": ((limits, "_list_asks", lambda *_: ([], [])),),
        "upstream": ((Upstream, "send", lambda *_, **__: ReadyAnswer()),),
        "app": (),
    }
    for owner, name, instead in replacements[part]:
        getattr(owner, name)  # fails if the name is gone: otherwise nothing would be measured
        setattr(owner, name, instead)


def post_worker_init(worker: Any) -> None:  # type: ignore[no-redef]  # in place of the product's
    """Do what the product's does; without "app", the worker serves another app."""
    gunicorn.post_worker_init(worker)
    if PART == "app":
        worker.wsgi = answer_at_once


PART = os.environ["BENCH_WITHOUT"]
leave_out(PART)
