"""What a setting may be: whatever is wrong is named at start, all at once, and nothing of it that is secret."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Settings, read_settings
from bridge.database_url import read_database_url
from bridge.errors import MisconfiguredError
from bridge.providers import COMPANIES
from tests.rooms import FERNET_KEY, SECRET_KEY
from tests.warm import ROOT

GOOD = {
    "SECRET_KEY": SECRET_KEY,
    "FERNET_KEYS": FERNET_KEY,
    "DATABASE_URL": "postgresql://bridge@127.0.0.1/bridge",
    "PUBLIC_BASE_URL": "https://gateway.example",
}
PASSWORD = "s3cretpw"


def list_problems(**changes: str) -> list[str]:
    try:
        read_settings(COMPANIES, GOOD | changes)
    except MisconfiguredError as error:
        return error.problems
    return []


def test_a_production_gateway_needs_four_settings() -> None:
    assert list_problems() == []


WRONG = {
    "DATABASE_URL": [
        '"postgresql://bridge@127.0.0.1/bridge"',
        f"bridge:{PASSWORD}@db/bridge",
        f"postgresql://bridge:{PASSWORD}@db:54x2/bridge",
        f"postgresql://bridge:{PASSWORD}@db:0/bridge",
        f"postgresql://bridge:{PASSWORD}@db:70000/bridge",
        f"postgresql://bridge:{PASSWORD}#1@db/bridge",
        f"postgresql://bridge:{PASSWORD}/x@db/bridge",
        f"mysql://bridge:{PASSWORD}@db/bridge",
        f"mysql+pymysql://bridge:{PASSWORD}@db/bridge",
        f"jdbc:postgresql://bridge:{PASSWORD}@db/bridge",
        f"postgresql://bridge:{PASSWORD}@db/bridge?schema=other",
        f"postgresql://bridge:{PASSWORD}@db/bridge?nonsense={PASSWORD}",
        f"postgresql://bridge:{PASSWORD}@db/bridge?ssl=perhaps",
        f"postgresql://bridge:{PASSWORD}@db/bridge?options=-csearch_path%3Dx",
        "sqlite:///bridge.db",
    ],
    "REDIS_URL": [
        f"default:{PASSWORD}@host:6379",
        f"reddis://:{PASSWORD}@host:6379",
        f"http://:{PASSWORD}@host:6379",
        f"redis://:{PASSWORD}@host:63x9",
        f"redis://:{PASSWORD}@/0",
        f"redis://:{PASSWORD}@host:6379/name",
        f"redis://:{PASSWORD}#@host:6379/0",
        f"'redis://:{PASSWORD}@host:6379/0'",
    ],
    "WEB_CONCURRENCY": ["auto", "0", "-1", "2.5", "1e3"],
    "PORT": ["70000", "0", "-1", "http", "8000/tcp"],
    "BIND": ["127.0.0.1:8000", "0.0.0.0:80", "[::1]:8000", "http://127.0.0.1", "unix:"],
    "DEFAULT_RPM": ["-2", "many", "nan"],
    "DEFAULT_TPM": ["-5", "1.5"],
    "DEFAULT_CONCURRENCY": ["-3"],
    "TOTAL_TIMEOUT_SECONDS": ["nan", "inf", "-1", "0", "1e9", "soon"],
    "CONNECT_TIMEOUT_SECONDS": ["nan", "-inf", "0"],
    "VERSION_POLL_SECONDS": ["0", "nan"],
    "UPSTREAM_PROXY": ["socks4://proxy:1080", "proxy:3128", "https://proxy", "http://"],
    "UPSTREAM_CA_CERT": ["/nowhere/ca.pem", "-----BEGIN CERTIFICATE-----"],
    "PUBLIC_BASE_URL": ["gw.example", "https://", "https://gw.example/v1", "ftp://gw.example", "https://gw example"],
    "LOG_LEVEL": ["verbose", "trace"],
    "SIGNUP": ["maybe"],
    "SIGNUP_CREDIT": ["-5", "five", "nan"],
    "TRUST_PROXY": ["-1", "true", "all"],
    "ALLOW_PRIVATE_UPSTREAMS": ["perhaps", "2"],
    "SMTP_PORT": ["0", "66000"],
    "NIGHTLY_HOUR": ["24", "-1"],
    "MAX_BODY_BYTES": ["0", "-1", "32MB"],
    "MAX_IN_FLIGHT": ["-1"],
    "MAX_RESUME_BYTES": ["-1", "256MB"],
    "RESUME_SECONDS": ["0", "inf"],
    "STRIPE_API_BASE": ["localhost:12111"],
    "DATABASE_CONNECTIONS": ["2"],
    "BRIDGE_ENV": ["staging"],
    "TOP_UP_CURRENCY": ["xyz"],
    "OPENAI_API_KEY": ['"sk-abc"', "sk-a sk-b", "sk-ключ"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_wrong_is_one_sentence_that_names_the_setting_and_hides_its_value(name: str, value: str) -> None:
    found = list_problems(**{name: value})
    assert len(found) == 1, found
    assert found[0].startswith(name)
    assert found[0].endswith((".", ")"))
    assert PASSWORD not in found[0]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    first = {name: values[0] for name, values in WRONG.items() if name != "BRIDGE_ENV"}
    names = [line.partition(" ")[0] for line in list_problems(**first)]
    assert sorted(names) == sorted(first)


def test_the_start_says_it_in_lines_and_prints_no_secret(tmp_path: Path) -> None:
    wrong = {"REDIS_URL": f"default:{PASSWORD}@host:6379", "DATABASE_URL": f"mysql://b:{PASSWORD}@db/b", "PORT": "auto"}
    environ = {"PATH": os.environ["PATH"], "FLASK_SKIP_DOTENV": "1", "DATA_DIR": str(tmp_path), **GOOD, **wrong}
    for command in (
        ["gunicorn", "-c", "python:bridge.ops.gunicorn", "wsgi:app"],
        ["bridge.ops.setup"],
        ["flask", "--app", "wsgi", "db", "upgrade"],
        ["flask", "--app", "wsgi", "account", "show", "ada@example.com"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, command
        lines = (done.stdout + done.stderr).splitlines()
        assert sorted(line.partition(" ")[0] for line in lines) == ["DATABASE_URL", "PORT", "REDIS_URL"], lines
        assert PASSWORD not in "".join(lines)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("POSTGRES://u:p@h:5433/d", "postgresql+psycopg://u:p@h:5433/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d?ssl=true", "postgresql+psycopg://u:p@h/d?sslmode=require"),
        ("postgresql://u:p@h/d?sslmode=verify-full", "postgresql+psycopg://u:p@h/d?sslmode=verify-full"),
        ("postgresql://u:p@h/d?schema=public&connection_limit=5", "postgresql+psycopg://u:p@h/d"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql+psycopg:///d?host=%2Fvar%2Frun%2Fpostgresql"),
        ("postgresql://u:p%40%23@[::1]:5432/d", "postgresql+psycopg://u:p%40%23@[::1]:5432/d"),
        ("postgresql://u:p@h", "postgresql+psycopg://u:p@h/"),
    ],
)
def test_addresses_of_other_tools_are_understood(given: str, wanted: str) -> None:
    found, is_pooled = read_database_url(given)
    assert (found, is_pooled) == (wanted, False)
    assert sa.make_url(found).get_backend_name() == "postgresql"
    assert list_problems(DATABASE_URL=given) == []


def test_an_address_that_speaks_of_a_pooler_is_heard() -> None:
    assert read_database_url("postgresql://u@h/d?pgbouncer=true") == ("postgresql+psycopg://u@h/d", True)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_no_address_makes_the_reading_raise_anything_but_its_sentence(text: str) -> None:
    for url in (text, f"postgresql://{text}", f"redis://{text}", f"postgresql://u:p@h/d?{text}"):
        found = list_problems(DATABASE_URL=url) + list_problems(REDIS_URL=url)
        assert all(line.startswith(("DATABASE_URL", "REDIS_URL")) for line in found)


@pytest.mark.parametrize("name", ["DEFAULT_RPM", "DEFAULT_TPM", "DEFAULT_CONCURRENCY"])
def test_minus_one_is_no_limit_as_elsewhere(name: str) -> None:
    assert getattr(read_settings(COMPANIES, GOOD | {name: "-1"}), name.lower()) == 0


def test_words_may_be_written_in_capitals_and_flags_in_words() -> None:
    settings = read_settings(
        COMPANIES, GOOD | {"LOG_LEVEL": "WARNING", "SIGNUP": "Open", "ALLOW_PRIVATE_UPSTREAMS": "Yes"}
    )
    assert (settings.log_level, settings.signup, settings.allow_private_upstreams) == ("warning", "open", True)


@pytest.mark.parametrize(
    "secret",
    [
        "change-me-change-me-change-me-change-me",
        "CHANGE_ME_TO_A_LONG_RANDOM_STRING_PLEASE",
        "your-very-long-and-random-secret-key-here",
        "insecure-development-key-do-not-use-this",
        "0" * 48,
        "abababababababababababababababababab",
        "replace this with 32 random characters!",
    ],
)
def test_sample_secrets_are_refused_in_every_form(secret: str) -> None:
    assert [line.partition(" ")[0] for line in list_problems(SECRET_KEY=secret)] == ["SECRET_KEY"]


@pytest.mark.parametrize(
    "key", ["A" * 43 + "=", "AAAABBBBAAAABBBBAAAABBBBAAAABBBBAAAABBBBAAA=", "not-a-key", "aGVsbG8="]
)
def test_sample_master_keys_are_refused(key: str) -> None:
    assert [line.partition(" ")[0] for line in list_problems(FERNET_KEYS=key)] == ["FERNET_KEYS"]


def test_a_master_key_that_a_person_made_up_still_opens_what_it_has_sealed() -> None:
    """Refusing it would lose what is stored; `flask vault rotate` is the way to a better one."""
    assert not list_problems(FERNET_KEYS=base64.urlsafe_b64encode(b"gateway-gateway-gateway-gateway-").decode())


def test_every_setting_has_a_rule_or_may_be_any_text() -> None:
    """A new number can't be forgotten: without a rule it would be taken whatever it is."""
    from bridge.settings_rules import find_problem

    for name, kind in Settings.__annotations__.items():
        if kind in (int, float, "int", "float"):
            assert find_problem(name, float("inf") if "float" in str(kind) else 10**30), name


@pytest.mark.parametrize("asked", [[], ["channel"], ["account", "credit"]])
def test_help_needs_no_setting(asked: list[str]) -> None:
    environ = {"PATH": os.environ["PATH"], "FLASK_SKIP_DOTENV": "1"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *asked, "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = "account" if not asked else "add" if len(asked) == 1 else "--note"
    assert wanted in done.stdout
