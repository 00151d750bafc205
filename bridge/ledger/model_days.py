"""How calls of each model ended, by day: answered, or failed by us or by a provider; and how soon answers began.

A call is one request of a customer, however many channels it took: what another channel answered was answered. What
says nothing of the model counts as neither: refusals, requests that are wrong (4xx), clients that leave before there is
an answer, and operators' fault drills. Days are kept for 100 days, times for 30."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.tables import Key
from bridge.db import db, now_utc, transaction
from bridge.ledger.batch import LEFT_BY_CLIENT
from bridge.ledger.rollup_tables import ModelDay, ModelSpeed, RollupProgress
from bridge.ledger.rollups import follow_rollups
from bridge.ledger.tables import UsageRecord

DAYS = 90  # that pages show
SPEED_DAYS = 30  # of times to first tokens that pages show
KEPT_DAYS, KEPT_SPEED_DAYS = 100, SPEED_DAYS  # today included
GOOD, FAIR = 995, 950  # answered of 1,000 calls
OK, TROUBLED, BAD = "a", "t", "b"  # a day's kind, a letter each; NONE: no calls
NONE = "-"
BOUNDS_MS = tuple(round(20 * 1.25**step) for step in range(48))  # of the buckets of times; the last is 12 minutes

_is_answer = UsageRecord.first_content_ms.is_not(None)
# of a request: 1, 0, or NULL where it says nothing of its model
ANSWERED: sa.ColumnElement[int | None] = sa.case(
    (UsageRecord.outcome == "complete", 1),
    (UsageRecord.outcome.in_(LEFT_BY_CLIENT), sa.case((_is_answer, 1), else_=None)),
    (UsageRecord.status.between(400, 499), None),
    else_=0,
)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelCalls:
    """A model's calls of the last 90 days: how many were answered, how many failed, and the kind of each day, the last
    one today's."""

    answered: int
    failed: int
    days: str

    @property
    def calls(self) -> int:
        """Those that count."""
        return self.answered + self.failed


NO_CALLS = ModelCalls(0, 0, NONE * DAYS)


def list_model_calls(today: datetime.date) -> dict[str, ModelCalls]:
    """Those of each model that was called in the 90 days up to today, by one statement. The database puts each model's
    days into one text: tens of thousands of rows would take longer to fetch than to add up."""
    first = today - datetime.timedelta(days=DAYS - 1)
    calls = ModelDay.answered + ModelDay.failed
    kind = sa.case(
        (ModelDay.answered * 1000 >= calls * GOOD, OK), (ModelDay.answered * 1000 >= calls * FAIR, TROUBLED), else_=BAD
    )
    one = sa.cast(ModelDay.day, sa.String) + kind
    sums = (sa.func.sum(ModelDay.answered), sa.func.sum(ModelDay.failed), sa.func.aggregate_strings(one, ","))
    query = sa.select(ModelDay.model_id, *sums).where(ModelDay.day >= first, ModelDay.day <= today)
    places = {(first + datetime.timedelta(days=number)).isoformat(): number for number in range(DAYS)}
    return {
        model_id: ModelCalls(int(answered), int(failed), _place(text, places))
        for model_id, answered, failed, text in db.session.execute(query.group_by(ModelDay.model_id))
    }


def _place(text: str, places: Mapping[str, int]) -> str:
    days = [NONE] * DAYS
    for one in text.split(","):
        days[places[one[:-1]]] = one[-1]
    return "".join(days)


def list_speeds(since: datetime.date) -> dict[str, dict[int, int]]:
    """How many answers of each model began in which bucket of BOUNDS_MS, from that day on."""
    query = sa.select(ModelSpeed.model_id, ModelSpeed.bucket, sa.func.sum(ModelSpeed.answers))
    query = query.where(ModelSpeed.day >= since).group_by(ModelSpeed.model_id, ModelSpeed.bucket)
    found: dict[str, dict[int, int]] = {}
    for model_id, bucket, answers in db.session.execute(query):
        found.setdefault(model_id, {})[bucket] = int(answers)
    return found


def list_daily_speeds(model_id: str, today: datetime.date) -> dict[datetime.date, dict[int, int]]:
    """How many answers of one model began in which bucket of BOUNDS_MS, on each of the last 30 days that has any."""
    days = [
        today - datetime.timedelta(days=number) for number in range(SPEED_DAYS)
    ]  # each is a seek in the table's key
    query = sa.select(ModelSpeed.day, ModelSpeed.bucket, ModelSpeed.answers)
    found: dict[datetime.date, dict[int, int]] = {}
    for day, bucket, answers in db.session.execute(
        query.where(ModelSpeed.day.in_(days), ModelSpeed.model_id == model_id)
    ):
        found.setdefault(day, {})[bucket] = answers
    return found


def find_quantile_ms(counts: Mapping[int, int], share: float) -> int | None:
    """Within how many milliseconds this share of the answers began, to within an eighth; None of none."""
    total, passed = sum(counts.values()), 0
    for bucket, count in sorted(counts.items()):
        if passed + count >= share * total:
            lower = BOUNDS_MS[bucket - 1] if bucket else 0
            return round(lower + (BOUNDS_MS[bucket] - lower) * (share * total - passed) / count)
        passed += count
    return None


def roll_up_models() -> int:
    """Add to the models' days what the other roll-ups have, and return by how many numbers they grew. One worker does
    this at a time."""
    return follow_rollups(RollupProgress.models_number, _add_rows)


def _add_rows(session: Session, reached: int, upto: int) -> None:
    numbered = (UsageRecord.number > reached, UsageRecord.number <= upto)
    _add_days(session, *numbered)
    _add_speeds(session, *numbered)


def _add_days(session: Session, *numbered: sa.ColumnElement[bool]) -> None:
    rows = _select_rows(session, KEPT_DAYS, ANSWERED.label("answered")).where(*numbered).subquery()
    figures = {"answered": sa.func.sum(rows.c.answered), "failed": sa.func.sum(1 - rows.c.answered)}
    _add(session, ModelDay, sa.select(rows.c.day, rows.c.model_id).where(rows.c.answered.is_not(None)), figures)


def _add_speeds(session: Session, *numbered: sa.ColumnElement[bool]) -> None:
    steps = ((UsageRecord.first_content_ms <= bound, number) for number, bound in enumerate(BOUNDS_MS[:-1]))
    bucket = sa.case(*steps, else_=len(BOUNDS_MS) - 1).label("bucket")
    rows = _select_rows(session, KEPT_SPEED_DAYS, bucket).where(*numbered, _is_answer, ANSWERED == 1).subquery()
    _add(session, ModelSpeed, sa.select(rows.c.day, rows.c.model_id, rows.c.bucket), {"answers": sa.func.count()})


def _select_rows(session: Session, days: int, what: Any) -> sa.Select[Any]:
    """Usage rows of the last days, each with its day, model and one thing more, without drills."""
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    in_utc = sa.cast(sa.func.timezone("UTC", UsageRecord.created_at), sa.Date)
    day: Any = sa.func.strftime("%Y-%m-%d", UsageRecord.created_at) if on_sqlite else in_utc
    first = now_utc().replace(hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(days=days - 1)
    drills = sa.select(Key.id).where(Key.is_drill)
    query = sa.select(day.label("day"), UsageRecord.model_id, what)
    return query.where(UsageRecord.created_at >= first, UsageRecord.key_id.not_in(drills))


def _add(session: Session, table: Any, query: sa.Select[Any], figures: Mapping[str, sa.ColumnElement[Any]]) -> None:
    """Add the figures of rows, grouped by what the query selects, to those of the table."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    place = [column.name for column in table.__table__.primary_key.columns]
    sums = (sa.cast(figure, sa.BigInteger) for figure in figures.values())
    grouped = query.group_by(*query.selected_columns).add_columns(*sums).where(sa.true())
    statement = insert(table).from_select([*place, *figures], grouped)
    changes = {name: getattr(table, name) + statement.excluded[name] for name in figures}
    session.execute(statement.on_conflict_do_update(index_elements=place, set_=changes))


def delete_old_days() -> None:
    """Forget what no page shows any more."""
    today = now_utc().date()
    with transaction() as session:
        for table, days in ((ModelDay, KEPT_DAYS), (ModelSpeed, KEPT_SPEED_DAYS)):
            old = sa.delete(table).where(table.day <= today - datetime.timedelta(days=days))
            session.execute(old.execution_options(synchronize_session=False))
