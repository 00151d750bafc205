"""Which customer's pages an operator looks at. It stands in the operator's own signed session cookie, for half an hour;
the customer has no session by it."""

import dataclasses
import datetime

from flask import session

from bridge.db import now_utc

LASTS = datetime.timedelta(minutes=30)
_PLACE = "viewing"


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """Whose pages, by account and by a name for it, and until when."""

    account_id: int
    name: str
    ends_at: datetime.datetime

    @property
    def is_over(self) -> bool:
        return self.ends_at <= now_utc()


def begin_view(account_id: int, name: str) -> View:
    """Show this account's pages from the next request on. Forms that are open in the browser lose their token, so that
    none made for one account reaches another."""
    ends_at = (now_utc() + LASTS).replace(microsecond=0)
    session[_PLACE] = [account_id, name, int(ends_at.timestamp())]
    session.pop("csrf_token", None)
    return View(account_id, name, ends_at)


def end_view() -> None:
    """Show the operator's own pages again. Forms lose their token once more."""
    if session.pop(_PLACE, None) is not None:
        session.pop("csrf_token", None)


def find_view() -> View | None:
    """The view that was begun in this browser and not left, also one that is over."""
    if (kept := session.get(_PLACE)) is None:
        return None
    account_id, name, ends = kept
    return View(account_id, name, datetime.datetime.fromtimestamp(ends, datetime.UTC))
