"""Attacks by number: a catalogue of thousands that is read anew, and lists of thousands."""

import secrets
from typing import Any

import gevent
import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.catalogue.tables import Channel, Model, Price
from bridge.db import transaction
from bridge.versions import bump
from tests.attack.arena import Arena
from tests.attack.attacks import Found, attack, expect
from tests.attack.wire import ask, bearer

MODELS, CHANNELS, MORE_MODELS, KEYS = 1360, 2536, 3000, 5000
MODELS_EACH = 20  # of a channel
PART = 500  # rows of one statement
PREFIX = "many-"
MOST_PAGE_BYTES = 500_000


def insert(arena: Arena, table: type, rows: list[dict[str, Any]]) -> None:
    """In parts, so that it is the gateway that has to work and not this process."""
    for start in range(0, len(rows), PART):
        with arena.make.app.app_context(), transaction() as session:
            session.execute(sa.insert(table), rows[start : start + PART])
        gevent.sleep(0.02)


def announce(arena: Arena) -> None:
    """Tell the workers that the catalogue has changed; return when they may have read it."""
    with arena.make.app.app_context(), transaction():
        bump("catalogue")
    gevent.sleep(2.5)


def add_models(arena: Arena, first: int, last: int) -> list[str]:
    names = [f"{PREFIX}{number}" for number in range(first, last)]
    sizes = {"context_tokens": 32_768, "max_output_tokens": 4096}
    insert(
        arena, Model, [{"id": name, "name": name, "provider": "local", "upstream_id": name, **sizes} for name in names]
    )
    kinds = ("input", "cached", "cache_write", "cache_write_hour", "output")
    price = {f"{kind}_nanos_per_mtok": 10**9 for kind in kinds} | {"source": "operator"}
    insert(arena, Price, [{"model_id": name, **price} for name in names])
    return names


def add_channels(arena: Arena, models: list[str], count: int) -> None:
    rows = []
    for number in range(count):
        chosen = [models[(number * 7 + step) % len(models)] for step in range(min(MODELS_EACH, len(models)))]
        channel = {"name": f"{PREFIX}{number}", "provider": "openai", "base_url": arena.other_url}
        rows.append({**channel, "models": dict.fromkeys(chosen, "spacious"), "priority": number % 5})
    insert(arena, Channel, rows)


def remove_all(arena: Arena) -> None:
    """What these attacks have put into the catalogue."""
    with arena.make.app.app_context(), transaction() as session:
        session.execute(sa.delete(Channel).where(Channel.name.startswith(PREFIX)))
        session.execute(sa.delete(Model).where(Model.id.startswith(PREFIX)))


@attack("a catalogue of thousands", "1,360 models and 2,536 channels, read anew three times", quick=True)
def reload_catalogue(arena: Arena) -> Found:
    models = add_models(arena, 0, arena.few(MODELS, 300))
    add_channels(arena, models, arena.few(CHANNELS, 600))
    for _ in range(arena.few(3, 1)):
        announce(arena)
    answer = ask(arena.port, "GET", f"/v1/models/{models[0]}", bearer(arena.new_key().secret))
    return {str(answer.status): 1}, [] if answer.status == 200 else ["the new catalogue is not served"]


@attack("/v1/models of thousands", "3,000 models, listed again and again")
def list_models(arena: Arena) -> Found:
    models = add_models(arena, MODELS, MORE_MODELS)
    add_channels_for_all(arena, models)
    announce(arena)
    key = arena.new_key().secret
    answers = arena.send("get", paths=["/v1/models"], headers=bearer(key), count=12)
    first = ask(arena.port, "GET", "/v1/models", bearer(key))
    again = ask(arena.port, "GET", "/v1/models", {**bearer(key), "If-None-Match": first.headers.get("etag", "")})
    wrong = [] if again.status == 304 else [f"asked again, with its tag, it was {again.status}"]
    remove_all(arena)
    announce(arena)
    return answers, wrong + expect(answers, "200")


def add_channels_for_all(arena: Arena, models: list[str]) -> None:
    channel = {"name": f"{PREFIX}all", "provider": "openai", "base_url": arena.other_url}
    insert(arena, Channel, [{**channel, "models": dict.fromkeys(models, "spacious")}])


@attack("pages of thousands of keys", "the pages of an account with 5,000 keys")
def list_keys(arena: Arena) -> Found:
    account = arena.make.make_account()
    row = {"account_id": account.id, "last_four": "abcd"}
    keys = [{**row, "name": f"key {number}", "digest": secrets.token_bytes(32)} for number in range(KEYS)]
    insert(arena, Key, keys)
    browser = arena.sign_in(account, "203.0.113.17")
    headers = {**browser.headers, "Cookie": browser.cookie}
    paths = ["/dashboard/keys", "/dashboard/", "/dashboard/usage"]
    answers = arena.send("get", paths=paths, headers=headers, count=6)
    sizes = {path: browser.get(path).length for path in paths}
    wrong = [f"{path} has {size} bytes" for path, size in sizes.items() if size > MOST_PAGE_BYTES]
    return answers, wrong + expect(answers, "200")
