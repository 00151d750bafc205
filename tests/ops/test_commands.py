"""The operator's commands: what they do, what they print, and how they fail."""

import datetime
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import select

from bridge import vault
from bridge.accounts.customers import find_terms
from bridge.accounts.keys import read_caller
from bridge.accounts.sign_in import sign_in
from bridge.accounts.tables import Key
from bridge.catalogue.channel_events import record_test
from bridge.catalogue.editing import find_channel
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.price_rows import list_prices, version_of
from bridge.catalogue.tables import Channel, Model
from bridge.catalogue.testing import ChannelTest
from bridge.conversation.usage import Usage
from bridge.db import db
from bridge.ledger.idempotency import Claim, claim_key, keep_answer, seal_answer
from bridge.ledger.tables import Balance, Entry
from bridge.ops import commands, commands_channels
from bridge.ops.command_line import read_moment
from bridge.reasoning.reasoning import keep_reasoning, recall_reasoning
from tests.catalogue.small_app import drop_app, make_app
from tests.conversations import list_turns
from tests.ledger.records import add_record

EMAIL = "ada@example.com"
Run = Callable[..., list[str]]
Fail = Callable[..., str]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr("bridge.catalogue.connect.provider_credentials", lambda _providers, _environ: {})
    app = make_app(tmp_path)
    commands.register(app)
    with app.app_context():
        yield app
    drop_app(app)


def call(app: Flask, *arguments: str) -> Result:
    result = app.test_cli_runner().invoke(args=list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def run(app: Flask) -> Run:
    """Runs a command that succeeds; returns its lines."""

    def run(*arguments: str) -> list[str]:
        result = call(app, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout.splitlines()

    return run


@pytest.fixture
def fail(app: Flask) -> Fail:
    """Runs a command that fails as promised: status 1 and one line on stderr, which is returned."""

    def fail(*arguments: str) -> str:
        result = call(app, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        return line

    return fail


@pytest.fixture
def account(run: Run) -> int:
    """Ada's account."""
    return int(run("account", "create", EMAIL, "--password", "correct horse battery")[-1])


def test_an_account_is_created_with_the_password_given(run: Run, account: int):
    member = sign_in(EMAIL, "correct horse battery")
    assert (member.account_id, member.is_operator) == (account, False)


def test_an_operator_s_password_is_made_up_and_printed_when_none_is_given(run: Run):
    first, second, last = run("account", "create", "Op@example.com", "--operator")
    assert first == "Created an account for op@example.com, an operator."
    member = sign_in("op@example.com", second.removeprefix("Password: "))
    assert member.is_operator
    assert int(last) == member.account_id


def test_an_address_that_is_taken_or_wrong_is_refused(account: int, fail: Fail):
    assert "already" in fail("account", "create", EMAIL)
    assert fail("account", "create", "no address").startswith("Error: ")
    assert "characters" in fail("account", "create", "b@example.com", "--password", "short")


def test_credit_reaches_the_balance_to_the_nano_with_a_reason(run: Run, account: int):
    run("account", "credit", EMAIL, "10.00", "--note", "welcome")
    (line,) = run("account", "credit", EMAIL.upper(), "$0.000000001")
    assert line == f"Credited $0.000000001 to {EMAIL}; the balance is $10.000000001."
    assert db.session.get_one(Balance, account).balance_nanos == 10_000_000_001
    entry = db.session.scalars(select(Entry).order_by(Entry.id)).first()
    assert entry
    assert (entry.source, entry.note, entry.made_by) == ("operator", "welcome", "command")


def test_a_request_is_refunded_once_by_its_id(run: Run, fail: Fail, account: int):
    request_id = add_record(account).request_id
    refund = ("account", "refund", request_id, "--reason")
    assert "needs a reason" in fail(*refund, " ")
    (line,) = run(*refund, "It was empty")
    assert line == f"Refunded $0.003 for {request_id} to account {account}; the balance is $0.003."
    assert "refunded before: $0.003 on" in fail(*refund, "again")
    assert "no settled request" in fail("account", "refund", "req_" + "0" * 32, "--reason", "x")


@pytest.mark.parametrize("amount", ["0", "ten", "1.0000000001", "1e3"])
def test_an_amount_that_is_none_is_refused(account: int, fail: Fail, amount: str):
    assert fail("account", "credit", EMAIL, amount).startswith("Error: ")
    assert db.session.scalars(select(Entry)).all() == []


def test_show_tells_balance_holds_and_keys(run: Run, account: int):
    assert run("account", "show", EMAIL)[-1] == "Keys:      none"
    run("account", "credit", EMAIL, "3")
    run("key", "issue", EMAIL, "--name", "laptop", "--rpm", "10", "--budget", "2.50")
    text = "\n".join(run("account", "show", EMAIL))
    for part in ("Balance:   $3.00", "Held:      $0.00", "Available: $3.00", "laptop", "10", "$2.50 total", "active"):
        assert part in text


def test_an_accounts_limits_are_set_kept_and_given_back(run: Run, fail: Fail, account: int):
    further = "no limit of spend, any number of keys."
    nothing = f"{EMAIL}: no limit of RPM, no limit of TPM, no limit of concurrent requests, {further}"
    assert run("account", "limits", EMAIL) == [nothing]
    secret = run("key", "issue", EMAIL, "--rpm", "1000", "--concurrency", "2")[-1]
    run("account", "limits", EMAIL, "--rpm", "60", "--tpm", "200,000")
    assert run("account", "limits", EMAIL, "--concurrency", "5") == [
        f"{EMAIL}: 60 RPM, 200000 TPM, 5 concurrent requests, {further}"
    ]
    assert "Limits:    60 RPM, 200000 TPM" in "\n".join(run("account", "show", EMAIL))
    caller = read_caller(secret)
    assert caller
    assert (caller.rpm, caller.tpm, caller.concurrency) == (60, 200_000, 2)
    assert run("account", "limits", EMAIL, *("--rpm", "default"), *("--tpm", "0"), *("--concurrency", "DEFAULT")) == [
        nothing
    ]
    for nonsense in ("-1", "many", "1.5", "٣", "9" * 17, "9" * 30, ""):
        assert fail("account", "limits", EMAIL, "--rpm", nonsense).startswith("Error: ")
    assert run("account", "limits", EMAIL) == [nothing]


def test_people_are_suspended_demoted_signed_out_and_given_passwords(run: Run, fail: Fail, account: int):
    secret = run("key", "issue", EMAIL)[-1]
    assert "403" in run("account", "suspend", EMAIL)[0]
    assert "(suspended)" in run("account", "show", EMAIL)[0]
    assert "suspended" in fail("key", "issue", EMAIL)
    assert run("account", "reactivate", EMAIL) == [f"{EMAIL} is active again."]
    caller = read_caller(secret)
    assert caller
    assert caller.account_status == "active"
    run("account", "operator", EMAIL)
    assert "(operator)" in "\n".join(run("account", "show", EMAIL))
    assert "the last owner" in fail("account", "operator", EMAIL, "--off")
    run("account", "create", "grace@example.com", "--operator")
    run("account", "operator", EMAIL, "--role", "support")
    assert [row.split()[:2] for row in run("account", "operators")[1:]] == [
        [EMAIL, "support"],
        ["grace@example.com", "owner"],
    ]
    assert "the last owner" in fail("account", "operator", "grace@example.com", "--role", "viewer")
    run("account", "operator", EMAIL, "--off")
    assert "(operator)" not in "\n".join(run("account", "show", EMAIL))
    run("account", "password", EMAIL, "--password", "battery horse correct")
    assert sign_in(EMAIL, "battery horse correct").account_id == account
    assert sign_in(EMAIL, run("account", "password", EMAIL)[-1].removeprefix("Password: ")).account_id == account
    assert run("account", "sign-out", EMAIL) == [f"{EMAIL} is signed out everywhere."]
    assert "characters" in fail("account", "password", EMAIL, "--password", "short")
    for command in ("suspend", "reactivate", "operator", "password", "sign-out", "limits"):
        assert "Nobody signs in" in fail("account", command, "nobody@example.com")


def test_a_key_is_issued_with_its_limits_alone_on_the_last_line(run: Run, account: int):
    run("model", "add", "gpt-4o", *("--input-price", "3", "--output-price", "12", "--context", "1000"))
    lines = run(
        *("key", "issue", EMAIL, "--name", "ci", "--rpm", "10", "--tpm", "20000", "--concurrency", "3"),
        *("--budget", "5", "--models", "gpt-4o", "--expires", "2999-01-01"),
    )
    caller = read_caller(lines[-1])
    assert caller
    assert (caller.account_id, caller.key_name) == (account, "ci")
    assert (caller.rpm, caller.tpm, caller.concurrency) == (10, 20_000, 3)
    assert caller.budget_total_nanos == 5_000_000_000
    assert caller.models == frozenset({"gpt-4o"})
    assert str(caller.expires_at) == "2999-01-01 00:00:00+00:00"


def test_an_expiry_without_an_offset_is_utc():
    assert read_moment("2999-01-01").isoformat() == "2999-01-01T00:00:00+00:00"
    assert read_moment("2999-01-01T10:00+02:00").isoformat() == "2999-01-01T10:00:00+02:00"


def test_a_key_with_nonsense_in_it_is_refused(account: int, fail: Fail):
    assert "ISO 8601" in fail("key", "issue", EMAIL, "--expires", "tomorrow")
    assert "budget" in fail("key", "issue", EMAIL, "--budget", "much")
    assert "--rpm" in fail("key", "issue", EMAIL, "--rpm", "many")
    assert "Nobody" in fail("key", "issue", "nobody@example.com")
    assert db.session.scalars(select(Key)).all() == []


@pytest.mark.parametrize("by_id", [True, False])
def test_a_key_is_revoked_by_itself_or_by_its_id(run: Run, fail: Fail, account: int, by_id: bool):
    secret = run("key", "issue", EMAIL)[-1]
    key = db.session.scalars(select(Key)).one()
    assert run("key", "revoke", str(key.id) if by_id else secret)[-1] == str(key.id)
    assert read_caller(secret) is None
    assert "no such key" in fail("key", "revoke", secret)


@pytest.mark.parametrize("name", ["sk-unknown", "7", "99999999999999999999", "%"])
def test_an_unknown_key_is_said_to_be_unknown(account: int, fail: Fail, name: str):
    assert "no such key" in fail("key", "revoke", name)


def test_a_channel_is_added_listed_disabled_enabled_and_removed(run: Run, fail: Fail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "sk-provider-4321")
    run("model", "add", "gpt-4o", *("--input-price", "3", "--output-price", "12", "--context", "1000"))
    lines = run(
        *("channel", "add", "main", "--provider", "openai", "--base-url", "https://x.example/v1"),
        *("--api-key-env", "MY_KEY", "--models", "gpt-4o=x/gpt", "--priority", "2", "--weight", "3"),
    )
    assert lines[-1] == "main"
    channel = find_channel("main")
    assert (channel.models, channel.priority, channel.weight) == ({"gpt-4o": "x/gpt"}, 2, 3)
    listing = "\n".join(run("channel", "list"))
    assert "…4321" in listing
    assert "sk-provider" not in listing
    assert "gpt-4o=x/gpt" in listing
    assert run("channel", "events", "main") == ["Nothing has happened to main in the last 30 days."]
    record_test("main", False, "Nothing answers.")
    assert run("channel", "events", "main")[1].split()[2:4] == ["tested", "-"]
    assert run("channel", "health", "main")[0] == "main: failing; its last call failed: Nothing answers."
    assert "failing" in run("channel", "list")[1]
    run("channel", "set", "main", "--always-on", "--no-probes")
    db.session.expire_all()
    assert (find_channel("main").always_on, find_channel("main").probes) == (True, False)
    assert "no channel" in fail("channel", "events", "other")
    run("channel", "disable", "main")
    assert "disabled" in run("channel", "list")[1]
    run("channel", "enable", "main")
    assert "enabled" in run("channel", "list")[1]
    run("channel", "remove", "main")
    assert db.session.scalars(select(Channel)).all() == []
    assert "no channel" in fail("channel", "remove", "main")


def test_a_channel_that_could_not_work_is_refused(fail: Fail):
    assert "NO_SUCH_KEY" in fail("channel", "add", "a", "--provider", "openai", "--api-key-env", "NO_SUCH_KEY")
    assert "providers are" in fail("channel", "add", "a", "--provider", "nobody", "--api-key", "k")
    assert "no model" in fail("channel", "add", "a", "--provider", "openai", "--api-key", "k", "--models", "x=y")
    assert "--provider" in fail("channel", "add", "a")


def test_a_channel_s_test_tells_what_came_of_it(app: Flask, run: Run, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def probe(*arguments: Any) -> ChannelTest:
        asked.append(arguments)
        return results.pop()

    monkeypatch.setattr(commands_channels, "probe_channel", probe)
    results = [ChannelTest(False, "m did not.", 12), ChannelTest(True, "m answered.", 12, "Hello.", Usage(3, 2))]
    said = ["m answered. 12 ms", "Hello.", "3 tokens in, 2 out; the model has no price yet."]
    assert run("channel", "test", "main", "--model", "m", "--stream", "--key", "9fQ2") == said
    result = call(app, "channel", "test", "main")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "m did not. 12 ms\n")
    assert asked == [("main", "m", True, "9fQ2"), ("main", None, False, "")]


PRICES = ["INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT"]


def test_a_model_is_added_named_and_listed(run: Run, fail: Fail):
    arguments = ("--input-price", "2.50", "--output-price", "10", "--cached-price", "1.25", "--context", "128000")
    assert run("model", "add", "new", *arguments, "--max-output", "8000")[-1] == "new"
    run("model", "alias", "best", "new")
    heading, line = run("model", "list")
    titles = ["SOURCE", "KINDS", "TAKES", "ALIASES", "NOTE"]
    assert heading.split() == ["MODEL", "PROVIDER", "STATUS", "CONTEXT", *PRICES, *titles]
    priced = ["2.50", "1.25", "2.50", "2.50", "10.00"]
    assert line.split() == ["new", "OpenAI", "unavailable", "128000", *priced, "operator", "chat", "text", "best", "-"]
    assert db.session.get_one(Model, "new").max_output_tokens == 8_000
    assert "already" in fail("model", "add", "new", *arguments)
    assert "no model" in fail("model", "alias", "other", "nothing")
    assert "dollars" in fail("model", "add", "x", "--input-price", "free", "--output-price", "1", "--context", "1")


CAPABLE = ("--takes", "image,text", "--image-tokens", "900", "--thinks", "--added-tokens", "40", "--wire", "chat")


def test_what_a_model_takes_and_does_is_said_when_it_is_added_and_later(run: Run, fail: Fail):
    def find() -> tuple[Any, ...]:
        row = db.session.get_one(Model, "new", populate_existing=True)
        return row.input_modalities, row.image_tokens, row.thinks, row.added_tokens, row.openai_wire

    run(*OFFER, *CAPABLE)
    assert find() == (["text", "image"], 900, True, 40, "chat")
    assert "text,image" in run("model", "list")[1]
    (said,) = run("model", "edit", "new", "--takes", "text", "--no-thinks", "--max-output", "4000", "--wire", "auto")
    assert said == "new takes text, 1000000 tokens with answers of up to 4000; it doesn't think."
    assert find() == (["text"], 900, False, 40, None)
    run("model", "edit", "new", "--context", "5000", "--name", "New", "--upstream", "theirs/new")
    row = db.session.get_one(Model, "new", populate_existing=True)
    assert (row.context_tokens, row.max_output_tokens, row.name, row.upstream_id) == (5000, 4000, "New", "theirs/new")
    assert "(--takes)" in fail("model", "edit", "new")
    assert "text among them" in fail("model", "edit", "new", "--takes", "image")
    assert "(max_output_tokens)" in fail("model", "edit", "new", "--context", "100")
    assert "(image_tokens)" in fail("model", "edit", "new", "--image-tokens", "5000")
    assert "auto, chat, responses" in fail("model", "edit", "new", "--wire", "telegraph")
    assert "no model" in fail("model", "edit", "nothing", "--thinks")


def test_what_a_model_s_cache_writes_cost_is_said_and_listed(run: Run, fail: Fail):
    arguments = ("--input-price", "3", "--output-price", "15", "--context", "128000")
    written = ("--cache-write-price", "3.75", "--cache-write-hour-price", "6")
    run("model", "add", "new", *arguments, *written)
    assert run("model", "list")[1].split()[4:9] == ["3.00", "3.00", "3.75", "6.00", "15.00"]
    assert "cache_write_price" in fail("model", "add", "x", *arguments, "--cache-write-price", "much")


OFFER = ("model", "add", "new", "--input-price", "3", "--output-price", "15", "--context", "1000000")


def test_a_price_is_a_new_version_that_says_what_it_replaces(run: Run):
    run(*OFFER)
    first = newest_prices()["new"].id
    heading, before, *after, said, last = run(
        *("price", "set", "new", "--input", "2.5", "--output", "10", "--cached", "0.000000001"),
        *("--cache-write-hour", "6", "--audio-in", "40", "--per-request", "0.01", "--source", "invoice"),
        *("--image-out", "30", "--per-picture", "0.04", "--per-picture-low", "0.01"),
        *("--tier", "200000:input=5,output=15,audio-in=50", "--cost-input", "2", "--cost-output", "8"),
        "--below-cost",
    )
    price = newest_prices()["new"]
    assert (price.id, price.source) == (int(last), "invoice")
    assert said == f"new has this price from now on; it replaces version {first}. Running requests keep theirs."
    base, longer = version_of(price).tiers
    assert (base.input, base.output, base.cached) == (2_500_000_000, 10_000_000_000, 1)
    assert (base.cache_write, base.cache_write_hour, base.audio_input) == (2_500_000_000, 6_000_000_000, 40 * 10**9)
    assert (base.cached_audio, base.reasoning, base.request) == (40 * 10**9, base.output, 10_000_000)
    assert (base.image_output, base.picture, base.picture_low, base.picture_medium) == (
        30 * 10**9,
        40_000_000,
        10_000_000,
        40_000_000,
    )
    assert (longer.above_tokens, longer.input, longer.audio_input, longer.request) == (
        200_000,
        5 * 10**9,
        50 * 10**9,
        0,
    )
    assert [costs.output for costs in version_of(price).costs] == [8 * 10**9]
    assert before.split()[:3] == [f"{first},", "before", "-"]
    assert [line.split()[-1] for line in (before, after[0])] == ["operator", "invoice"]
    assert len(after) == 3
    assert heading.split()[2:] == [*PRICES, "FURTHER", "SOURCE"]
    assert len(list_prices("new")) == 2


def test_a_price_to_come_leaves_the_one_in_effect(run: Run, fail: Fail):
    run(*OFFER)
    first = newest_prices()["new"].id
    said = run("price", "set", "new", "--input", "1", "--output", "2", "--from", "2999-01-01")[-2]
    assert said.startswith("new has this price from 2999-01-01 00:00 UTC on; ")
    assert newest_prices()["new"].id == first
    _, coming, current, markup = run("price", "list", "new")
    assert ", to come 2999-01-01 00:00" in coming
    assert ", in effect since 2" in current
    assert markup == "Markup: 0%"
    _, now, later = run("price", "list")
    assert now.split()[:3] == ["new", "-", "3.00"]
    assert later.split()[:6] == ["from", "2999-01-01", "00:00", "UTC", "-", "1.00"]
    assert run("model", "list")[2].split()[:3] == ["from", "2999-01-01", "1.00"]
    said = run("price", "set", "new", "--input", "4", "--output", "5")[-2]
    assert (
        said
        == f"Version {coming.split(',')[0]} replaces it from 2999-01-01 00:00 UTC; --from gives that moment another."
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--input", "1"), "Missing option '--output'"),
        (("--input", "much", "--output", "1"), "(--input)"),
        (("--input", "1", "--output", "2000000"), "(--output)"),
        (("--input", "1", "--output", "1", "--cache-write", "-1"), "(--cache-write)"),
        (("--input", "1", "--output", "1", "--tier", "long:input=1,output=1"), "A tier begins with tokens"),
        (("--input", "1", "--output", "1", "--tier", "9:inptu=1,output=1"), "'inptu' is none of input, output, cached"),
        (
            ("--input", "1", "--output", "1", "--tier", "9:input=1"),
            "This price is missing; 0 is free. (--tier 9:input=1",
        ),
        (("--input", "1", "--output", "1", "--cost-output", "1"), "This price is missing; 0 is free. (--cost-input)"),
        (("--input", "1", "--output", "1", "--cost-tier", "9:input=1,output=1"), "(--cost-input)"),
        (("--input", "1", "--output", "1", *["--tier", "9:input=1,output=1"] * 2), "tiers go up"),
        (("--input", "1", "--output", "1", "--from", "soon"), "(--from)"),
        (("--input", "1", "--output", "1", "--from", "2020-01-01"), "Leave --from out"),
    ],
)
def test_a_price_that_is_wrong_changes_nothing_and_names_its_option(
    run: Run, fail: Fail, wrong: tuple[str, ...], said: str
):
    run(*OFFER)
    assert said in fail("price", "set", "new", *wrong)
    assert len(list_prices("new")) == 1
    assert "no model" in fail("price", "set", "other", "--input", "1", "--output", "1")


def test_markups_of_models_and_accounts_are_changed_and_say_what_they_were(run: Run, fail: Fail, account: int):
    run(*OFFER)
    assert run("markup", "new", "12.5") == ["new has a markup of 12.5%; before it was 0%."]
    assert run("markup", "new", "-3") == ["new has a markup of -3%; before it was 12.5%."]
    own = "the models' own markups"
    assert run("account", "markup", EMAIL, "-5", "--below-cost") == [
        f"{EMAIL} pays a markup of -5%; before it was {own}."
    ]
    assert find_terms(account)[0] == -500
    assert run("account", "markup", EMAIL, "none") == [f"{EMAIL} pays {own}; before it was a markup of -5%."]
    assert find_terms(account)[0] is None
    assert "Give a percentage" in fail("markup", "new", "much")
    assert "at most two decimals" in fail("account", "markup", EMAIL, "0.001")
    assert "-100 to" in fail("markup", "new", "-101")
    assert "no model" in fail("markup", "other", "1")
    assert "PERCENT" in fail("markup", "new")


def test_the_catalogue_is_synced_once_and_compared(run: Run):
    assert "Model gpt-4o is added." in run("catalogue", "sync")
    assert run("catalogue", "sync") == ["Nothing is missing."]
    assert run("catalogue", "diff") == ["No price differs from its list price."]
    with db.session.begin_nested():
        db.session.get_one(Model, "gpt-4o").upstream_id = "gpt-4o-mini"
    db.session.commit()
    lines = run("catalogue", "diff")
    assert lines.pop().startswith("gpt-4o is asked for as gpt-4o-mini, by the list it is gpt-4o: ")
    assert [line.split()[:6] for line in lines] == [
        ["MODEL", *PRICES],
        ["gpt-4o", "2.50", "1.25", "2.50", "2.50", "10.00"],
        ["gpt-4o", "0.15", "0.075", "0.15", "0.15", "0.60"],
    ]


def test_a_price_file_of_the_operator_s_is_compared_synced_and_adopted(run: Run, fail: Fail, tmp_path: Path):
    file = tmp_path / "prices.toml"
    named = ("--file", str(file))
    file.write_text('[local.models.house]\ncontext = 8_000\nprice = ["1", "1", "2"]\n')
    assert run("catalogue", "diff", *named) == [
        "No price differs from its list price.",
        "Missing, and added by `catalogue sync`: house.",
    ]
    assert run("catalogue", "sync", *named)[0] == "Model house is added."
    file.write_text('[local.models.house]\ncontext = 8_000\nprice = ["3", "1", "4"]\n')
    _, ours, theirs = run("catalogue", "diff", *named)
    assert (ours.split()[1], theirs.split()[1], theirs.split()[-1]) == ("1.00", "3.00", "prices.toml")
    assert run("catalogue", "sync", *named) == ["Nothing is missing."]
    (line,) = run("catalogue", "sync", *named, "--adopt-prices")
    assert line == "Model house: $1.00 in, $2.00 out becomes $3.00 in, $4.00 out, by prices.toml."
    file.write_text("[local.models.house]\ncontext = 9\nprice = []\n")
    assert "prices.toml: local.models.house.price has to be" in fail("catalogue", "diff", *named)
    file.write_text("house\n")
    assert "line 1" in fail("catalogue", "sync", *named)
    assert "No such file" in fail("catalogue", "sync", "--file", str(tmp_path / "nothing"))


def test_a_name_that_its_maker_has_retired_is_told_with_the_command_that_mends_it(run: Run):
    run("catalogue", "sync")
    run("model", "edit", "o4-mini", "--upstream", "o4-mini", "--note", "")
    remedy = 'model edit o4-mini --upstream gpt-5.6-terra --note "Retired by its maker; served by gpt-5.6-terra"'
    said = f"o4-mini is asked for as o4-mini, by the list it is gpt-5.6-terra: `{remedy}`."
    assert said in run("catalogue", "diff")
    run(*shlex.split(remedy))
    row = db.session.get_one(Model, "o4-mini", populate_existing=True)
    assert (row.upstream_id, row.note) == ("gpt-5.6-terra", "Retired by its maker; served by gpt-5.6-terra")
    assert run("catalogue", "diff") == ["No price differs from its list price."]


def test_the_ledger_is_checked_and_a_difference_exits_with_1(app: Flask, run: Run, account: int):
    run("account", "credit", EMAIL, "1")
    assert "exact" in run("ledger", "check")[0]
    db.session.get_one(Balance, account).balance_nanos += 1
    db.session.commit()
    result = call(app, "ledger", "check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "0.000000001" in result.stderr


def test_every_charge_is_worked_out_again_or_those_of_some_days(app: Flask, run: Run, account: int):
    record = add_record(account, ago=datetime.timedelta(days=3), charge_nanos=3_000_001, loss_nanos=0)
    balance = db.session.get_one(Balance, account)
    balance.balance_nanos, balance.debt_nanos = -3_000_001, 3_000_001
    db.session.commit()
    assert "exact" in run("ledger", "check", "--days", "2")[0]
    for days in ((), ("--days", "4")):
        result = call(app, "ledger", "check", *days)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"account {account}: 1 request charged wrongly, first {record.request_id}" in result.stderr


def test_the_ledger_is_exported_as_one_json_object_a_line(run: Run, account: int):
    run("account", "credit", EMAIL, "1.5")
    records = [json.loads(line) for line in run("ledger", "export")]
    assert [record["type"] for record in records] == ["credit", "balance"]
    assert records[0]["amount_nanos"] == records[1]["balance_nanos"] == 1_500_000_000
    assert {record["account"] for record in records} == {EMAIL}


def test_rotation_seals_provider_keys_under_the_newest_master_key(run: Run, app: Flask):
    run("channel", "add", "main", "--provider", "openai", "--api-key", "sk-provider")
    old, new = app.config["BRIDGE"].fernet_keys, Fernet.generate_key().decode()
    vault.open_vault([new, old])
    assert run("vault", "rotate")[0] == "Sealed 1 provider key under the newest master key."
    vault.open_vault([new])
    db.session.expire_all()
    assert vault.unseal(str(find_channel("main").sealed_key)) == "sk-provider"


def test_rotation_keeps_what_clients_may_still_ask_for(
    run: Run, app: Flask, account: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(vault, "MOST_AT_ONCE", 2)
    conversation = [{"role": "user", "content": "Hello!"}]
    calls = [f"call_{number:020}" for number in range(3)]
    keep_reasoning(account, dict.fromkeys(calls, "because"), list_turns(conversation))
    claim = Claim(account, "order-1", "req_1")
    claim_key(claim, "print", stream=False, seconds=60)
    keep_answer(claim, seal_answer(b"the answer"))
    claim_key(Claim(account, "order-2", "req_2"), "print", stream=False, seconds=60)  # still running
    old, new = app.config["BRIDGE"].fernet_keys, Fernet.generate_key().decode()
    vault.open_vault([Fernet.generate_key().decode()])
    keep_reasoning(account, {"call_lost_long_ago_12345": "nobody opens it"}, list_turns(conversation))
    vault.open_vault([new, old])
    assert run("vault", "rotate")[1] == "Sealed likewise what is kept for a day: answers 1, reasoning 3."
    vault.open_vault([new])
    again = claim_key(Claim(account, "order-1", "req_3"), "print", stream=False, seconds=60)
    assert again is not None
    assert again.body == b"the answer"
    turn = {"role": "assistant", "tool_calls": [{"id": call} for call in calls]}
    assert recall_reasoning(account, list_turns([*conversation, turn])) == dict.fromkeys(calls, "because")


def test_rotation_without_the_old_master_key_changes_nothing(run: Run, fail: Fail):
    run("channel", "add", "main", "--provider", "openai", "--api-key", "sk-provider")
    before = find_channel("main").sealed_key
    vault.open_vault([Fernet.generate_key().decode()])
    assert "FERNET_KEYS" in fail("vault", "rotate")
    db.session.expire_all()
    assert find_channel("main").sealed_key == before


def test_a_database_that_is_not_there_is_one_line(app: Flask, fail: Fail):
    db.drop_all()
    assert "database" in fail("account", "show", EMAIL)


def test_a_missing_argument_is_one_line_with_the_usage(fail: Fail):
    assert "EMAIL" in fail("account", "show")
    assert "Usage: " in fail("account", "show")
    assert "No such command" in fail("account", "nonsense")


def test_a_channel_is_set_and_a_model_and_an_account_find_their_order_and_group(run: Run, fail: Fail):
    run("model", "add", "gpt-4o", *("--input-price", "3", "--output-price", "12", "--context", "1000"))
    run("channel", "add", "main", "--provider", "openai", "--api-key", "sk-k", "--groups", "a,b", "--cost", "80")
    run("channel", "set", "main", "--rpm", "60", "--concurrency", "4", "--priority", "7")
    channel = find_channel("main")
    assert (channel.groups, channel.cost_bps, channel.priority, channel.weight) == (["a", "b"], 8000, 7, 1)
    listed = run("channel", "list")[1]
    assert "80%" in listed
    assert "60/-/4" in listed
    assert "a, b" in listed
    run("channel", "set", "main", "--rpm", "0", "--groups", "")
    assert (find_channel("main").rpm, find_channel("main").groups, find_channel("main").concurrency) == (None, None, 4)
    run("channel", "set", "main", "--pass-fields", "chat_template_kwargs, their.own")
    assert find_channel("main").pass_fields == ["chat_template_kwargs", "their.own"]
    assert "chat_template_kwargs, their.own" in run("channel", "list")[1]
    for field in ("service_tier", "n_predict", "api_base", "kv_transfer_params", "model"):
        assert f"{field} can't be let through" in fail("channel", "set", "main", "--pass-fields", f"own,{field}")
    run("channel", "set", "main", "--pass-fields", "")
    assert find_channel("main").pass_fields is None
    assert "Nothing was given" in fail("channel", "set", "main")
    assert "two decimal" in fail("channel", "set", "main", "--cost", "1.234")
    run("model", "order", "gpt-4o", "cost")
    assert db.session.get_one(Model, "gpt-4o").route_order == "cost"
    assert "weight, cost, latency" in fail("model", "order", "gpt-4o", "luck")
    run("model", "wire", "gpt-4o", "responses")
    assert db.session.get_one(Model, "gpt-4o").openai_wire == "responses"
    assert "auto, chat, responses" in fail("model", "wire", "gpt-4o", "telegraph")
    run("model", "wire", "gpt-4o", "auto")
    assert db.session.get_one(Model, "gpt-4o").openai_wire is None
    run("model", "added", "gpt-4o", "500")
    assert db.session.get_one(Model, "gpt-4o").added_tokens == 500
    assert "from 0 to 999" in fail("model", "added", "gpt-4o", "1000")
    run("model", "kinds", "gpt-4o", "completions, chat")
    assert db.session.get_one(Model, "gpt-4o").kinds == ["chat", "completions"]
    assert "chat, embeddings, completions" in fail("model", "kinds", "gpt-4o", "pictures")
    run("model", "kinds", "gpt-4o", "embeddings")
    assert db.session.get_one(Model, "gpt-4o").max_output_tokens == 0
    run("model", "kinds", "gpt-4o", "chat")
    assert db.session.get_one(Model, "gpt-4o").max_output_tokens == 1000
    run("model", "add", "my-vectors", "--kinds", "embeddings", "--input-price", "0.01", "--context", "512")
    assert db.session.get_one(Model, "my-vectors").kinds == ["embeddings"]
    assert "--output-price" in fail("model", "add", "talks", "--input-price", "0.01", "--context", "512")
    run("model", "patience", "gpt-4o", "2")
    assert db.session.get_one(Model, "gpt-4o").first_content_timeout_seconds == 2
    assert "from 1 to" in fail("model", "patience", "gpt-4o", "100000")
    assert "default" in fail("model", "patience", "gpt-4o", "long")
    run("model", "patience", "gpt-4o", "default")
    assert db.session.get_one(Model, "gpt-4o").first_content_timeout_seconds is None
    run("account", "create", EMAIL, "--password", "correct horse battery")
    run("account", "group", EMAIL, "partners")
    assert any(line.split() == ["Group:", "partners"] for line in run("account", "show", EMAIL))


def test_what_sells_below_cost_is_asked_for_once_more_by_every_command(run: Run, fail: Fail):
    run(*OFFER)
    low, costs = ("--input", "1", "--output", "9"), ("--cost-input", "2", "--cost-output", "8")
    asked = fail("price", "set", "new", *low, *costs)
    assert "new, input: customers pay $1.00, it costs $2.00" in asked
    assert "--below-cost" in asked
    assert "below cost" in fail("price", "set", "new", *low, *costs, "--from", "2999-01-01")
    assert len(list_prices("new")) == 1
    run("price", "set", "new", *low, *costs, "--below-cost")
    run("price", "set", "new", "--input", "2.1", "--output", "9", *costs)
    assert "$1.89, it costs $2.00" in fail("markup", "new", "-10")
    run("markup", "new", "-10", "--below-cost")
    run("account", "create", "low@example.com")
    assert "this account pays" in fail("account", "markup", "low@example.com", "-5")
    run("account", "markup", "low@example.com", "5")
    run("account", "markup", "low@example.com", "none")
    listed = ("model", "add", "gpt-4o", "--input-price", "0.25", "--output-price", "1", "--context", "128000")
    assert "gpt-4o, input: customers pay $0.25, it costs $2.50" in fail(*listed)
    assert run(*listed, "--below-cost")[-1] == "gpt-4o"
