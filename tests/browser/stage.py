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
from bridge.accounts.customers import set_account_limits, suspend_account
from bridge.accounts.email_change import request_change
from bridge.accounts.emails import find_by_email
from bridge.accounts.invitations import invite
from bridge.accounts.keys import disable_key
from bridge.accounts.operator_notes import add_note
from bridge.accounts.own_price_editing import Owner, set_own_price
from bridge.accounts.password_reset import request_reset, write_reset_mails
from bridge.accounts.playground_key import issue_playground_key
from bridge.accounts.second_factor import draw_secret, turn_on
from bridge.accounts.sign_up import request_sign_up
from bridge.accounts.tables import Account, Invitation, Member, MemberSession, Membership
from bridge.acts import COMMAND, Actor
from bridge.catalogue.incidents import open_incident, post_update
from bridge.catalogue.model_editing import retire_model
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Channel
from bridge.db import db, now_utc, transaction
from bridge.ledger.alerts import make_off_token
from bridge.ledger.ledger import credit
from bridge.ledger.model_days import SPEED_DAYS
from bridge.ledger.rollup_tables import ModelDay, ModelSpeed
from bridge.ledger.tables import UsageRecord
from bridge.limits.tables import Refusal
from bridge.mail.tables import Mail
from bridge.payments.approvals import BALANCE, MERGE, Wish, ask_for_approval
from bridge.payments.codes import create_batch
from bridge.payments.plan_tables import Plan, Subscription
from bridge.payments.plans import Offer, create_plan
from bridge.payments.rows import new_payment_id
from bridge.payments.subscriptions import apply_quotas, new_subscription_id
from bridge.payments.tables import AutoTopUp, Payment
from bridge.telemetry import new_request_id
from tests.browser.channels import add_channels
from tests.dashboard.letters import read_mails
from tests.factories import DOLLAR, PASSWORD, MadeAccount
from tests.gateway import Gateway
from tests.ledger.records import record_fields
from tests.members import find_owner

# the settings with which pages show all that they can
SETTINGS = {
    "show_channel_names": False,
    "verify_email": True,
    "signup_credit": "2",
    "signup_work_bits": 0,
    "stripe_secret_key": "sk_test_1",
    "stripe_webhook_secret": "whsec_1",
    "top_up_bonus": "50:5,100:10",
    "referral_credit": "5",
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
RETIRED = "gpt-4.1-nano"
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
        operator = accounts["operator"].id
        owner = find_owner(make.app, accounts["operator"]).id
        disable_key(operator, issue_playground_key(operator, owner, COMMAND).id)
        suspend_account(accounts["suspended"].id, reason="Chargeback on 17 Nov. Write to us.")
        _agree_terms(mira.id)
        create_batch(10 * DOLLAR, 3, made_by=EMAILS["operator"], note="Conference in Lisbon")
        ids: dict[str, object] = {
            "key": keys[0],
            "key_off": keys[2],
            "account": mira.id,
            "suspended": accounts["suspended"].id,
        }
        with transaction() as session:  # it has answered, so operators see figures and not the setup
            session.execute(sa.update(Channel).where(Channel.name == channel).values(last_answer_at=now_utc()))
        ids |= {"channel": channel, "off": make_off_token(gateway.settings, mira.id)}
        ids["channel_slow"], ids["channel_partly"] = add_channels(), "openai-main"
        ids |= _add_usage(mira.id, keys) | _add_payments(mira.id) | _send_links(gateway)
        _add_refusals(mira.id, keys)
        ids["incident"] = _add_incidents("qwen3-8b")
        ids |= _add_plans(gateway, mira.id)
        people = _add_team(gateway, mira)
        ids["join"] = _invite(gateway, mira.id)
        ids["retired"] = RETIRED
        retire_model(RETIRED, actor=Actor(EMAILS["operator"]))
        secret = draw_secret()
        turn_on(_find("guarded"), secret, pyotp.TOTP(secret).now(), COMMAND)
    cookies = {name: _enter(gateway.site_url, email) for name, email in EMAILS.items() if name != "guarded"}
    with make.app.app_context(), transaction() as session:  # her first session has not proved for long who she is
        hers = MemberSession.member_id == _find("mira").id
        session.execute(sa.update(MemberSession).where(hers).values(proven_at=None))
    cookies |= {name: _enter(gateway.site_url, email) for name, email in people.items()}
    cookies |= {"stale": cookies["mira"], "mira": _enter(gateway.site_url, EMAILS["mira"])}
    return Stage(gateway.site_url, {name: str(value) for name, value in ids.items()}, cookies)


def _add_team(gateway: Gateway, mira: MadeAccount) -> dict[str, str]:
    """Members of Mira's account with each role, and another account of hers. The addresses of those who sign in: a
    developer, and one who belongs to no account any more."""
    make, people = gateway.make, {"sara": "sara.aalto@example.com"}
    members = {role: make.make_member(mira, role, 25 * DOLLAR) for role in ("admin", "developer", "billing", "viewer")}
    named = {"admin": ("Jonas Petit", "jonas@holt.example"), "developer": ("Sara Aalto", people["sara"])}
    gone, lab = make.make_member(mira, "viewer"), make.make_account(310 * DOLLAR)
    people["gone"] = gone.email
    with transaction() as session:
        for role, (name, email) in named.items():
            chosen = sa.update(Member).where(Member.email == members[role].email)
            session.execute(chosen.values(name=name, email=email))
        session.execute(sa.update(Member).where(Member.email == EMAILS["mira"]).values(name="Mira Holt"))
        session.execute(sa.update(Account).where(Account.id == mira.id).values(name="Holt Analytics"))
        session.execute(sa.update(Account).where(Account.id == lab.id).values(name="Open-source lab"))
        session.add(Membership(account_id=lab.id, member_id=_find("mira").id, role="admin"))
        left = sa.select(Member.id).where(Member.email == gone.email).scalar_subquery()
        session.execute(sa.delete(Membership).where(Membership.member_id == left))
    return people


def _invite(gateway: Gateway, account_id: int) -> str:
    """Invitations to an account, one of which has expired; the path of the other's link."""
    terms = {"by": _find("mira"), "actor": Actor(EMAILS["mira"], "127.0.0.1")}
    for email, role in (("li@holt.example", "viewer"), ("tom@holt.example", "developer")):
        invite(gateway.settings, account_id, email, role, None, **terms)
    with transaction() as session:
        old = sa.update(Invitation).where(Invitation.email == "li@holt.example")
        session.execute(old.values(ends_at=now_utc() - datetime.timedelta(days=2)))
    found = re.search(r"/join/\S+", read_mails(gateway.make.app, "tom@holt.example")[0])
    assert found
    return found[0]


def _agree_terms(account_id: int) -> None:
    """What an operator agreed with a customer: limits, prices of models, and what was noted of it."""
    operator = Actor(EMAILS["operator"])
    set_account_limits(account_id, {"rpm": 600, "tpm": 2_000_000, "concurrency": 50, "spend_day_nanos": 25 * DOLLAR})
    owner = Owner(account_id=account_id)
    rates = make_rates({"input": 2_850_000_000, "output": 14_250_000_000})
    set_own_price(owner, "claude-sonnet-4-5", rates=rates, note="Three months", actor=operator, below_cost=True)
    set_own_price(owner, "gpt-4o", markup_bps=2500, actor=operator)
    for wish in (
        Wish(BALANCE, 1_500 * DOLLAR, account_id, note="Yearly contract, first instalment"),
        Wish(MERGE, 50 * DOLLAR, account_id, into_id=account_id + 1),
    ):
        ask_for_approval(wish, Actor(EMAILS["guarded"]))
    add_note(account_id, "5% off Claude for three months, agreed by mail.", operator)
    add_note(account_id, "Asked for 120 RPM on support-bot before their launch on 1 December.", operator)


def _add_plans(gateway: Gateway, account_id: int) -> dict[str, object]:
    """Two plans on sale and a hidden one; the account has the first, and the second from the next month on."""
    operator = Actor(EMAILS["operator"])
    starter, team, hidden = (
        create_plan(gateway.settings, offer, operator)
        for offer in (
            Offer("Starter", 2000, 22 * DOLLAR, rpm=1000, description="For a first product."),
            Offer("Team", 9900, 110 * DOLLAR, rpm=6000, tpm=20_000_000, concurrency=0, group_name="team"),
            Offer("Aurora", 49_900, 0, rpm=0, group_name="aurora", is_listed=False),
        )
    )
    start = now_utc() - datetime.timedelta(days=9)
    with transaction() as session:
        subscription = Subscription(
            id=new_subscription_id(),
            account_id=account_id,
            plan_id=starter.id,
            next_plan_id=team.id,
            state="active",
            stripe_subscription="sub_1RabcdEFGH",
            customer="cus_SVTabcd",
            period_start=start,
            period_end=start + datetime.timedelta(days=30),
            paid_from=start,
            made_by=EMAILS["mira"],
        )
        session.add(subscription)
        session.flush()
        session.add(_make_fee(starter, subscription, start))
        apply_quotas(session, account_id)
    return {"plan": starter.id, "plan_code": hidden.code}


def _make_fee(plan: Plan, subscription: Subscription, start: datetime.datetime) -> Payment:
    return Payment(
        id=new_payment_id(),
        account_id=subscription.account_id,
        kind="plan",
        state="paid",
        amount_minor=plan.fee_minor,
        currency=plan.currency,
        credit_nanos=plan.worth_nanos,
        bonus_nanos=plan.credit_nanos - plan.worth_nanos,
        payment_intent="pi_3Rfee",
        subscription_id=subscription.id,
        plan_id=plan.id,
        period_start=start,
        invoice="in_1Rfee",
        created_at=start,
        paid_at=start,
    )


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


def _add_incidents(model: str) -> int:
    """A quarter's calls of each model, an incident that is over, and one that goes on; the latter's number."""
    operator, today = Actor(EMAILS["operator"]), now_utc().date()
    with transaction() as session:
        for place, (name, *_) in enumerate((*MODELS, (model,))):
            for ago in range(1, 60 if place == 3 else 90):  # today's are counted by the gateway itself
                failed = {9: 30, 30 + place: 90}.get(ago, ago % 5 == 0)
                day = today - datetime.timedelta(days=ago)
                counts = {"answered": 1000, "failed": int(failed)}
                session.merge(ModelDay(day=day, model_id=name, **counts))
                if ago < SPEED_DAYS:
                    bucket = 15 if ago == 9 else 11 + (ago + place) % 3
                    session.merge(ModelSpeed(day=day, model_id=name, bucket=bucket, answers=1000))
    over = open_incident("Claude answers 529", "Their servers are overloaded.", operator, models=["claude-sonnet-4-5"])
    post_update(over, "resolved", "2.1% of calls failed after three attempts; nobody was charged for them.", operator)
    number = open_incident(
        f"{model} is slow", "First tokens take up to 9 s.", operator, models=[model], effect="degraded"
    )
    post_update(
        number, "identified", "The provider has lost a part of its machines. Failed calls cost nothing.", operator
    )
    return number


def _add_refusals(account_id: int, keys: list[int]) -> None:
    now = now_utc()
    start = now.replace(minute=0, second=0, microsecond=0)
    common = {"account_id": account_id, "start": start, "last_at": now, "last_request_id": new_request_id()}
    said = (
        (keys[0], "rate_limit_exceeded", 429, 36, "Rate limit exceeded: 600 RPM"),
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
