"""An account's data as a ZIP archive, written while it is sent: JSON for programs, CSV for spreadsheets. Keys and
passwords are not in it: we have only their hashes."""

import datetime
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from bridge.accounts.key_limits import find_account_limits
from bridge.accounts.key_search import list_all_keys, name_keys
from bridge.accounts.key_terms import TERMS
from bridge.accounts.memberships import find_membership
from bridge.accounts.profile import find_account
from bridge.accounts.second_factor import find_second_factor
from bridge.accounts.sessions import list_sessions
from bridge.accounts.tables import Key, Member
from bridge.acts import list_all_acts
from bridge.dashboard.usage_csv import COLUMNS, write_request
from bridge.db import db
from bridge.json_types import Json
from bridge.ledger.alerts import find_alert
from bridge.ledger.journal import is_credit, list_all_entries
from bridge.ledger.ledger import find_balance
from bridge.ledger.usage import UsageFilter, export_requests
from bridge.money import format_dollars
from bridge.payments.auto import find_rule
from bridge.payments.top_up import list_all_payments
from bridge.spreadsheet import write_csv

Row = Sequence[object]
KEY_COLUMNS = ("id", "last_four", "created_at", "last_used_at", "disabled_at", "revoked_at")
ENTRY_COLUMNS = ("id", "created_at", "source", "amount_dollars", "note", "made_by")
PAYMENT_COLUMNS = (
    "id",
    "created_at",
    "paid_at",
    "kind",
    "state",
    "amount",
    "currency",
    "credit_dollars",
    "bonus_dollars",
)
ACT_COLUMNS = ("id", "created_at", "what", "detail", "made_by", "network")


class _Pipe(io.RawIOBase):
    """What the archive is written to: it gives what came since the last time."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        found, self._pieces = b"".join(self._pieces), []
        return found


def write_archive(member: Member) -> Iterator[bytes]:
    """The archive in pieces. It is read from the database as it goes out, and no connection is held meanwhile."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, pieces in _list_files(member):
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
                    if data := pipe.take():
                        yield data
            yield pipe.take()
    yield pipe.take()


def _list_files(member: Member) -> Iterator[tuple[str, Iterator[bytes]]]:
    account_id = member.account_id
    yield "account.json", iter((msgspec.json.format(msgspec.json.encode(_describe(member)), indent=2),))
    tables: tuple[tuple[str, Sequence[str], Callable[[int], Iterator[Row]]], ...] = (
        ("keys", _key_columns(), _key_rows),
        ("requests", COLUMNS, _request_rows),
        ("journal", ENTRY_COLUMNS, _entry_rows),
        ("payments", PAYMENT_COLUMNS, _payment_rows),
        ("activity", ACT_COLUMNS, _act_rows),
    )
    for name, columns, rows in tables:
        yield f"{name}.csv", (piece.encode() for piece in write_csv(columns, rows(account_id)))
        yield f"{name}.jsonl", _write_lines(columns, rows(account_id))


def _write_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield msgspec.json.encode(dict(zip(columns, row, strict=True))) + b"\n"


def _describe(member: Member) -> dict[str, Json]:
    account, balance = find_account(member.account_id), find_balance(member.account_id)
    membership = find_membership(account.id, member.id)
    factor, alert, rule = find_second_factor(member.id), find_alert(account.id), find_rule(account.id)
    found: dict[str, Json] = {
        "account": {"id": account.id, "name": account.name, "created_at": account.created_at.isoformat()},
        "billing": {"name": account.billing_name, "address": account.billing_address, "tax_id": account.tax_id},
        "member": {
            "email": member.email,
            "name": member.name,
            "time_zone": member.time_zone,
            "language": member.language,
            "role": membership.role if membership else None,
            "created_at": member.created_at.isoformat(),
            "two_factor_since": factor.since.isoformat() if factor else None,
        },
        "sessions": [
            {"since": row.made_at.isoformat(), "used_at": row.used_at.isoformat(), "network": row.network}
            | {"program": row.user_agent}
            for row in list_sessions(member.id)
        ],
        "limits": dict(find_account_limits(account.id)),
        "balance_dollars": format_dollars(balance.balance_nanos),
        "held_dollars": format_dollars(balance.held_nanos),
        "low_balance_alert_dollars": format_dollars(alert.threshold_nanos) if alert and alert.enabled else None,
        "automatic_top_ups": bool(rule and rule.enabled),
    }
    db.session.commit()
    return found


def _key_columns() -> Sequence[str]:
    return (*KEY_COLUMNS, *(term.field for term in TERMS))


def _key_rows(account_id: int) -> Iterator[Row]:
    keys: list[Key] = list_all_keys(account_id)
    db.session.commit()
    for key in keys:
        yield [_plain(getattr(key, name)) for name in _key_columns()]


def _request_rows(account_id: int) -> Iterator[Row]:
    names = name_keys(account_id)
    for record in export_requests(UsageFilter(account_id), most=None):
        yield write_request(record, names)


def _entry_rows(account_id: int) -> Iterator[Row]:
    for entry in list_all_entries(account_id):
        amount = entry.amount_nanos if is_credit(entry) else -entry.amount_nanos
        yield (entry.id, _plain(entry.created_at), entry.source, format_dollars(amount), entry.note, entry.made_by)


def _payment_rows(account_id: int) -> Iterator[Row]:
    for payment in list_all_payments(account_id):
        times = (_plain(payment.created_at), _plain(payment.paid_at))
        amount = (f"{payment.amount_minor / 100:.2f}", payment.currency)
        given = (format_dollars(payment.credit_nanos), format_dollars(payment.bonus_nanos))
        yield (payment.id, *times, payment.kind, payment.state, *amount, *given)


def _act_rows(account_id: int) -> Iterator[Row]:
    for act in list_all_acts(account_id):
        yield (act.id, _plain(act.created_at), act.what, act.detail, act.made_by_whom, act.network)


def _plain(value: object) -> object:
    """A value as JSON and CSV have it: moments as text, lists with spaces between."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return " ".join(map(str, value)) if isinstance(value, list) else value
