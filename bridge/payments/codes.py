"""Redemption codes: a batch is made and shown once, each code is redeemed once, and the rest of a batch can be
voided."""

import dataclasses
import datetime
import hashlib
import secrets

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, Actor, record_act
from bridge.dates import write_date
from bridge.db import clock, db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import to_translate, translate
from bridge.ledger.ledger import Guard, book
from bridge.money import NANOS_PER_DOLLAR, format_dollars
from bridge.payments.code_tables import Code, CodeBatch
from bridge.payments.rows import require_active

SOURCE = "code"
MAX_CODES = 1000
MAX_NANOS_EACH = 10_000 * NANOS_PER_DOLLAR
MAX_NOTE = 200
MAX_LISTED = 100
# without the letters that are read as digits, and without U, which makes words
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH, GROUP = 20, 5  # a hundred random bits: nobody finds one by trying
_AS_MEANT = str.maketrans("OIL", "011", " -–—\t")
REFUSED = to_translate(
    "This code can't be redeemed. Type it as it was given to you: each works once, and some only until a date."
)
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class MadeBatch:
    """A new batch with its codes, which can't be read again."""

    batch_id: int
    amount_nanos: int
    expires_at: datetime.datetime | None
    codes: list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class ListedBatch:
    """A batch with how many of its codes were redeemed."""

    batch: CodeBatch
    redeemed: int

    @property
    def state(self) -> str:
        """open, used, voided or expired."""
        if self.redeemed == self.batch.count:
            return "used"
        if self.batch.voided_at is not None:
            return "voided"
        return "expired" if self.batch.expires_at is not None and self.batch.expires_at <= now_utc() else "open"


def create_batch(
    amount_nanos: int,
    count: int,
    *,
    made_by: str,
    expires_at: datetime.datetime | None = None,
    note: str = "",
    once: str | None = None,
    guard: Guard = None,
) -> MadeBatch | None:
    """Make a batch of codes, each worth the same. None if the form with the number `once` has made its batch before.
    `guard` may refuse it.

    Raises InvalidRequest naming what is wrong."""
    check_batch(amount_nanos, count, expires_at)
    codes = [_draw() for _ in range(count)]
    batch = CodeBatch(
        amount_nanos=amount_nanos,
        count=count,
        expires_at=expires_at,
        note=note.strip()[:MAX_NOTE] or None,
        made_by=made_by,
        once=once,
    )
    try:
        with transaction() as session:
            session.add(batch)
            session.flush()
            rows = [{"batch_id": batch.id, "digest": _digest(code)} for code in codes]
            session.execute(sa.insert(Code), rows)
            detail = f"batch {batch.id}: {count} of ${format_dollars(amount_nanos, 2)}"
            record_act(session, None, "codes_created", Actor(made_by), detail)
            if guard is not None:
                guard(session)
    except IntegrityError:
        if once is None or not db.session.scalar(sa.select(CodeBatch.id).where(CodeBatch.once == once)):
            raise
        return None
    return MadeBatch(batch.id, amount_nanos, expires_at, codes)


def check_batch(amount_nanos: int, count: int, expires_at: datetime.datetime | None) -> None:
    """Raise InvalidRequest naming the field of a batch that can't be made."""
    if not 0 < amount_nanos <= MAX_NANOS_EACH:
        raise InvalidRequest(translate("A code is worth more than zero and at most $10,000."), param="amount")
    if not 0 < count <= MAX_CODES:
        most = f"{MAX_CODES:,}"
        raise InvalidRequest(translate("Make 1 to %(most)s codes at once.", most=most), param="count")
    if expires_at is not None and expires_at <= now_utc():
        raise InvalidRequest(translate("This moment has passed already."), param="expires_at")


def _draw() -> str:
    """`7KQ2M-…`: four groups of five."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(letters[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def _digest(code: str) -> bytes | None:
    """The digest of a code, however it was typed; None for text that can't be one."""
    letters = code[:100].upper().translate(_AS_MEANT)
    if len(letters) != LENGTH or set(letters) - set(ALPHABET):
        return None
    return hashlib.sha256(letters.encode()).digest()


def redeem(account_id: int, code: str, *, made_by: str) -> int:
    """Credit what the code is worth, once, however many people redeem it at the same moment. Returns nano-dollars.

    Raises InvalidRequest, in the same words whether a code is unknown, used by others, void or expired."""
    digest = _digest(code)
    if digest is None:
        raise InvalidRequest(translate(REFUSED), param="code")
    with transaction() as session:
        require_active(session, account_id)
        code_id = _take(session, digest, account_id)
        if code_id is None:
            raise InvalidRequest(_explain(session, digest, account_id), param="code")
        batch = session.scalars(sa.select(CodeBatch).join(Code).where(Code.id == code_id)).one()
        made = book(
            session,
            account_id,
            batch.amount_nanos,
            source=SOURCE,
            external_id=str(code_id),
            note=batch.note or to_translate("Redemption code"),
            made_by=made_by,
        )
        if not made:  # the journal has this code, and its row doesn't say so: never credit it a second time
            raise RuntimeError(f"The journal has code {code_id} already.")
        nanos = batch.amount_nanos
    log.info("code_redeemed", code_id=code_id, account_id=account_id, nanos=nanos)
    return nanos


def _take(session: Session, digest: bytes, account_id: int) -> int | None:
    """Mark the code as this account's, in one conditional statement. Returns its id if this call did so."""
    in_time = CodeBatch.expires_at.is_(None) | (CodeBatch.expires_at > clock(session))
    good = sa.select(CodeBatch.id).where(CodeBatch.id == Code.batch_id, CodeBatch.voided_at.is_(None), in_time)
    statement = (
        sa.update(Code)
        .where(Code.digest == digest, Code.redeemed_at.is_(None), good.correlate(Code).exists())
        .values(redeemed_by=account_id, redeemed_at=now_utc())
        .returning(Code.id)
    )
    row = session.execute(statement.execution_options(synchronize_session=False)).one_or_none()
    return row[0] if row else None


def _explain(session: Session, digest: bytes, account_id: int) -> str:
    """Say why a code was refused. Only the account that redeemed it learns that it was a code."""
    own = sa.select(Code.redeemed_at).where(Code.digest == digest, Code.redeemed_by == account_id)
    at = session.scalar(own)
    if at is None:
        return translate(REFUSED)
    return translate("You redeemed this code on %(day)s: it is in your balance.", day=write_date(at))


def list_batches() -> list[ListedBatch]:
    """The newest batches."""
    redeemed = sa.select(sa.func.count()).where(Code.batch_id == CodeBatch.id, Code.redeemed_at.is_not(None))
    query = sa.select(CodeBatch, redeemed.correlate(CodeBatch).scalar_subquery())
    rows = db.session.execute(query.order_by(CodeBatch.id.desc()).limit(MAX_LISTED))
    return [ListedBatch(batch, count) for batch, count in rows]


def void_batch(batch_id: int, actor: Actor = COMMAND) -> int:
    """Void the codes of a batch that are not redeemed; redeemed ones stay. Returns how many were voided. Raises
    NotFound."""
    with transaction() as session:
        batch = session.get(CodeBatch, batch_id, with_for_update=True, populate_existing=True)
        if batch is None:
            raise NotFound("There is no such batch of codes.")
        if batch.voided_at is None:
            batch.voided_at = now_utc()
        left = sa.select(sa.func.count()).where(Code.batch_id == batch_id, Code.redeemed_at.is_(None))
        voided = session.scalar(left) or 0
        record_act(session, None, "codes_voided", actor, f"batch {batch_id}: {voided} codes")
        return voided


def write_csv(made: MadeBatch) -> str:
    """The codes as CSV, for handing them out."""
    until = made.expires_at.strftime("%Y-%m-%d %H:%M UTC") if made.expires_at else ""
    amount = format_dollars(made.amount_nanos, 2)
    return "code,dollars,expires\r\n" + "".join(f"{code},{amount},{until}\r\n" for code in made.codes)
