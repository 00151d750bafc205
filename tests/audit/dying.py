"""gunicorn's settings for a worker that ends itself at a chosen place: the product's own, with a few functions wrapped.

A file in the folder DIES_IN, named like a place, arms it: the worker that reaches the place and can remove the file
ends as if killed. Nothing is cleaned up and no `finally` runs; the other workers must put in order what it leaves.
Nothing of this is in the product."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge import webhooks
from bridge.inference import purchase
from bridge.inference.stream import Stream
from bridge.ledger import spool
from bridge.ledger.batch import Settlement
from bridge.ledger.spool import Spool
from bridge.ledger.writer import Writer
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it
from bridge.providers.wire.http import Upstream

FOLDER = Path(os.environ.get("DIES_IN", ""))
Hook = Callable[[str, tuple[Any, ...]], None]


def die(place: str, _arguments: tuple[Any, ...] = ()) -> None:
    """End this worker, if the place is armed."""
    try:
        (FOLDER / place).unlink()
    except FileNotFoundError:
        return
    os._exit(137)


def on_a_charge(place: str, arguments: tuple[Any, ...]) -> None:
    settlement: Settlement = arguments[1]
    if settlement.price_nanos and settlement.outcome != "worker_lost":
        die(place)


def on_a_sweep(place: str, arguments: tuple[Any, ...]) -> None:
    if arguments[1].outcome == "worker_lost":
        die(place)


def on_more(place: str, arguments: tuple[Any, ...]) -> None:
    """A server that asks for more has sent what it got."""
    if arguments[0]._handed:
        die(place)


def wrap(owner: Any, name: str, before: str = "", after: str = "", hook: Hook = die) -> None:
    """Make places before and after a function of a class or module."""
    function = getattr(owner, name)

    def wrapped(*arguments: Any, **more: Any) -> Any:
        if before:
            hook(before, arguments)
        result = function(*arguments, **more)
        if after:
            hook(after, arguments)
        return result

    setattr(owner, name, wrapped)


wrap(Writer, "place_hold", after="after the hold")
wrap(Upstream, "send", after="after the upstream was asked")
wrap(Stream, "__next__", before="after the first content", hook=on_more)
wrap(purchase, "keep_answer", after="after the answer was kept")
wrap(Writer, "settle", "before the charge", "after the charge", on_a_charge)
wrap(Spool, "add", "before spooling", "after spooling", on_a_charge)
wrap(spool, "_apply_line", "before a spooled charge is committed", "before a spool is removed")
wrap(Writer, "settle", "before a hold is swept", "after a hold was swept", on_a_sweep)
wrap(webhooks, "apply_event", after="after a payment was credited")
