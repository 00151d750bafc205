"""The audit log as operators search it: by who, what, whom, when and any text."""

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.accounts.customers import name_accounts
from bridge.accounts.memberships import select_accounts
from bridge.accounts.tables import Member
from bridge.acts import COMMAND, OPERATORS_WORDS, WORDS, Act
from bridge.db import db
from bridge.languages import to_translate, translate

PAGE_SIZE = 50
PIECE = 500
MOST_COUNTED = 1000  # beyond that a number tells nobody more, and counting takes time
WHO = {
    "operators": to_translate("Operators"),
    "customers": to_translate("Customers"),
    "command": to_translate("Command line"),
}
# kind -> its name and its words; what is in none of them is "other"
KINDS: dict[str, tuple[str, frozenset[str]]] = {
    "money": (
        to_translate("Money"),
        frozenset(
            (
                *("referred", "referral", "referral_back"),
                *("plan_added", "plan_changed", "plan_started", "plan_chosen", "plan_switched"),
                *("plan_ending", "plan_kept", "plan_ended"),
                *("balance", "refund", "payment", "codes_created", "codes_voided"),
                *("approval_asked", "approval_given", "approval_refused", "approval_expired"),
            )
        ),
    ),
    "prices": (to_translate("Prices"), frozenset(("price", "account_markup", "own_price", "catalogue"))),
    "models": (
        to_translate("Models"),
        frozenset(
            ("model_added", "model_changed", "model_retired", "model_restored", "alias_added", "alias_removed"),
        ),
    ),
    "channels": (to_translate("Channels"), frozenset(word for word in OPERATORS_WORDS if word.startswith("channel_"))),
    "limits": (to_translate("Limits and groups"), frozenset(("limits", "account_group"))),
    "accounts": (
        to_translate("Customers' details"),
        frozenset(("name", "billing", "note_added", "note_deleted", "merged", "export", "viewed")),
    ),
    "incidents": (
        to_translate("Incidents"),
        frozenset(word for word in OPERATORS_WORDS if word.startswith("incident_")),
    ),
    "drills": (to_translate("Fault drills"), frozenset(word for word in OPERATORS_WORDS if word.startswith("drill_"))),
    "keys": (to_translate("Keys"), frozenset(word for word in WORDS if word.startswith("key_"))),
    "sign-in": (
        to_translate("Sign-in"),
        frozenset(
            (
                *("sign_up", "sign_in", "sign_in_failed", "sign_out", "sign_out_others", "sign_out_all"),
                "switched",
            )
        ),
    ),
    "team": (
        to_translate("Team"),
        frozenset(
            (
                *("invited", "invitation_cancelled", "joined", "left", "member_removed", "member_role"),
                *("member_budget", "transferred", "account_name"),
            )
        ),
    ),
    "access": (
        to_translate("Access"),
        frozenset(
            (
                *("email_asked", "email_cancelled", "email", "email_confirmed", "password", "password_reset"),
                "reset_sent",
                *("two_factor_on", "two_factor_off", "recovery_codes", "recovery_code", "passkey_added"),
                *("passkey_removed", "connected", "disconnected", "suspend", "reactivate", "deleted"),
                *("operator_on", "operator_off", "operator_role"),
            )
        ),
    ),
}
OTHER = "other"
KIND_NAMES = {**{kind: name for kind, (name, _) in KINDS.items()}, OTHER: to_translate("Other")}
# those of which an account's members have lines
TEAM_KINDS = {kind: KIND_NAMES[kind] for kind in ("sign-in", "access", "team", "keys", "money", OTHER)}
BY_OPERATOR = "operator"
TEAM_COLUMNS = ("id", "at", "by", "network", "act", "what", "detail")
CSV_COLUMNS = ("id", "at", "by", "is_operator", "network", "act", "what", "account_id", "account", "detail")
_KNOWN = frozenset().union(*(words for _, words in KINDS.values()))


@dataclasses.dataclass(frozen=True, slots=True)
class ActFilter:
    """What to look for; empty fields let all pass. `by` is an actor's address, `text` stands anywhere in a line."""

    start: datetime.datetime
    end: datetime.datetime
    who: str = ""
    kind: str = ""
    by: str = ""
    account_id: int | None = None
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One act in words: what was done, to whom, what it was before and after, and from where."""

    act: Act
    what: str
    account: str  # its owner's address; "" if it concerns the gateway itself

    @property
    def changes(self) -> list[str]:
        """The parts of the detail that say what it was before and after."""
        return [part for part in self.act.detail.split("; ") if "→" in part]

    @property
    def notes(self) -> str:
        """The rest of the detail."""
        return "; ".join(part for part in self.act.detail.split("; ") if "→" not in part)

    @property
    def network(self) -> str:
        """From where it was done; "" for a command."""
        return self.act.network or self.act.operators_network


def list_lines(wanted: ActFilter, *, before_id: int | None = None, limit: int = PAGE_SIZE) -> list[Line]:
    """The lines of the filter, the newest first, from those older than `before_id`."""
    query = sa.select(Act).where(*_conditions(wanted))
    if before_id is not None:
        query = query.where(Act.id < before_id)
    acts = list(db.session.scalars(query.order_by(Act.id.desc()).limit(limit)))
    names = name_accounts({act.account_id for act in acts if act.account_id is not None})
    said = {**OPERATORS_WORDS, **WORDS}
    return [Line(act, said.get(act.what, act.what), _name(act, names)) for act in acts]


def list_team_lines(
    account_id: int, by: str = "", kind: str = "", *, before_id: int | None = None, limit: int = PAGE_SIZE
) -> list[Act]:
    """The lines of an account that its members may read, the newest first, from those older than `before_id`: those of
    a person (`by` an address, or BY_OPERATOR) and of a kind. Who of the operators it was is not told."""
    query = sa.select(Act).where(Act.account_id == account_id, Act.what.not_in(OPERATORS_WORDS))
    if by:
        query = query.where(Act.network == "" if by == BY_OPERATOR else (Act.network != "") & (Act.made_by == by))
    if kind in TEAM_KINDS:
        query = query.where(_is_of(kind))
    if before_id is not None:
        query = query.where(Act.id < before_id)
    return list(db.session.scalars(query.order_by(Act.id.desc()).limit(limit)))


def list_team_rows(account_id: int, by: str, kind: str) -> Iterator[tuple[object, ...]]:
    """All of these lines as rows of TEAM_COLUMNS; times in UTC. They are read in pieces."""
    before_id = None
    while found := list_team_lines(account_id, by, kind, before_id=before_id, limit=PIECE):
        db.session.commit()
        for act in found:
            at = f"{act.created_at:%Y-%m-%d %H:%M:%S}"
            yield (act.id, at, act.made_by_whom, act.network, act.what, WORDS[act.what], act.detail)
        before_id = found[-1].id


def list_all_lines(wanted: ActFilter) -> Iterator[Line]:
    """All lines of the filter, the newest first, read in pieces: nobody holds a connection between them."""
    before_id = None
    while found := list_lines(wanted, before_id=before_id, limit=PIECE):
        db.session.commit()
        yield from found
        before_id = found[-1].act.id


def list_rows(wanted: ActFilter) -> Iterator[tuple[object, ...]]:
    """All lines of the filter as rows of CSV_COLUMNS, the newest first; times in UTC."""
    for line in list_all_lines(wanted):
        act, at = line.act, f"{line.act.created_at:%Y-%m-%d %H:%M:%S}"
        is_operator = "yes" if act.is_operators else "no"
        who = (act.made_by, is_operator, line.network)
        yield (act.id, at, *who, act.what, line.what, act.account_id, line.account, act.detail)


def count_lines(wanted: ActFilter) -> int:
    """How many lines the filter finds, at most MOST_COUNTED."""
    some = sa.select(Act.id).where(*_conditions(wanted)).limit(MOST_COUNTED).subquery()
    return db.session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _name(act: Act, names: dict[int, str]) -> str:
    return names.get(act.account_id, str(act.account_id)) if act.account_id is not None else ""


def _conditions(wanted: ActFilter) -> list[Any]:
    found: list[Any] = [Act.created_at >= wanted.start, Act.created_at < wanted.end]
    if wanted.who:
        found.append(_is_from(wanted.who))
    if wanted.kind in KIND_NAMES:
        found.append(_is_of(wanted.kind))
    if wanted.by:
        found.append(Act.made_by == wanted.by)
    if wanted.account_id is not None:
        found.append(Act.account_id == wanted.account_id)
    if wanted.text:
        found.append(_contains(wanted.text))
    return found


def _is_of(kind: str) -> sa.ColumnElement[bool]:
    return Act.what.not_in(_KNOWN) if kind == OTHER else Act.what.in_(KINDS[kind][1])


def _is_from(who: str) -> Any:
    """Workers of the release before don't mark what operators do: it comes from no network, and from no command."""
    by_command = Act.made_by == COMMAND.by
    by_operator = Act.is_operators | ((Act.network == "") & ~by_command)
    return {"operators": by_operator, "command": by_command, "customers": ~by_operator & ~by_command}[who]


def _contains(text: str) -> Any:
    """The text in what was done, in the detail, in an address of the actor or of the account's people, or in a
    network."""
    low = text.lower()
    words = [
        word
        for word, said in {**WORDS, **OPERATORS_WORDS}.items()
        if low in said.lower() or low in translate(said).lower()
    ]
    people = select_accounts(Member.email.icontains(text, autoescape=True))
    columns = (Act.made_by, Act.detail, Act.network, Act.operators_network)
    return sa.or_(
        *(column.icontains(text, autoescape=True) for column in columns),
        Act.what.in_(words),
        Act.account_id.in_(people),
    )
