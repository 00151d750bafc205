"""The README keeps its word: each command in it is run, here, by another test or by CI, and no link is dead."""

import base64
import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.config import Settings
from bridge.dashboard import snippets
from bridge.db import db, transaction
from bridge.ledger.tables import Balance
from bridge.ops.demo import prepare_demo
from bridge.payments.plan_tables import Subscription
from bridge.payments.tables import Payment
from bridge.settings_problems import list_problems
from tests.gateway import Gateway, as_environment
from tests.ledger.orders import Ledger, order_charge, order_hold
from tests.rooms import make_settings
from tests.upstream import ScriptedUpstream, says

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BASE_URL, KEY = "http://127.0.0.1:8000/v1", "YOUR_API_KEY"
FLASK = ".venv/bin/flask --app wsgi "
VLLM = "http://127.0.0.1:8001/v1"
MAX_PICTURE_BYTES = 200_000

# What runs each `make` target that the README names.
MAKE_RUN_BY = {
    "run": ".ci/run",
    "test": ".ci/run",
    "lint": ".ci/run",
    "types": ".ci/run",
    "bench": ".ci/run",
    "bench-compare": ".ci/run",
    "profile": ".ci/run",
    "audit": ".ci/run",
    "soak": ".ci/run",
    "attack": ".ci/run",
    "screenshots": ".ci/run",
    "clients": ".ci/run",
    "model": ".ci/run",
    "stop-model": ".ci/run",
}


def list_blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def list_commands(text: str = README) -> list[str]:
    """Every command of the sh blocks, a continued one on one line."""
    lines = "".join(list_blocks("sh", text)).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


def list_make_targets(text: str = README) -> set[str]:
    """The targets of `make` in sh blocks and in running text, `PORT=8001 make run` too."""
    spans = [*list_commands(text), *re.findall(r"`([^`\n]+)`", text)]
    words = [[word for word in span.split() if "=" not in word] for span in spans if re.search(r"\bmake \w", span)]
    return {target for command in words if command[0] == "make" for target in command[1:2]}


def runner_of(command: str) -> str:
    """The test here that runs this command, or the file that runs its `make` target; "" for none."""
    if command.startswith(FLASK):
        return "test_every_flask_command_works_in_the_order_of_the_readme"
    if command.startswith("python3 -c "):
        return "test_the_secrets_that_it_makes_are_good_enough_for_production"
    if command.startswith("curl "):
        return "test_the_curl_is_answered"
    targets = list_make_targets(f"`{command}`")
    return MAKE_RUN_BY.get(targets.pop(), "") if targets else ""


def test_every_command_has_somebody_who_runs_it():
    commands = list_commands()
    assert commands
    assert [command for command in commands if not runner_of(command)] == []
    runners = {runner for command in commands if not (runner := runner_of(command)).endswith((".py", "run"))}
    assert runners <= set(globals())


def test_a_new_command_without_a_runner_is_found():
    assert list_commands("```sh\nmake bench\napt \\\n  install it\n```\n") == ["make bench", "apt    install it"]
    assert [runner_of(command) for command in ("apt install it", "make nothing")] == ["", ""]
    assert list_make_targets('`PORT=8001 make run` or `make test ARGS="-k x"`; `make` alone') == {"run", "test"}


@pytest.mark.parametrize("target", sorted(list_make_targets()))
def test_every_make_target_exists_and_is_run(target: str):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = (ROOT / MAKE_RUN_BY[target]).read_text()
    assert re.search(rf"make {target}\b(?!-)|\"make\", \"{target}\"", text)


@ON_SQLITE
def test_every_flask_command_works_in_the_order_of_the_readme(
    app: Flask, settings: Settings, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    for number, key in (("", "sk-first-9fQ2"), ("_2", "sk-second-aa3R"), ("_3", "sk-third-Lm04")):
        monkeypatch.setenv(f"AZURE_KEY{number}", key)
    commands = [command for command in list_commands() if command.startswith(FLASK)]
    upstream.plays(says("Hello."))
    with app.app_context():
        prepare_demo(settings)  # what `make run` leaves behind
    for command in commands:
        if " account refund " in command:
            serve(app, re.findall(r"req_[0-9a-f]{32}", command)[0])
        if " payment " in command:
            prepare_payments(app, re.findall(r"pay_[0-9a-f]{32}", README), re.findall(r"\bpi_\w+", README)[0])
        if " plan end " in command:
            subscribe(app, re.findall(r"sbs_[0-9a-f]{32}", command)[0])
        arguments = shlex.split(command.removeprefix(FLASK).replace(VLLM, upstream.base_url))
        result = app.test_cli_runner().invoke(args=arguments)
        assert (result.exit_code, result.stderr) == (0, ""), (command, result.output)


def prepare_payments(app: Flask, payment_ids: list[str], intent: str) -> None:
    """The payments that the README ends, for which less came than was asked for."""
    with app.app_context(), transaction() as session:
        for payment_id in sorted({*payment_ids}):
            if session.get(Payment, payment_id) is None:
                values = {"kind": "checkout", "amount_minor": 2000, "currency": "usd", "credit_nanos": 20_000_000_000}
                values |= {"state": "review", "paid_minor": 1500, "paid_currency": "usd"}
                linked = intent if payment_id == payment_ids[0] else f"{intent}2"
                session.add(Payment(id=payment_id, account_id=1, payment_intent=linked, **values))


def subscribe(app: Flask, subscription_id: str) -> None:
    """The subscription that the README ends, to its first plan."""
    with app.app_context(), transaction() as session:
        session.add(Subscription(id=subscription_id, account_id=1, plan_id=1, state="active", made_by="a test"))


def serve(app: Flask, request_id: str) -> None:
    """A request of the first account with money, paid for."""
    ledger = Ledger(app)
    with app.app_context():
        account_id = db.session.scalars(sa.select(Balance.account_id).order_by(Balance.account_id)).first()
    assert account_id is not None
    hold = order_hold(account_id, 30, request_id=request_id)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, 25))
    ledger.close()


@pytest.fixture
def scratch(tmp_path: Path) -> Settings:
    """Settings of a gateway whose database isn't there yet."""
    return make_settings(tmp_path)


def test_the_release_line_makes_a_database_from_nothing(scratch: Settings):
    release, _web = list_blocks("procfile")[0].splitlines()
    command = release.removeprefix("release: ").replace("flask ", f"{sys.executable} -m flask ")
    subprocess.run(command, shell=True, cwd=ROOT, env=as_environment(scratch), check=True, capture_output=True)
    assert (scratch.data_path / "bridge.db").stat().st_size > 0


def test_the_procfile_is_the_one_that_platforms_read():
    assert list_blocks("procfile") == [(ROOT / "Procfile").read_text()]


@ON_SQLITE
def test_the_web_line_is_what_tests_are_served_by(gateway: Gateway):
    _release, web = list_blocks("procfile")[0].splitlines()
    assert gateway.process.args[2:] == shlex.split(web.removeprefix("web: "))  # type: ignore[index]


def test_the_secrets_that_it_makes_are_good_enough_for_production():
    made = []
    for command in list_commands():
        if command.startswith("python3 -c "):
            arguments = [sys.executable, *shlex.split(command)[1:]]
            made.append(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip())
    secret, fernet_key = made
    assert len(base64.urlsafe_b64decode(fernet_key)) == 32
    production = Settings(secret_key=secret, fernet_keys=fernet_key)
    assert [line.split()[0] for line in list_problems(production)] == ["DATABASE_URL", "PUBLIC_BASE_URL"]


def first_requests() -> Iterator[tuple[str, str]]:
    for label, language in (("Python", "python"), ("Node", "javascript"), ("curl", "sh")):
        yield label, next(block for block in list_blocks(language) if BASE_URL in block)


@ON_SQLITE
def test_its_first_requests_are_those_of_the_pages(app: Flask):
    pages = {snippet.label: snippet.code for snippet in read_snippets(app)}
    assert dict(first_requests()) == pages


def read_snippets(app: Flask) -> list[snippets.Snippet]:
    with app.app_context():
        app.config["BRIDGE"] = dataclasses.replace(app.config["BRIDGE"], port=8000)
        return snippets.quick_start(KEY)


@ON_SQLITE
def test_the_curl_is_answered(gateway: Gateway):
    code = dict(first_requests())["curl"]
    assert '"content":"[sandbox]' in run_first_request(["sh", "-c"], code, gateway)


@ON_SQLITE
def test_the_python_is_answered(gateway: Gateway):
    code = dict(first_requests())["Python"]
    assert run_first_request([sys.executable, "-c"], code, gateway).startswith("[sandbox]")


def run_first_request(command: list[str], code: str, gateway: Gateway) -> str:
    code = code.replace(BASE_URL, gateway.base_url).replace(KEY, gateway.make.make_key().secret)
    done = subprocess.run([*command, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pictures_are_there_and_light():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        data = (ROOT / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < MAX_PICTURE_BYTES, picture


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_architecture_names_every_file_and_none_that_is_gone():
    named = set(re.findall(r"`(bridge/[\w/]+\.py)`", (ROOT / "docs/architecture.md").read_text()))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "bridge").rglob("*.py") if path.name != "__init__.py"}
    assert there - named == set()
    assert named - there - {"bridge/v1/__init__.py", "bridge/providers/__init__.py"} == set()


def test_the_architecture_has_one_row_for_each_file():
    rows = re.findall(
        r"^\| ((?:`bridge/[\w/]+\.py`(?:, )?)+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    named = [name for row in rows for name in row.split(", ")]
    assert named
    assert sorted({name for name in named if named.count(name) > 1}) == []


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path):
    named = re.findall(r"`((?:bridge|tests|templates|scripts|migrations|docs|bench)/[\w./-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
