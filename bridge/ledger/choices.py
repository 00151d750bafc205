"""What the usage page's filter offers: an account's models, keys, end users and tags, read in one statement."""

import dataclasses
import datetime
import functools
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.db import db
from bridge.ledger.label_rollups import KINDS, select_dearest
from bridge.ledger.rollups import select_sums_by

MOST_KEYS = 200
MOST_OFFERED = 100  # end users, and tags


@dataclasses.dataclass(frozen=True, slots=True)
class Choices:
    """Models by their ids, of all the account's requests; names of keys by their ids, the newest first, and of keys
    that were asked for; and a period's end users and tags, the dearest first."""

    models: list[str]
    newest_keys: dict[int, str]
    asked_keys: dict[int, str]
    labels: dict[str, list[str]]


def read_choices(
    account_id: int, since: datetime.datetime, key_ids: Iterable[int], member_id: int | None = None
) -> Choices:
    """The choices of the account, or of a member's keys alone, with the end users and tags since a midnight (UTC), and
    the names of these keys."""
    used, values = select_sums_by("model_id", account_id=account_id, member_id=member_id, without_drills=True)
    on_sqlite = db.session.get_bind().dialect.name == "sqlite"
    values |= {"account": account_id, "since": since, "key_ids": list(set(key_ids))}
    models: list[str] = []
    keys: dict[str, dict[int, str]] = {"newest": {}, "asked": {}}
    labels: dict[str, dict[int, str]] = {kind: {} for kind in KINDS}
    for what, number, text in db.session.execute(_write_choices(used, on_sqlite, member_id is not None), values):
        if what == "model":
            models.append(text)
        else:
            (keys | labels)[what][number] = text
    newest = dict(sorted(keys["newest"].items(), reverse=True))
    in_order = {kind: [found[place] for place in sorted(found)] for kind, found in labels.items()}
    return Choices(sorted(models), newest, keys["asked"], in_order)


@functools.lru_cache(maxsize=8)
def _write_choices(used: sa.Select[Any], on_sqlite: bool, of_member: bool) -> sa.CompoundSelect[Any]:
    """The statement, without its values. It is cached, since writing it takes longer than running it."""
    models = used.subquery()
    own = sa.select(Key.id, Key.name).where(Key.account_id == sa.bindparam("account", type_=sa.BigInteger))
    wanted: tuple[str, ...] = ()
    if of_member:
        own, wanted = own.where(Key.member_id == sa.bindparam("member_id")), ("member_id",)
    newest = own.where(~Key.is_drill).order_by(Key.id.desc()).limit(MOST_KEYS).subquery()
    asked = own.where(Key.id.in_(sa.bindparam("key_ids", expanding=True))).subquery()
    dearest = {kind: select_dearest(kind, on_sqlite, MOST_OFFERED, wanted).subquery() for kind in KINDS}
    nothing = sa.cast(sa.null(), sa.BigInteger)
    return sa.union_all(
        sa.select(sa.literal("model"), nothing, models.c.model_id),
        sa.select(sa.literal("newest"), newest.c.id, newest.c.name),
        sa.select(sa.literal("asked"), asked.c.id, asked.c.name),
        *(sa.select(sa.literal(kind), found.c.place, found.c.label) for kind, found in dearest.items()),
    )
