"""gunicorn's settings for a worker that ends itself at a chosen place: the product's own, with one function wrapped.

`DIES_AT` names the place. The process is gone as if killed: nothing is cleaned up, no `finally` runs. The first worker
alone dies: what it leaves is the next one's to put in order. Nothing of this is in the product."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.ledger.batch import Settlement
from bridge.ledger.spool import Spool
from bridge.ledger.writer import Writer
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it
from bridge.providers.http import Upstream
from bridge.v1.stream import Stream

PLACE, ONCE = os.environ.get("DIES_AT", ""), Path(os.environ.get("DIES_ONCE", ""))
MIDWAY = 2  # whoever asks for the second frame has sent the first


def die() -> None:
    """If nobody has yet."""
    try:
        ONCE.touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(137)


def around(owner: type, name: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None) -> None:
    """Wrap a method."""
    method = getattr(owner, name)

    def wrapped(self: Any, *arguments: Any, **more: Any) -> Any:
        if before:
            before(self, *arguments)
        result = method(self, *arguments, **more)
        if after:
            after(self, *arguments)
        return result

    setattr(owner, name, wrapped)


def always(*_: Any) -> None:
    die()


def on_a_charge(_self: Any, settlement: Settlement, *_: Any) -> None:
    if settlement.price_nanos:
        die()


def after_some_frames(stream: Any) -> None:
    stream.dying = getattr(stream, "dying", 0) + 1
    if stream.dying == MIDWAY:
        die()


PLACES: dict[str, tuple[type, str, Callable[..., Any] | None, Callable[..., Any] | None]] = {
    "after the hold": (Writer, "place_hold", None, always),
    "after the upstream was asked": (Upstream, "send", None, always),
    "midway": (Stream, "__next__", after_some_frames, None),
    "before the charge": (Writer, "settle", on_a_charge, None),
    "after the charge": (Writer, "settle", None, on_a_charge),
    "before spooling": (Spool, "add", on_a_charge, None),
    "after spooling": (Spool, "add", None, on_a_charge),
}
if PLACE:
    around(*PLACES[PLACE])
