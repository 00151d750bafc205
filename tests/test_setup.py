"""`make run`: what it sets up, what it prints, and that doing it again is harmless."""

import html
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import requests
from flask import Flask

from app import create_app
from bridge.accounts.key_search import find_any_key
from bridge.accounts.keys import read_caller
from bridge.accounts.sign_in import SignInRefused, hash_password, sign_in
from bridge.accounts.tables import Member
from bridge.config import Settings, read_settings
from bridge.db import db, transaction
from bridge.ledger.ledger import find_balance
from bridge.ops.demo import CREDIT_NANOS, prepare_demo
from bridge.ops.env_file import load_env_file, write_env_file
from bridge.providers import COMPANIES
from tests.factories import Factories, MadeKey
from tests.gateway import LOOK_SECONDS, START_SECONDS, STOP_SECONDS, as_environment
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.services import Databases
from tests.upstream import ScriptedUpstream, free_port, says
from tests.warm import ROOT

PROMISED = ("Dashboard: ", "Sign in: ", "Operator: ", "Base URL: ", "API key: ", "curl ")


@pytest.fixture
def rooms(settings: Settings) -> Iterator[Flask]:
    app = open_rooms(settings)
    with app.app_context():
        yield app
    close_rooms(app)


@pytest.mark.usefixtures("rooms")
def test_the_demo_can_sign_in_and_pay(settings: Settings):
    demo = prepare_demo(settings)
    member, operator = sign_in(demo.email, demo.password), sign_in(demo.operator_email, demo.operator_password)
    assert (member.is_operator, operator.is_operator) == (False, True)
    caller = read_caller(demo.api_key)
    assert caller is not None
    assert caller.account_id == member.account_id
    assert find_balance(member.account_id).balance_nanos == CREDIT_NANOS


@pytest.mark.usefixtures("rooms")
def test_setting_up_twice_changes_nothing(settings: Settings):
    first = prepare_demo(settings)
    assert prepare_demo(settings) == first
    assert find_balance(sign_in(first.email, first.password).account_id).balance_nanos == CREDIT_NANOS


def test_what_is_printed_works_whatever_was_changed(rooms: Flask, settings: Settings):
    first = prepare_demo(settings)
    key = find_any_key(first.api_key)
    with transaction() as session:
        session.execute(db.update(Member).values(password_hash=hash_password("another password")))
    Factories(rooms).revoke_key(MadeKey(key.id, key.account_id, first.api_key))
    second = prepare_demo(settings)
    assert sign_in(second.email, second.password)
    assert read_caller(second.api_key)
    with pytest.raises(SignInRefused):
        sign_in(second.email, "another password")


@pytest.mark.usefixtures("rooms")
def test_what_the_demo_keeps_is_for_its_owner_only(settings: Settings):
    prepare_demo(settings)
    assert stat.S_IMODE((settings.data_path / "demo.json").stat().st_mode) == 0o600


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of our settings, and what a test loads is gone afterwards."""
    for name in ("BRIDGE_ENV", "SECRET_KEY", "FERNET_KEYS", "FLASK_SKIP_DOTENV"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("clean_environment")
def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path):
    path = tmp_path / ".env"
    assert write_env_file(path)
    made = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not write_env_file(path)
    assert path.read_text() == made
    load_env_file(path)
    assert read_settings(COMPANIES).development


@pytest.mark.usefixtures("clean_environment")
def test_the_environment_counts_more_than_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_env_file(tmp_path / ".env")
    monkeypatch.setenv("SECRET_KEY", "from the environment")
    load_env_file(tmp_path / ".env")
    assert os.environ["SECRET_KEY"] == "from the environment"
    assert os.environ["BRIDGE_ENV"] == "development"


class Run:
    """`make run` without the installing."""

    def __init__(self, folder: Path, port: int, log: Path, **environ: str):
        settings = as_environment(make_settings(folder, port=port))
        self._log = log
        command = [sys.executable, "-m", "bridge.ops.setup"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, env={**settings, **environ}, stdout=file, stderr=file)

    def printed(self) -> list[str]:
        """The lines that it promises, once the last is there."""
        for _ in range(round(START_SECONDS / LOOK_SECONDS)):
            lines = [line for line in self.all_lines() if line.startswith(PROMISED)]
            if len(lines) == len(PROMISED):
                return lines
            assert self.process.poll() is None, self.all_lines()
            gevent.sleep(LOOK_SECONDS)
        raise AssertionError(self.all_lines())

    def all_lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(STOP_SECONDS)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts it, on the same data each time."""
    started: list[Run] = []

    def run(port: int, **environ: str) -> Run:
        started.append(Run(tmp_path / "data", port, tmp_path / f"log-{len(started)}", **environ))
        return started[-1]

    yield run
    for each in started:
        each.stop()


def test_the_printed_curl_is_answered_and_a_second_run_prints_the_same(run: Callable[..., Run]):
    port = free_port()
    first = run(port)
    lines = first.printed()
    assert [line.split(" ")[0] for line in lines] == ["Dashboard:", "Sign", "Operator:", "Base", "API", "curl"]
    answer = subprocess.run(["bash", "-c", lines[-1]], capture_output=True, text=True, check=True)
    assert "[sandbox]" in answer.stdout
    first.stop()
    assert run(port).printed() == lines


def test_the_sandbox_steps_aside_for_a_provider_s_key_and_serves_again_once_it_is_gone(run: Callable[..., Run]):
    port = free_port()
    upstream = ScriptedUpstream()
    upstream.plays(says("Real"))
    said = []
    for environ in ({}, {"OPENAI_API_KEY": "sk-made-up", "OPENAI_BASE_URL": upstream.base_url}, {}):
        started = run(port, **environ)
        first_call = started.printed()[-1]
        answer = subprocess.run(["bash", "-c", first_call], capture_output=True, text=True, check=True)
        said.append(json.loads(answer.stdout)["choices"][0]["message"]["content"])
        started.stop()
    upstream.close()
    assert (said[0].startswith("[sandbox]"), said[1], said[2]) == (True, "Real", said[0])
    assert "Channel openai-env is disabled: its key has left the environment." in started.all_lines()


@pytest.mark.parametrize(("credit", "model"), [("5", "gpt-4o"), ("0", "sandbox-echo")])
def test_a_newcomer_makes_the_call_that_the_page_of_their_key_shows(run: Callable[..., Run], credit: str, model: str):
    port = free_port()
    run(port, SIGNUP_CREDIT=credit).printed()
    site = f"http://127.0.0.1:{port}"
    with requests.Session() as browser:
        browser.trust_env = False

        def send(path: str, page: str, **fields: str) -> str:
            token = re.findall(r'name="csrf_token" value="([^"]+)"', browser.get(site + page).text)[0]
            answer = browser.post(site + path, {**fields, "csrf_token": token}, headers={"Origin": site})
            assert answer.status_code == 200, answer.text
            return answer.text

        send("/sign-up", "/sign-up", email="new@example.com", password="four words and more")
        page = send("/dashboard/keys", "/dashboard/keys/new", name="first")
    shown = re.findall(r'<pre[^>]* aria-label="curl"><code>(.*?)</code>', page, re.DOTALL)[0]
    call = html.unescape(re.sub(r"<[^>]+>", "", shown))
    assert f'"model":"{model}"' in call
    answer = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=True)
    assert "[sandbox]" in answer.stdout


def test_what_is_set_for_other_programs_changes_nothing(run: Callable[..., Run], tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    started = run(
        free_port(),
        GUNICORN_CMD_ARGS="--bind 127.0.0.1:1 --workers 3 --chdir /nowhere",
        FLASK_APP="nothing",
        FLASK_DEBUG="1",
        FLASK_RUN_PORT="1",
        VIRTUAL_ENV="/nowhere",
        HOME=str(home),
        LANG="C",
        LC_ALL="C",
        TZ="Pacific/Kiritimati",
        PYTHONWARNINGS="error",
        HTTP_PROXY="http://127.0.0.1:1",
        REQUESTS_CA_BUNDLE="/nowhere",
        PGHOST="nowhere",
    )
    call = started.printed()[-1].replace("curl ", "curl --noproxy '*' ", 1)
    answer = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=True)
    assert "[sandbox]" in answer.stdout


def test_no_variable_shows_what_breaks(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    app = create_app(make_settings(tmp_path, database_url=databases.open("sqlite")))
    debugs = [one.debug for one in (app, app.extensions["bridge_api"])]
    close_rooms(app)
    assert debugs == [False, False]


def test_a_taken_port_is_one_line(run: Callable[..., Run]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = run(port)
        assert busy.process.wait(START_SECONDS) == 1
        assert busy.all_lines() == [f"127.0.0.1:{port} is taken. Choose another port: PORT={port + 1} make run"]


def test_wrong_settings_are_a_line_each(run: Callable[..., Run]):
    wrong = run(free_port(), SECRET_KEY="short", SIGNUP="maybe", WEB_CONCURRENCY="abc")
    assert wrong.process.wait(START_SECONDS) == 1
    assert sorted(line.split(" ")[0] for line in wrong.all_lines()) == ["SECRET_KEY", "SIGNUP", "WEB_CONCURRENCY"]


def test_a_database_that_is_away_is_one_line(run: Callable[..., Run]):
    away = run(free_port(), DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert away.process.wait(START_SECONDS) == 1
    (line,) = away.all_lines()
    assert line.startswith("The database can't be used: ")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the installing script and a lock file; on its PATH, only the tools that the script needs."""
    for folder in ("scripts", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "scripts" / "install.sh", tmp_path / "scripts")
    (tmp_path / "lock.txt").write_text("one\n")
    for tool in ("bash", "dirname", "sha256sum", "cut", "cat", "env", "mkdir", "cp", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


def put_python(checkout: Path, *, venv: bool = True) -> None:
    """A python that makes a venv by copying itself."""
    python = checkout / "bin" / "python3.11"
    python.write_text(
        "#!/usr/bin/env bash\n"
        f'echo "$@" >>{checkout}/calls\n'
        f'[[ "$*" == *ensurepip* ]] && exit {0 if venv else 1}\n'
        f'[[ "$*" == "-m venv .venv" ]] && mkdir -p .venv/bin && cp {python} .venv/bin/python\n'
        "exit 0\n"
    )
    python.chmod(0o755)


def install(checkout: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["scripts/install.sh", "lock.txt"],
        cwd=checkout,
        env={"PATH": str(checkout / "bin"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def count_installs(checkout: Path) -> int:
    return (checkout / "calls").read_text().count("pip install")


def test_packages_are_installed_only_when_the_lock_has_changed(checkout: Path):
    put_python(checkout)
    assert install(checkout).returncode == 0
    assert install(checkout).stdout == ""
    assert count_installs(checkout) == 1
    (checkout / "lock.txt").write_text("two\n")
    assert install(checkout).returncode == 0
    assert count_installs(checkout) == 2


def test_what_is_set_for_another_python_or_pip_is_not_minded(checkout: Path):
    put_python(checkout)
    python = checkout / "bin" / "python3.11"
    python.write_text(python.read_text().replace('echo "$@"', 'echo "$@" $(env | grep -E "^(PIP|PYTHON)" | sort)'))
    (checkout / "bin" / "grep").symlink_to(str(shutil.which("grep")))
    (checkout / "bin" / "sort").symlink_to(str(shutil.which("sort")))
    other = {"PYTHONPATH": "/elsewhere", "PYTHONHOME": "/nowhere", "PIP_USER": "1", "PIP_TARGET": "/there"}
    assert install(checkout, **other, PIP_INDEX_URL="https://mirror.example/simple").returncode == 0
    calls = (checkout / "calls").read_text()
    assert "PIP_INDEX_URL=https://mirror.example/simple" in calls
    assert not any(name in calls for name in other)


def test_a_mac_has_shasum_instead(checkout: Path):
    (checkout / "bin" / "sha256sum").unlink()
    shasum = checkout / "bin" / "shasum"
    shasum.write_text(f'#!/usr/bin/env bash\nexec {shutil.which("sha256sum")} "$3"\n')
    shasum.chmod(0o755)
    put_python(checkout)
    assert install(checkout).returncode == install(checkout).returncode == 0
    assert count_installs(checkout) == 1


def test_a_missing_python_is_one_line_that_names_its_package(checkout: Path):
    result = install(checkout)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "Missing system package: python3 (3.11 or newer). Install it: apt-get install python3 python3-venv"
    ]


def test_a_missing_venv_is_one_line_that_names_its_package(checkout: Path):
    put_python(checkout, venv=False)
    result = install(checkout)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "Missing system package: python3-venv. Install it: apt-get install python3-venv"
    ]
