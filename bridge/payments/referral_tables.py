"""The tables of referrals: an account's code, and who came by it. Only `referrals.py` writes them."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table


class ReferralCode(Table):
    """The code in an account's link, made when it is first asked for."""

    __tablename__ = "referral_codes"
    account_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(sa.String(16), unique=True)


class Referral(Table):
    """A newcomer who came by another account's link. Both sums are what was promised at the sign-up; when the
    newcomer first pays, they are booked with that payment, whose intent is kept, and the referrer's is cut at the cap.
    `is_taken_back`: that payment has gone back wholly, and both sums with it."""

    __tablename__ = "referrals"
    newcomer_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    referrer_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("accounts.id"), index=True)
    newcomer_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    referrer_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    payment_intent: Mapped[str | None] = mapped_column(sa.String(120), unique=True)
    is_taken_back: Mapped[bool] = mapped_column(default=False)
