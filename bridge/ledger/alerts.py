"""Low-balance alerts: one mail each time an account's balance falls below the amount that its owner set.

The alert compares the balance, not what is available: holds come and go with every request, so the available amount
would cross the threshold all the time."""

import datetime

import sqlalchemy as sa
import structlog
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from bridge.accounts.letters import written_for
from bridge.accounts.standing import list_owners
from bridge.config import Settings
from bridge.db import Table, UtcDateTime, db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.ledger.tables import Balance
from bridge.mail.outbox import queue_mail
from bridge.money import MAX_NANOS, NANOS_PER_DOLLAR, format_dollars

NANOS_PER_CENT = NANOS_PER_DOLLAR // 100
SALT = "low-balance alerts off"
log = structlog.get_logger()


class BalanceAlert(Table):
    """An account's alert. `armed`: the balance has reached the threshold since the last mail, so the next fall is
    reported. `crossings` counts the reported falls and makes their mails' names."""

    __tablename__ = "balance_alerts"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    enabled: Mapped[bool] = mapped_column(default=True)
    threshold_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    armed: Mapped[bool] = mapped_column(default=True)
    crossings: Mapped[int] = mapped_column(default=0)
    told_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (sa.CheckConstraint("threshold_nanos > 0", name="threshold"),)


def _balance() -> sa.ColumnElement[int]:
    query = sa.select(Balance.balance_nanos).where(Balance.account_id == BalanceAlert.account_id)
    return sa.func.coalesce(query.correlate(BalanceAlert).scalar_subquery(), 0)


def find_alert(account_id: int) -> BalanceAlert | None:
    """The alert, on or off; None if none was ever set."""
    return db.session.get(BalanceAlert, account_id, populate_existing=True)


def set_alert(account_id: int, threshold_nanos: int | None) -> None:
    """Set the amount below which the account's owners get a mail. A balance that is below it already is not reported,
    since they see it where they set the amount. Raises InvalidRequest."""
    if threshold_nanos is None or not 0 < threshold_nanos <= MAX_NANOS:
        raise InvalidRequest(translate("Give an amount of more than zero, such as 5.00."), param="threshold")
    with transaction() as session:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        values = {"enabled": True, "threshold_nanos": threshold_nanos}
        row = insert(BalanceAlert).values(account_id=account_id, armed=True, crossings=0, **values)
        session.execute(row.on_conflict_do_update(index_elements=["account_id"], set_=values))
        session.execute(
            sa.update(BalanceAlert)
            .where(BalanceAlert.account_id == account_id)
            .values(armed=_balance() >= BalanceAlert.threshold_nanos)
            .execution_options(synchronize_session=False)
        )


def turn_alert_off(account_id: int) -> None:
    with transaction() as session:
        session.execute(
            sa.update(BalanceAlert)
            .where(BalanceAlert.account_id == account_id)
            .values(enabled=False)
            .execution_options(synchronize_session=False)
        )


def make_off_token(settings: Settings, account_id: int, salt: str = SALT) -> str:
    """A token that lets the mail's reader turn mails of this kind off, and nothing else."""
    return str(URLSafeSerializer(settings.secret_key, salt=salt).dumps(account_id))


def read_off_token(settings: Settings, token: str, salt: str = SALT) -> int | None:
    """The account, or None if we didn't sign this for mails of this kind."""
    try:
        account_id = URLSafeSerializer(settings.secret_key, salt=salt).loads(token)
    except BadSignature:
        return None
    return account_id if isinstance(account_id, int) else None


def queue_balance_alerts(settings: Settings) -> int:
    """Queue a mail for every balance that has fallen below its threshold. Returns how many falls this call reported. If
    several workers look at the same moment, one of them reports each fall."""
    told = 0
    for account_id in _list_due(BalanceAlert.armed & (_balance() < BalanceAlert.threshold_nanos)):
        with transaction() as session:
            is_ours = _tell(session, settings, account_id)
        if is_ours:
            told += 1
            log.info("low_balance_told", account_id=account_id)
    _arm_again()
    return told


def _arm_again() -> None:
    """Arm the alerts of accounts whose balance has risen again."""
    risen = ~BalanceAlert.armed & (_balance() >= BalanceAlert.threshold_nanos)
    rearmed = _list_due(risen)
    if rearmed:
        with transaction() as session:
            session.execute(
                sa.update(BalanceAlert)
                .where(BalanceAlert.account_id.in_(rearmed), risen)
                .values(armed=True)
                .execution_options(synchronize_session=False)
            )


def _list_due(condition: sa.ColumnElement[bool]) -> list[int]:
    """The accounts for which something may be due, read without a lock."""
    query = sa.select(BalanceAlert.account_id).where(BalanceAlert.enabled, condition)
    found = list(db.session.scalars(query.order_by(BalanceAlert.account_id)))
    db.session.commit()
    return found


def _tell(session: Session, settings: Settings, account_id: int) -> bool:
    """Report one fall, if a conditional statement gives it to this call; the mails are written in the same
    transaction."""
    row = session.execute(
        sa.update(BalanceAlert)
        .where(BalanceAlert.account_id == account_id, BalanceAlert.enabled, BalanceAlert.armed)
        .where(_balance() < BalanceAlert.threshold_nanos)
        .values(armed=False, crossings=BalanceAlert.crossings + 1, told_at=now_utc())
        .returning(BalanceAlert.crossings, BalanceAlert.threshold_nanos)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return False
    balance = session.scalar(sa.select(Balance.balance_nanos).where(Balance.account_id == account_id)) or 0
    for member_id, email in list_owners(session, account_id):
        with written_for(session, email):
            subject, text, off_url = write_alert(settings, account_id, balance, row.threshold_nanos)
        once = f"low-balance:{account_id}:{row.crossings}:{member_id}"
        queue_mail(session, once=once, recipient=email, subject=subject, text=text, off_url=off_url)
    return True


def write_alert(settings: Settings, account_id: int, balance: int, threshold: int) -> tuple[str, str, str]:
    """The mail's subject, its text, and the address that turns the alert off."""
    billing = f"{settings.site_url}/dashboard/billing"
    off_url = f"{settings.site_url}/alerts/off/{make_off_token(settings, account_id)}"
    below = f"${format_dollars(threshold, 2)}"
    values = {"balance": _show(balance), "below": below}
    if balance <= 0:
        state = translate(
            "Your balance is %(balance)s, below the %(below)s at which you wanted to know. Requests to models that "
            "cost anything are refused with 402 until you add money.",
            **values,
        )
    else:
        state = translate(
            "Your balance is %(balance)s, below the %(below)s at which you wanted to know. When it is used up, "
            "requests are refused with 402.",
            **values,
        )
    add = translate("Add money, or see where it went:")
    off = translate(
        "You get one such mail each time your balance falls below that amount. Change the amount on the same page, or "
        "switch this alert off, without signing in:"
    )
    text = f"{state}\n\n{add}\n{billing}\n\n{off}\n{off_url}\n"
    return translate("Your AI Bridge balance is below %(below)s", below=below), text, off_url


def _show(nanos: int) -> str:
    """Dollars and cents, rounded down as on the pages."""
    cents = nanos // NANOS_PER_CENT
    return f"{'-' if cents < 0 else ''}${format_dollars(abs(cents) * NANOS_PER_CENT, 2)}"
