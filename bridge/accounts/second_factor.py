"""The second factor: codes that an authenticator app makes of a shared secret (RFC 6238), and recovery codes for when
the phone is lost."""

import base64
import hashlib
import secrets
import time

import pyotp
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import vault
from bridge.accounts.notes import tell_member
from bridge.accounts.tables import Member, RecoveryCode, SecondFactor
from bridge.acts import Actor, record_act
from bridge.db import db, now_utc, transaction

STEP_SECONDS = 30
DIGITS = 6
STEPS_OFF = (0, -1, 1)  # a phone's clock may be half a minute off
ISSUER = "AI Bridge"
RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = 10  # 80 random bits: nobody finds one from its hash
GROUP = 4  # letters
PLAIN = {"synchronize_session": False}


class WrongCode(Exception):
    """The code is not the one that the app shows now, or was used already."""


def draw_secret() -> str:
    """A new secret as apps take it: 160 random bits in Base32."""
    return str(pyotp.random_base32())


def write_address(secret: str, email: str) -> str:
    """What the QR code says."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER))


def find_second_factor(member_id: int) -> SecondFactor | None:
    """The member's second factor; None without one."""
    return db.session.get(SecondFactor, member_id, populate_existing=True)


def count_recovery_codes(member_id: int) -> int:
    """How many of the member's recovery codes are left."""
    query = sa.select(sa.func.count()).select_from(RecoveryCode).where(RecoveryCode.member_id == member_id)
    return db.session.scalar(query) or 0


def turn_on(member: Member, secret: str, code: str, actor: Actor) -> list[str]:
    """Make this secret the member's second factor, in place of an earlier one. Returns new recovery codes, which are
    read this once. Raises WrongCode unless the app shows that it has the secret."""
    step = _find_step(secret, code)
    if step is None:
        raise WrongCode
    with transaction() as session:
        session.merge(SecondFactor(member_id=member.id, sealed=vault.seal(secret), last_step=step, since=now_utc()))
        record_act(session, member.account_id, "two_factor_on", actor)
        tell_member(session, member, "two_factor_on")
        return _write_codes(session, member.id)


def renew_recovery_codes(member: Member, actor: Actor) -> list[str]:
    """New recovery codes, which are read this once; earlier ones become worthless."""
    with transaction() as session:
        record_act(session, member.account_id, "recovery_codes", actor)
        return _write_codes(session, member.id)


def turn_off(member: Member, actor: Actor) -> bool:
    """Forget the member's second factor and recovery codes. Whether there was one."""
    with transaction() as session:
        if not forget_second_factor(session, member.id):
            return False
        record_act(session, member.account_id, "two_factor_off", actor)
        tell_member(session, member, "two_factor_off")
    return True


def forget_second_factor(session: Session, member_id: int) -> bool:
    """The same in the caller's transaction, without a line in the audit log."""
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.member_id == member_id), execution_options=PLAIN)
    factor = sa.delete(SecondFactor).where(SecondFactor.member_id == member_id)
    return session.execute(factor.returning(SecondFactor.member_id), execution_options=PLAIN).first() is not None


def check_code(member_id: int, code: str) -> None:
    """Take a code of the member's app, once. Raises WrongCode."""
    factor = find_second_factor(member_id)
    step = _find_step(vault.unseal(factor.sealed), code) if factor else None
    if step is None:
        raise WrongCode
    with transaction() as session:
        newer = sa.update(SecondFactor).where(SecondFactor.member_id == member_id, SecondFactor.last_step < step)
        newer = newer.values(last_step=step).returning(SecondFactor.member_id)
        if session.execute(newer, execution_options=PLAIN).first() is None:
            raise WrongCode


def use_recovery_code(member: Member, code: str, actor: Actor) -> None:
    """Take one of the member's recovery codes, which is gone then. Raises WrongCode."""
    with transaction() as session:
        digest = _digest(member.id, code)
        used = sa.delete(RecoveryCode).where(RecoveryCode.member_id == member.id, RecoveryCode.digest == digest)
        if session.execute(used.returning(RecoveryCode.digest), execution_options=PLAIN).first() is None:
            raise WrongCode
        record_act(session, member.account_id, "recovery_code", actor)
        tell_member(session, member, "recovery_code")


def _find_step(secret: str, code: str) -> int | None:
    """The half minute that this is the code of, if it is now or beside it."""
    code = code.replace(" ", "")
    if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    app, now = pyotp.TOTP(secret), int(time.time()) // STEP_SECONDS
    steps = [now + off for off in STEPS_OFF]
    return next((step for step in steps if secrets.compare_digest(app.at(step * STEP_SECONDS), code)), None)


def _write_codes(session: Session, member_id: int) -> list[str]:
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.member_id == member_id), execution_options=PLAIN)
    codes = [_draw_code() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(digest=_digest(member_id, code), member_id=member_id) for code in codes)
    return codes


def _draw_code() -> str:
    """`7kqd-m2xa-p5sv-c4te`."""
    letters = base64.b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode().lower()
    return "-".join(letters[start : start + GROUP] for start in range(0, len(letters), GROUP))


def _digest(member_id: int, code: str) -> bytes:
    """Of the code as its owner may type it: with other case, spaces or hyphens."""
    letters = "".join(letter for letter in code.lower() if letter.isalnum())[:100]
    return hashlib.sha256(f"{member_id}:{letters}".encode("utf-8", "replace")).digest()
