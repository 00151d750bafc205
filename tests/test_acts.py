"""Whatever an operator changes is in the audit log: each form of the operators' pages, and each command that changes
something. Both are found by themselves: a new one fails here until it says how it is tried, or that it only reads."""

import dataclasses
import datetime
import re
from collections.abc import Iterator

import click
import pyotp
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app import create_app
from bridge.accounts.emails import find_by_email
from bridge.accounts.operator_notes import add_note
from bridge.accounts.own_price_editing import Owner, set_own_price
from bridge.accounts.second_factor import draw_secret, turn_on
from bridge.acts import COMMAND, OPERATORS_WORDS, Act, Actor, list_acts
from bridge.catalogue.channel_keys import add_key
from bridge.catalogue.editing import add_alias, enter_price, find_channel
from bridge.catalogue.incidents import find_incident, open_incident
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Alias, Model, Price
from bridge.db import db, now_utc, transaction
from bridge.extensions import limiter
from bridge.payments import review
from bridge.payments.approvals import BALANCE, Wish, ask_for_approval, list_waiting_approvals
from bridge.payments.checkout import Intent
from bridge.payments.codes import create_batch
from bridge.payments.plan_tables import Subscription
from bridge.payments.plans import Offer, create_plan
from bridge.payments.subscriptions import new_subscription_id
from tests.admin.test_payments_page import open_review
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record
from tests.rooms import close_rooms, make_settings
from tests.services import Databases

REASON = {"settle_reason": "Seen", "link_reason": "Seen", "close_reason": "Seen"}
PRICES = {"input_price": "1", "cached_price": "1", "output_price": "2"}
# what each of the operators' forms sends; {…} is a thing of `make_things`
FORMS: dict[str, dict[str, str]] = {
    "create_channel": {"name": "new", "provider": "openai", "api_key": "sk-secret-of-the-provider"},
    "change_channel": {"priority": "7", "headers": "organization: secret-of-ours", "base_url": "http://127.0.0.1:9"},
    "add_customer": {"email": "added@example.com", "credit": "5"},
    "switch_channel_on": {},
    "switch_channel_off": {},
    "drop_channel": {"confirm": "{name}"},
    "change_many": {"do": "disable", "name": "{name}"},
    "edit_many": {"name": "{name}", "priority": "8"},
    "copy_one": {"new_name": "{name}-again"},
    "change_channel_models": {"add": "gpt-4o=gpt-4o"},
    "create_channel_key": {"new_key": "sk-second-secret-of-the-provider"},
    "change_channel_key": {"replacement": "sk-third-secret-of-the-provider"},
    "drop_channel_key": {},
    "make_codes": {"amount": "10", "count": "2"},
    "void_codes": {},
    "make_plan": {"name": "Another {plan_id}", "fee": "20", "credit": "25"},
    "change_plan_sale": {"hidden": "1"},
    "end_subscription": {},
    "change_balance": {"amount": "5", "note": "A gift"},
    "refund": {"request": "{request_id}", "reason": "A fault of ours"},
    "refund_here": {"reason": "A fault of ours"},
    "change_account_markup": {"markup": "5"},
    "change_account_group": {"group": "gold"},
    "change_account_limits": {"rpm": "60"},
    "change_own_price": {"own_model": "{model}", "own_markup": "7"},
    "drop_own_price": {"own_model": "{priced}"},
    "suspend_customer": {"suspend_reason": "A charge-back"},
    "sign_member_out": {},
    "mail_reset_link": {},
    "write_note": {"note_text": "Agreed by mail"},
    "drop_note": {},
    "merge_customer": {"into": "{stays}", "confirm": "{email}"},
    "reactivate_customer": {},
    "run_drill": {"model": "{model}", "account": "{email}", "fault": "500"},
    "start_account_drill": {"fault": "500", "minutes": "5"},
    "end_account_drill": {},
    "create_model": {"id": "new", "provider": "openai", "context_tokens": "1000", **PRICES},
    "change_model": {"id": "{model}", "takes_image": "yes"},
    "change_price": {"id": "{model}", **PRICES},
    "change_prices_in_bulk": {"model": "{model}", "kind": "markup", "percent": "5", "do": "apply"},
    "adopt_prices": {"row": "gpt-4o@"},
    "withdraw": {"price": "{price_id}"},
    "change_markup": {"id": "{model}", "markup": "5"},
    "change_route_order": {"id": "{model}", "route_order": "cost"},
    "change_openai_wire": {"id": "{model}", "openai_wire": "chat"},
    "change_added_tokens": {"id": "{model}", "added_tokens": "7"},
    "change_kinds": {"id": "{model}", "kinds": "chat, completions"},
    "change_patience": {"id": "{model}", "patience": "9"},
    "create_alias": {"id": "{model}", "alias": "another"},
    "drop_alias": {"id": "{model}", "alias": "{alias}"},
    "end_model": {"id": "{model}"},
    "bring_model_back": {"id": "{model}"},
    "create_incident": {"title": "Slow", "text": "We look into it.", "effect": "degraded", "state": "investigating"},
    "say_more": {"state": "identified", "text": "A cable."},
    "change_incident": {"title": "Slower"},
    "change_update": {"text": "We look into it now."},
    "make_operator": {"email": "{email}", "role": "support"},
    "change_operator": {"role": "support"},
    "drop_operator": {},
    "approve_one": {},
    "refuse_one": {"reason": "Not agreed"},
    "settle": REASON,
    "link": {"payment_intent": "pi_other", **REASON},
    "close": REASON,
    "view_as_customer": {},  # the last: with it nothing else can be changed
}
NO_CHANGES = {
    "leave_view": "that it was begun, and until when, is on record",
    "try_channel": "its result is among the channel's events",
    # with an upstream that answers, in admin/test_setup_page.py
    **dict.fromkeys(("connect_provider", "choose_models", "try_setup"), "what these steps change is on record"),
    "compare_channel_models": "it reads the upstream's list",
    "compare_prices": "it only reads",
    "ask_upstream": "it only reads",
}

# what each command that changes something is given
COMMANDS: dict[str, str] = {
    "account create": "new@example.com",
    "account credit": "{email} 5",
    "account refund": "{request_id} --reason Ours",
    "account group": "{email} gold",
    "account limits": "{email} --rpm 60",
    "account markup": "{email} 5",
    "account suspend": "{email}",
    "account note add": "{email} Agreed",
    "account note delete": "{email} {note_id}",
    "account reset-link": "{email}",
    "account merge": "{email} {stays} --yes",
    "price own": "{model} --account {email} --markup 7",
    "account reactivate": "{email}",
    "account operator": "{email} --role support",
    "account password": "{email}",
    "account email": "{email} other@example.com",
    "account sign-out": "{email}",
    "account sessions end": "{email}",
    "account second-factor remove": "{email}",
    "account delete": "{email} --yes",
    "key issue": "{email}",
    "key rotate": "{key_id}",
    "key revoke": "{key_id}",
    "model add": "new --input-price 1 --output-price 2 --context 1000",
    "model edit": "{model} --takes text,image",
    "model alias": "another {model}",
    "model order": "{model} cost",
    "model wire": "{model} chat",
    "model added": "{model} 7",
    "model kinds": "{model} chat,completions",
    "model patience": "{model} 9",
    "catalogue sync": "",
    "price set": "{model} --input 1 --output 2",
    "price markup": "5 {model} --yes",
    "price remove": "{price_id}",
    "catalogue adopt": "gpt-4o",
    "markup": "{model} 5",
    "channel add": "new --provider openai --api-key sk-secret-of-the-provider",
    "channel set": "{name} --priority 7",
    "channel disable": "{name}",
    "channel enable": "{name}",
    "channel remove": "{name}",
    "channel copy": "{name} {name}-too",
    "channel models": "{name} --add gpt-4o",
    "channel key add": "{name} --api-key-env PROVIDER_KEY",
    "channel key replace": "{name} #{which} --api-key-env PROVIDER_KEY",
    "channel key remove": "{name} #{which}",
    "vault rotate": "",
    "incident open": "Slow Checking",
    "incident update": "{incident_id} Found --state identified",
    "incident correct": "{incident_id} --title Slower",
    "code create": "10",
    "code void": "{batch_id}",
    "plan create": "New{plan_id} 20 --credit 25 --rpm 600",
    "plan sale": "{plan_id} --hidden",
    "plan end": "{subscription_id}",
    "payment settle": "{payment_id} --reason Seen",
    "payment link": "{payment_id} pi_other --reason Seen",
    "payment close": "{payment_id} --reason Seen",
    "drill": "{model} --fault 500 --account {email}",
}
READING = {
    *("account note list", "account members", "account operators", "price groups"),
    "channel health",
    *("account show", "account sessions list", "ledger check", "ledger export", "model list", "catalogue diff"),
    *("price list", "channel list", "channel events", "code list", "payment list", "payment show", "jobs"),
    *("request list", "request show", "audit list", "audit export", "approval list"),
    "account first-operator",  # what its link does is on record
    *("plan list", "plan subscriptions"),
    *("channel test", "mail test"),  # they send something, and change nothing
    "channel key list",
    *("incident list", "incident show"),
}


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def site(databases: Databases, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The whole product, with payments; its forms need no token."""
    settings = make_settings(
        tmp_path,
        database_url=databases.open("sqlite"),
        stripe_secret_key="sk_test_1",
        stripe_webhook_secret="whsec_1",
        stripe_api_base="http://127.0.0.1:9",
    )
    app = create_app(settings)
    app.config["WTF_CSRF_ENABLED"] = False
    monkeypatch.setenv("PROVIDER_KEY", "sk-other-secret-of-the-provider")
    app.config["RATELIMIT_ENABLED"] = limiter.enabled = False
    monkeypatch.setattr(review, "_find_intent", lambda _, intent: make_intent(intent))
    yield app
    limiter.enabled = True
    close_rooms(app)


def make_intent(intent: str) -> Intent:
    fields = {field.name: None for field in dataclasses.fields(Intent)}
    return Intent(**{**fields, "id": intent, "status": "succeeded", "amount_minor": 2000, "currency": "usd"})


def make_things(app: Flask) -> dict[str, str]:
    """One new thing of each kind that a form or a command can name."""
    make = Factories(app)
    account, model = make.make_account(), make.make_model()
    channel = make.make_channel("http://127.0.0.1:9", model, waits=False)
    with app.app_context():
        add_key(channel, f"sk-one-more-{channel}")
        which = str(list_keys(find_channel(channel))[0].id)
    payment_id = open_review(app, account, 1500, "usd")
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        secret = draw_secret()
        turn_on(member, secret, pyotp.TOTP(secret).now(), COMMAND)
        alias, record = add_alias(f"{model}-too", model), add_record(account.id)
        batch = create_batch(DOLLAR, 1, made_by="a test")
        assert batch
        rates = [make_rates({"input": 50 * DOLLAR, "output": 90 * DOLLAR})]
        enter_price("gpt-4o", rates)  # the list says something else
        later = enter_price(model, rates, effective_at=now_utc() + datetime.timedelta(days=1))
        things = {"member_id": member.id, "note_id": add_note(account.id, "A note").id, "priced": make.make_model()}
        set_own_price(Owner(account.id), str(things["priced"]), markup_bps=500)
        incident_id = open_incident("Slow answers", "We look into it.", COMMAND)
        things |= {
            "incident_id": incident_id,
            "update_id": find_incident(incident_id).updates[0].id,
            "stays": make.make_account().email,
            "request_id": record.request_id,
            "batch_id": batch.batch_id,
            "alias": alias.name,
            "price_id": later.id,
        }
    things |= make_subscription(app, account.id)
    things |= {"key_id": make.make_key(account).id, "payment_id": payment_id, "email": account.email}
    things |= {"account_id": account.id, "model": model, "name": channel, "which": which}
    with app.app_context():
        another = find_by_email(make.make_operator("viewer").email)
        assert another
        ask_for_approval(Wish(BALANCE, DOLLAR, account.id, note="A gift"), Actor(another.email))
        things |= {"operator_id": another.id, "approval_id": list_waiting_approvals()[-1].id}
    return {name: str(value) for name, value in things.items()}


def make_subscription(app: Flask, account_id: int) -> dict[str, object]:
    """A plan, and the account's subscription to it."""
    with app.app_context():
        subscription_id = new_subscription_id()
        plan = create_plan(app.config["BRIDGE"], Offer(f"Plan {subscription_id[-8:]}", 2000, rpm=600))
        with transaction() as session:
            fields = {"state": "active", "stripe_subscription": f"sub_{subscription_id}", "made_by": "a test"}
            session.add(Subscription(id=subscription_id, account_id=account_id, plan_id=plan.id, **fields))
    return {"plan_id": plan.id, "subscription_id": subscription_id}


def list_lines(app: Flask) -> set[tuple[str, str, str, datetime.datetime]]:
    """What, by whom, in which words and when: a deleted account's lines are gone, and their ids are given again."""
    with app.app_context():
        return {(line.what, line.made_by, line.detail, line.created_at) for line in db.session.scalars(sa.select(Act))}


def test_every_form_of_the_operators_pages_leaves_a_line(site: Flask):
    operator = Factories(site).make_account(is_operator=True)
    browser = site.test_client()
    assert browser.post("/sign-in", data={"email": operator.email, "password": operator.password}).status_code == 303
    rules = [rule for rule in site.url_map.iter_rules() if rule.endpoint.startswith("admin.")]
    forms = {rule.endpoint.removeprefix("admin."): rule for rule in rules if "POST" in (rule.methods or ())}
    assert set(forms) == FORMS.keys() | NO_CHANGES.keys()
    silent = {name for name in FORMS if not leaves_a_line(site, browser, operator, forms[name], FORMS[name])}
    assert silent == set()


def leaves_a_line(app: Flask, browser: FlaskClient, operator: MadeAccount, rule: Rule, form: dict[str, str]) -> bool:
    """Whether the form's change is on record, under the operator's name and without a secret."""
    things = make_things(app)
    seen = list_lines(app)
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: things[match[1]], rule.rule)
    answer = browser.post(path, data={name: text.format(**things) for name, text in form.items()})
    assert answer.status_code in (200, 303), (rule.endpoint, answer.status_code)
    assert answer.data  # a drill goes on while it is read
    lines = [detail for _, made_by, detail, _ in list_lines(app) - seen if made_by == operator.email]
    assert not any("secret" in detail for detail in lines)
    return bool(lines)


def list_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of our own commands below a group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from list_commands(command, (*path, name))
        elif (command.callback.__module__ if command.callback else "").startswith("bridge."):
            yield " ".join((*path, name))


def test_every_command_that_changes_something_leaves_a_line(site: Flask):
    assert set(list_commands(site.cli)) == COMMANDS.keys() | READING
    with site.app_context(), transaction() as session:  # something that `catalogue sync` finds missing
        for table, column in ((Alias, Alias.model_id), (Price, Price.model_id), (Model, Model.id)):
            session.execute(sa.delete(table).where(column == "gpt-4o-mini"))
    silent = set()
    for name, arguments in COMMANDS.items():
        things = make_things(site)
        seen = list_lines(site)
        result = site.test_cli_runner().invoke(args=[*name.split(), *arguments.format(**things).split()])
        assert result.exit_code == 0, (name, result.output)
        if "command" not in {made_by for _, made_by, _, _ in list_lines(site) - seen}:
            silent.add(name)
    assert silent == set()


def test_a_customer_reads_what_was_done_to_the_account_and_not_how_the_gateway_is_run(app: Flask, client: FlaskClient):
    account = Factories(app).make_account()
    runner = app.test_cli_runner()
    runner.invoke(args=["account", "limits", account.email, "--rpm", "60"])
    runner.invoke(args=["account", "markup", account.email, "5"])
    with app.app_context():
        lines = db.session.scalars(sa.select(Act).where(Act.account_id == account.id))
        assert {"limits", "account_markup"} <= {line.what for line in lines}
        found = {act.what: act.detail for act in list_acts(account.id)}
        assert found["limits"] == "rpm none → 60"
        assert not found.keys() & OPERATORS_WORDS.keys()
    sign_in(client, account.email, account.password)
    page = client.get("/dashboard/settings/security").text
    assert "Account limits changed" in page
    assert "rpm none → 60, by the operator" in re.sub(r"\s+", " ", page)
    assert "markup" not in page
