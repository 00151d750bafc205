"""The demo of a development gateway: an operator, and a customer with credit and a key. It is stored, so that it can be
printed again."""

import os
import secrets
from pathlib import Path

import msgspec
import sqlalchemy as sa

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, read_caller
from bridge.accounts.sign_in import SignInRefused, set_password, sign_in
from bridge.accounts.tables import Member
from bridge.config import Settings
from bridge.db import db
from bridge.ledger.ledger import credit
from bridge.ledger.opening import create_account
from bridge.money import NANOS_PER_DOLLAR

FILE_NAME = "demo.json"
CREDIT_NANOS = 10 * NANOS_PER_DOLLAR


class Demo(msgspec.Struct):
    """What `make run` prints. Passwords are drawn once for each DATA_DIR."""

    email: str = "demo@example.com"
    password: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(12))
    operator_email: str = "operator@example.com"
    operator_password: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(12))
    api_key: str = ""


def prepare_demo(settings: Settings) -> Demo:
    """Create what is missing: both accounts, the credit and the key. Store in DATA_DIR what can't be read again.

    Needs an app context."""
    demo = load_demo(settings) or Demo()
    member = _find_or_create(demo.email, demo.password, is_operator=False)
    _find_or_create(demo.operator_email, demo.operator_password, is_operator=True)
    credit(member.account_id, CREDIT_NANOS, source="setup", external_id="setup:demo", note="The demo's credit")
    caller = read_caller(demo.api_key)
    if caller is None or caller.account_id != member.account_id:
        demo.api_key = issue_key(member.account_id, KeyTerms(name="Demo")).secret
    _save(settings, demo)
    return demo


def load_demo(settings: Settings) -> Demo | None:
    """The demo from DATA_DIR, if it is there."""
    try:
        return msgspec.json.decode(_path(settings).read_bytes(), type=Demo)
    except FileNotFoundError:
        return None


def greet(demo: Demo, settings: Settings) -> str:
    """How to sign in and what to paste, a line each."""
    site = (settings.public_base_url or f"http://127.0.0.1:{settings.port}").rstrip("/")
    body = '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'
    return (
        f"Dashboard: {site}/dashboard/\n"
        f"Sign in: {demo.email} {demo.password}\n"
        f"Operator: {demo.operator_email} {demo.operator_password}\n"
        f"Base URL: {site}/v1\n"
        f"API key: {demo.api_key}\n"
        f'curl {site}/v1/chat/completions -H "Authorization: Bearer {demo.api_key}"'
        f" -H \"Content-Type: application/json\" -d '{body}'\n"
    )


def _find_or_create(email: str, password: str, *, is_operator: bool) -> Member:
    """The member, with this password set: the printed one must work, also with another database."""
    member = db.session.scalar(sa.select(Member).where(Member.email == email))
    if member is None:
        return create_account(email, password, is_operator=is_operator)
    try:
        sign_in(email, password)
    except SignInRefused:
        set_password(member.id, password)
    return member


def _path(settings: Settings) -> Path:
    return settings.data_path / FILE_NAME


def _save(settings: Settings, demo: Demo) -> None:
    descriptor = os.open(_path(settings), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(demo) + b"\n")
