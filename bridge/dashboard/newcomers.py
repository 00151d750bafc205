"""What a newcomer is told when their account is open, and by whose link they came."""

from flask import flash, request, session

from bridge.accounts.tables import Member
from bridge.acts import Actor
from bridge.dashboard.filters import balance
from bridge.dashboard.visitor import chosen_settings, find_network
from bridge.languages import translate
from bridge.ledger.ledger import find_balance
from bridge.payments.referrals import MAX_CODE_LENGTH, record_referral

REFERRED = "referred_by"  # in the session's signed cookie


def note_referral() -> None:
    """Keep the code of the link that led here, until an account opens."""
    code = request.args.get("ref", "")
    if code and len(code) <= MAX_CODE_LENGTH and chosen_settings().referral_credit_nanos:
        session[REFERRED] = code


def find_noted_referral() -> str:
    """The code that was kept; "" where there is none."""
    return str(session.get(REFERRED, ""))


def keep_referral(newcomer: Member, code: str) -> None:
    """Store by whose link a newcomer came, once their account is open. `code` is read before their session begins."""
    session.pop(REFERRED, None)
    record_referral(chosen_settings(), newcomer, code, Actor("sign-up", find_network()))


def tell_starting_credit(account_id: int) -> None:
    """Say how much credit the new account starts with, if it has any."""
    nanos = find_balance(account_id).balance_nanos
    if nanos:
        flash(translate("Your account is ready, with %(amount)s of starting credit.", amount=balance(nanos)))
