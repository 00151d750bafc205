"""Keeps what a provider wants back in a tool loop with thinking, for clients that return only what OpenAI's API knows.

Anthropic and Gemini sign their reasoning and refuse a tool's result without it; DeepSeek and Moonshot want its text. It
is sealed under the master key, found by the call's id within the account, and deleted after a day."""

import datetime
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from bridge import vault
from bridge.conversation.turns import Call, Turn
from bridge.db import db, now_utc, write
from bridge.errors import MisconfiguredError
from bridge.json_types import Json, JsonObject
from bridge.reasoning.tables import KeptReasoning

KEPT_FOR = datetime.timedelta(hours=24)
MAX_KEPT_BYTES = 2**20  # of one call; thoughts that long are a provider's mistake
MOST_CALLS = 256  # of a conversation, the latest
# An id that no other conversation has; others number their calls, and are told apart by all that came before the call.
_UNIQUE_ID = re.compile(r"[A-Za-z0-9_-]{16,}")
log = structlog.get_logger()


def key_of(account_id: int, call_id: str, before: str) -> str:
    """Under what the reasoning of a call is kept. `before` is the digest of the turns that its turn answered."""
    name = f"{account_id}\0{call_id}".encode()
    if not _UNIQUE_ID.fullmatch(call_id):
        name += f"\0{before}".encode()
    return hashlib.sha256(name).hexdigest()


def list_calls(turns: Iterable[Turn]) -> list[tuple[str, str]]:
    """The calls of a conversation: each one's id, and the digest of what came before its turn where the id needs it.
    Every turn is read once, however many calls there are."""
    calls = []
    hashed, waiting = hashlib.sha256(), list[Turn]()
    for turn in turns:
        for part in turn.parts:
            if not isinstance(part, Call) or part.legacy:
                continue
            before = ""
            if not _UNIQUE_ID.fullmatch(part.id):
                hashed, waiting = _hash_on(hashed, waiting), []
                before = hashed.hexdigest()
            calls.append((part.id, before))
        waiting.append(turn)
    return calls


def _hash_on(hashed: Any, turns: Iterable[Turn]) -> Any:
    for turn in turns:
        hashed.update(msgspec.json.encode(turn.source) + b"\n")
    return hashed


def keep_reasoning(account_id: int, kept: Mapping[str, Json], turns: Iterable[Turn]) -> None:
    """Keep the values by call id, durably; `turns` are the conversation that the calls' turn answered. Where the
    database is away they are lost: the next turn goes without."""
    rows, before = [], ""
    if not all(map(_UNIQUE_ID.fullmatch, kept)):
        before = _hash_on(hashlib.sha256(), turns).hexdigest()
    for call_id, value in kept.items():
        text = msgspec.json.encode(value).decode()
        if len(text) <= MAX_KEPT_BYTES:
            key = key_of(account_id, call_id, before)
            rows.append({"key": key, "sealed": vault.seal(text), "created_at": now_utc()})
    if not rows:
        return
    try:
        write(lambda connection: _insert(connection, rows))
    except sa.exc.SQLAlchemyError as error:
        log.warning("reasoning_not_kept", error=type(error).__name__)


def recall_reasoning(account_id: int, turns: Iterable[Turn]) -> JsonObject:
    """What is kept for the calls of this conversation, by call id; of two with the same id the later one's."""
    ids = {key_of(account_id, call_id, before): call_id for call_id, before in list_calls(turns)[-MOST_CALLS:]}
    if not ids:
        return {}
    wanted = sa.select(KeptReasoning.key, KeptReasoning.sealed).where(
        KeptReasoning.key.in_(list(ids)), KeptReasoning.created_at > now_utc() - KEPT_FOR
    )
    try:
        with db.engine.connect() as connection:
            rows = connection.execute(wanted).all()
    except sa.exc.SQLAlchemyError as error:
        log.warning("reasoning_not_recalled", error=type(error).__name__)
        return {}
    sealed, found = {row.key: row.sealed for row in rows}, {}
    for key, call_id in ids.items():
        try:
            if key in sealed:
                found[call_id] = msgspec.json.decode(vault.unseal(sealed[key]))
        except MisconfiguredError:  # its master key is gone, as it may be after a rotation; the others' are not
            log.warning("reasoning_not_recalled", error="MisconfiguredError")
    return found


def forget_reasoning() -> None:
    """Delete what is older than a day. Needs an app context."""
    old = sa.delete(KeptReasoning).where(KeptReasoning.created_at < now_utc() - KEPT_FOR)
    write(lambda connection: connection.execute(old) and None)


def _insert(connection: sa.Connection, rows: list[JsonObject]) -> None:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(KeptReasoning).values(rows)
    renewed = {"sealed": statement.excluded.sealed, "created_at": statement.excluded.created_at}
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=renewed))
