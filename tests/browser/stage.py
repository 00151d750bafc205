"""What a month of use leaves behind in a gateway, and people who are signed in: for looking at its pages."""

import dataclasses
import datetime
import json
import random
import re

import pyotp
import requests
import sqlalchemy as sa

from bridge import vault
from bridge.accounts.customers import suspend_account
from bridge.accounts.email_change import request_change
from bridge.accounts.emails import find_by_email
from bridge.accounts.keys import disable_key
from bridge.accounts.password_reset import request_reset, write_reset_mails
from bridge.accounts.second_factor import draw_secret, turn_on
from bridge.accounts.sign_up import request_sign_up
from bridge.accounts.tables import Account, Member, MemberSession
from bridge.acts import COMMAND
from bridge.db import db, now_utc, transaction
from bridge.ledger.alerts import make_off_token
from bridge.ledger.ledger import credit
from bridge.ledger.tables import UsageRecord
from bridge.limits.tables import Refusal
from bridge.mail.tables import Mail
from bridge.payments.codes import create_batch
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import AutoTopUp, Payment
from bridge.telemetry import new_request_id
from tests.factories import DOLLAR, PASSWORD
from tests.gateway import Gateway
from tests.ledger.records import record_fields

# the settings with which pages show all that they can
SETTINGS = {
    "verify_email": True,
    "signup_credit": "2",
    "signup_work_bits": 0,
    "stripe_secret_key": "sk_test_1",
    "stripe_webhook_secret": "whsec_1",
    "github_client_id": "ours",
    "github_client_secret": "ours",
    "mail_seconds": 3600,  # nobody's mails are to be read from a log
}
DAYS, REQUESTS = 30, 260
MODELS = (  # with its channel, and dollars for a million tokens in and out
    ("claude-sonnet-4-5", "anthropic-main", 3.0, 15.0),
    ("gpt-4o", "openai-main", 2.5, 10.0),
    ("gpt-4o-mini", "openai-main", 0.15, 0.6),
    ("gemini-2.5-pro", "google-eu", 1.25, 10.0),
    ("deepseek-chat", "deepseek", 0.27, 1.1),
)
KEYS = (
    {"name": "worker-prod", "budget_month_nanos": 50 * DOLLAR, "rpm": 600},
    {"name": "batch-nightly, which sums up what the day has brought", "models": ["gpt-4o-mini"]},
    {"name": "staging", "budget_day_nanos": 5 * DOLLAR},
)
EMAILS = {
    "mira": "mira@example.com",
    "newcomer": "teo@example.com",
    "suspended": "late.payer@example.com",
    "guarded": "vera@example.com",  # by two-factor sign-in
    "operator": "ops@bridge.example",
}
TAGS, PEOPLE = ("env=prod", "env=staging", "project=search"), ("user-8812", "user-4410", "tenant-aurora")
NOW_AND_THEN = 23  # one of so many requests fails, another is left by its client


@dataclasses.dataclass(frozen=True)
class Stage:
    """The gateway's address, what has an id there, and the session cookies by who looks."""

    site: str
    ids: dict[str, str]
    cookies: dict[str, dict[str, str]]


def set_stage(gateway: Gateway) -> Stage:
    """Fill a gateway of its own, started with SETTINGS."""
    make = gateway.make
    accounts = {name: make.make_account(0, is_operator=name == "operator") for name in EMAILS}
    mira = accounts["mira"]
    keys = [make.make_key(mira, **terms).id for terms in KEYS]
    channel = make.make_channel("http://127.0.0.1:9", make.make_model(id_="qwen3-8b"), waits=False)
    with make.app.app_context():
        for name, account in accounts.items():
            _rename(account.id, EMAILS[name])
        for name in ("mira", "suspended"):
            credit(accounts[name].id, 50 * DOLLAR, source="operator", note="Invoice 17", made_by=EMAILS["operator"])
        disable_key(mira.id, keys[2])
        suspend_account(accounts["suspended"].id)
        create_batch(10 * DOLLAR, 3, made_by=EMAILS["operator"], note="Conference in Lisbon")
        ids: dict[str, object] = {"key": keys[0], "key_off": keys[2], "account": mira.id}
        ids |= {"channel": channel, "off": make_off_token(gateway.settings, mira.id)}
        ids |= _add_usage(mira.id, keys) | _add_payments(mira.id) | _send_links(gateway)
        _add_refusals(mira.id, keys)
        secret = draw_secret()
        turn_on(_find("guarded"), secret, pyotp.TOTP(secret).now(), COMMAND)
    cookies = {name: _enter(gateway.site_url, email) for name, email in EMAILS.items() if name != "guarded"}
    with make.app.app_context(), transaction() as session:  # her first session has not proved for long who she is
        hers = MemberSession.member_id == _find("mira").id
        session.execute(sa.update(MemberSession).where(hers).values(proven_at=None))
    cookies |= {"stale": cookies["mira"], "mira": _enter(gateway.site_url, EMAILS["mira"])}
    return Stage(gateway.site_url, {name: str(value) for name, value in ids.items()}, cookies)


def _find(name: str) -> Member:
    member = find_by_email(EMAILS[name])
    assert member
    return member


def _rename(account_id: int, email: str) -> None:
    with transaction() as session:
        session.execute(sa.update(Account).where(Account.id == account_id).values(name=email))
        session.execute(sa.update(Member).where(Member.account_id == account_id).values(email=email))


def _add_usage(account_id: int, keys: list[int]) -> dict[str, object]:
    """Requests of a month, by several keys and models; ids of a complete one and of one that failed."""
    drawn, rows, ids = random.Random(1), [], {}
    for number in range(REQUESTS):
        model, channel, price_in, price_out = drawn.choices(MODELS, (9, 6, 5, 3, 2))[0]
        prompt, answered = drawn.randrange(200, 24_000), drawn.randrange(40, 2_400)
        ago = datetime.timedelta(days=DAYS * (number / REQUESTS) ** 2, seconds=drawn.randrange(50))
        prices = {"input_nanos_per_mtok": round(price_in * DOLLAR), "output_nanos_per_mtok": round(price_out * DOLLAR)}
        changes = {
            "model_asked": model,
            "model_id": model,
            "upstream_id": model,
            "channel_name": channel,
            "prompt_tokens": prompt,
            "cached_tokens": 0,
            "completion_tokens": answered,
            "charge_nanos": round((prompt * price_in + answered * price_out) * 1000),
            "first_content_ms": drawn.randrange(180, 1400),
            "total_ms": drawn.randrange(1500, 22_000),
            "attempts": json.dumps([{"channel": channel, "started_ms": 2, "took_ms": 1998, "outcome": "200"}]),
            "end_user": drawn.choice((None, *PEOPLE)),
            "tags": json.dumps([drawn.choice(TAGS)]),
            **prices,
        }
        if number % NOW_AND_THEN == 2:
            tried = [{"channel": channel, "started_ms": 2, "took_ms": 410, "outcome": "529, overloaded"}]
            nothing = dict.fromkeys(("prompt_tokens", "completion_tokens", "charge_nanos"), 0)
            changes |= {**nothing, "state": "released", "outcome": "failed", "status": 503, "tokens_source": "none"}
            changes |= {"error_code": "upstream_error", "attempts": json.dumps(tried), "first_content_ms": None}
        row = UsageRecord(account_id=account_id, key_id=keys[number % 2], **record_fields(ago, **changes))
        ids["receipt_failed" if row.outcome == "failed" else "receipt"] = row.request_id
        rows.append(row)
    with transaction() as session:
        session.add_all(rows)
    return ids


def _add_refusals(account_id: int, keys: list[int]) -> None:
    now = now_utc()
    start = now.replace(minute=0, second=0, microsecond=0)
    common = {"account_id": account_id, "start": start, "last_at": now, "last_request_id": new_request_id()}
    said = (
        (keys[0], "rate_limit_exceeded", 429, 36, "This key may make 600 requests a minute. Try again in 12 seconds."),
        (keys[1], "model_not_allowed", 403, 3, "This key may not use the model 'gpt-4o'."),
    )
    with transaction() as session:
        for key_id, code, status, count, message in said:
            more = {"model_id": "gpt-4o", "last_model": "gpt-4o", "last_message": message, "status": status}
            session.add(Refusal(**common, **more, key_id=key_id, code=code, requests=count))


def _add_payments(account_id: int) -> dict[str, object]:
    """A payment in each state; their ids by it."""
    now, ids = now_utc(), {}
    amounts = {"amount_minor": 2000, "currency": "usd", "credit_nanos": 20 * DOLLAR, "kind": "checkout"}
    problems = {"failed": "The card was declined.", "expired": "The page at Stripe was not used in time."}
    with transaction() as session:
        for number, state in enumerate(("paid", "pending", "failed", "expired", "review")):
            payment_id = new_payment_id()
            is_paid = state in ("paid", "review")
            row = Payment(id=payment_id, account_id=account_id, state=state, problem=problems.get(state), **amounts)
            row.created_at = now - datetime.timedelta(days=number)
            row.payment_intent = f"pi_{payment_id[4:]}" if is_paid else None
            row.paid_at = row.created_at if is_paid else None
            row.paid_minor, row.paid_currency = (
                (1500 if state == "review" else 2000, "usd") if is_paid else (None, None)
            )
            session.add(row)
            ids[state] = payment_id
        rule = AutoTopUp(account_id=account_id, customer="cus_1", payment_method="pm_1", card="Visa …4242")
        rule.card_until = (now - datetime.timedelta(days=40)).date()
        session.add(rule)
    return ids


def _send_links(gateway: Gateway) -> dict[str, object]:
    """What mailed links end with, by their page."""
    request_change(gateway.settings, _find("mira"), "mira.lund@example.com", COMMAND)
    request_sign_up(gateway.settings, "nadia@example.com")
    request_reset(EMAILS["newcomer"])
    write_reset_mails(gateway.settings)
    texts = [vault.unseal(text) for text in db.session.scalars(sa.select(Mail.sealed).where(Mail.sealed.is_not(None)))]
    found = [re.search(r"(/sign-up/finish|/confirm|/reset)(\?ticket=\S+)", text) for text in texts]
    return {link[1].rpartition("/")[2]: link[1] + link[2] for link in found if link}


def _enter(site: str, email: str) -> dict[str, str]:
    """The cookies of a browser in which this member has just signed in."""
    with requests.Session() as browser:
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(f"{site}/sign-in").text)
        assert token
        form = {"csrf_token": token[1], "email": email, "password": PASSWORD}
        answer = browser.post(f"{site}/sign-in", data=form, allow_redirects=False)
        assert answer.status_code == 303, email
        return dict(browser.cookies)
