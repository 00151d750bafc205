"""How the last calls of single models of a channel ended: kept of those alone whose calls weren't all answered.

A model fails apart from its channel where it failed again after the channel had answered for another model; what all
models of a channel met together says nothing of any of them. And one account alone, whose every prompt may crash the
model, says nothing for the others: it takes a second account, a check or test of ours, or five minutes of failures."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from bridge.catalogue.breaker_states import OURS
from bridge.catalogue.channel_state import ANSWERED, JUDGED_CALLS, OF_SEVERAL, is_failing
from bridge.providers.blame.scrubbing import scrub

ALONE_SECONDS = 300.0  # of one account's failures until they count: if there are checks, one has decided by then
MOST_MODELS = 100  # of a channel, the last ones that failed
MOST_CHARACTERS = 160
Kept = Mapping[str, Mapping[str, Any]]  # as a channel's row has it, by the upstream's names of its models


@dataclasses.dataclass(slots=True)
class NewCalls:
    """Calls of one model that its channel's row doesn't have yet: a letter each, when the last one ended and the first
    failed (seconds since 1970), who met failures, and what the last of those was."""

    letters: str = ""
    at: float = 0.0
    failed_at: float = 0.0
    failed_for: set[int] = dataclasses.field(default_factory=set)
    why: str = ""


def append_letters(known: str, new: str, *, is_late: bool, most: int) -> str:
    """Letters after those that are known, at most so many; before the failures at their end if those are newer."""
    if not is_late:
        return (known + new)[-most:]
    earlier = known[: known.rfind(ANSWERED) + 1]
    return (earlier + new + known[len(earlier) :])[-most:]


def add_calls(kept: Kept | None, new: Mapping[str, NewCalls]) -> dict[str, Mapping[str, Any]] | None:
    """What the row keeps from now on; None if all calls were answered."""
    answered = {name: calls.at for name, calls in new.items() if calls.letters.endswith(ANSWERED)}
    found = dict(kept or {})
    for name, calls in new.items():
        before = found.pop(name, None)
        if before is None and not calls.failed_for:
            continue
        after = _add_to(before, calls)
        if after["calls"].strip(ANSWERED):
            found[name] = after
    for name, one in found.items():
        if not one["beside"] and any(at > one["since"] for other, at in answered.items() if other != name):
            found[name] = {**one, "beside": True}
    return dict(list(found.items())[-MOST_MODELS:]) or None


def _add_to(before: Mapping[str, Any] | None, new: NewCalls) -> dict[str, Any]:
    """`since` is when it began to fail, `by` the only account that has met that, `beside` whether another model was
    answered since, `apart` whether it failed again after that."""
    known = before or {"calls": "", "at": 0.0}
    was_failing = before is not None and is_failing(before["calls"])
    letters = append_letters(known["calls"], new.letters, is_late=new.at < known["at"], most=JUDGED_CALLS)
    after = {**known, "calls": letters, "at": max(new.at, known["at"])}
    if not new.failed_for:
        return after
    run: Mapping[str, Any] = {"since": new.failed_at, "by": None, "beside": False, "apart": False}
    run = known if was_failing else run
    who = new.failed_for if run["by"] is None else {*new.failed_for, run["by"]}
    is_one_accounts = len(who) == 1 and OURS not in who and new.at - run["since"] < ALONE_SECONDS
    return {
        **after,
        "since": run["since"],
        "by": next(iter(who)) if is_one_accounts else OF_SEVERAL,
        "beside": run["beside"],
        "apart": run["apart"] or run["beside"],
        "why": scrub(new.why)[:MOST_CHARACTERS],
    }


def list_apart(kept: Kept | None) -> frozenset[str]:
    """The models among these that fail apart from their channel, for one account or for several."""
    return frozenset(name for name, one in (kept or {}).items() if one["apart"] and is_failing(one["calls"]))


def list_doubted(kept: Kept | None) -> frozenset[str]:
    """Those that one account alone has met: a check decides."""
    return frozenset(name for name in list_apart(kept) if kept and kept[name]["by"] != OF_SEVERAL)


def find_failing_since(
    since: datetime.datetime | None, letters: str, kept: Kept | None, at: datetime.datetime
) -> datetime.datetime | None:
    """Since when a channel, or a model of it, fails, by the last calls of both; None if neither does, and most of the
    last ten calls were answered."""
    if is_failing(letters) or list_apart(kept) - list_doubted(kept):
        return since or at
    last = letters[-JUDGED_CALLS:]
    return None if 2 * last.count(ANSWERED) >= len(last) else since
