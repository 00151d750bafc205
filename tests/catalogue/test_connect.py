"""Channels from the environment, the sandbox, and a model server on this machine."""

import json
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from gevent.pywsgi import WSGIServer
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bridge import vault, versions
from bridge.catalogue import connect
from bridge.catalogue.connect import connect_environment, connect_local_upstreams
from bridge.catalogue.editing import find_channel, set_channel_enabled, update_channel
from bridge.catalogue.listing import list_models
from bridge.catalogue.tables import Channel, Model
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.errors import MisconfiguredError

OPENAI = {"OPENAI_API_KEY": "sk-provider-1234"}


def version() -> int:
    versions.poll(db.engine)
    return versions.number("catalogue")


def test_a_credential_in_the_environment_becomes_a_channel_with_a_sealed_key(settings: Settings):
    connect_environment(settings, {**OPENAI, "OPENAI_BASE_URL": "https://proxy.example/v1"})
    channel = find_channel("openai-env")
    assert (channel.provider, channel.base_url, channel.models) == ("openai", "https://proxy.example/v1", None)
    assert channel.enabled
    assert channel.key_last_four == "1234"
    assert "provider" not in str(channel.sealed_key)
    assert vault.unseal(str(channel.sealed_key)) == "sk-provider-1234"


def test_connecting_again_writes_nothing(settings: Settings):
    connect_environment(settings, OPENAI)
    before = version(), find_channel("openai-env").sealed_key
    assert connect_environment(settings, OPENAI) == []
    assert (version(), find_channel("openai-env").sealed_key) == before


def test_a_changed_key_or_address_is_taken_over(settings: Settings):
    connect_environment(settings, OPENAI)
    update_channel("openai-env", priority=7)
    connect_environment(settings, {"OPENAI_API_KEY": "sk-other-5678", "OPENAI_BASE_URL": "https://b.example"})
    channel = find_channel("openai-env")
    assert (vault.unseal(str(channel.sealed_key)), channel.base_url) == ("sk-other-5678", "https://b.example")
    assert channel.priority == 7
    connect_environment(settings, {"OPENAI_API_KEY": "sk-other-5678"})
    assert find_channel("openai-env").base_url is None


def test_a_credential_that_is_gone_disables_its_channel_and_one_that_comes_back_enables_it(settings: Settings):
    connect_environment(settings, OPENAI)
    connect_environment(settings, {})
    assert connect_environment(settings, {}) == []
    channel = find_channel("openai-env")
    assert (channel.enabled, channel.sealed_key, channel.key_last_four) == (False, None, None)
    connect_environment(settings, OPENAI)
    assert find_channel("openai-env").enabled


def test_a_process_that_comes_second_looks_again(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def lose_the_race(secret: str) -> str:
        monkeypatch.setattr(vault, "seal", seal)
        raise IntegrityError("INSERT", {}, ValueError("the name is taken"))

    seal = vault.seal
    monkeypatch.setattr(vault, "seal", lose_the_race)
    connect_environment(settings, OPENAI)
    names = db.session.scalars(select(Channel.name).order_by(Channel.name)).all()
    assert names == ["openai-env", "sandbox"]


def test_what_the_operator_disabled_stays_disabled(settings: Settings):
    connect_environment(settings, OPENAI)
    set_channel_enabled("openai-env", False)
    assert connect_environment(settings, OPENAI) == []
    connect_environment(settings, {"OPENAI_API_KEY": "sk-other-5678"})
    assert not find_channel("openai-env").enabled


def test_a_channel_of_the_operator_s_own_is_left_alone(settings: Settings):
    with transaction() as session:
        session.add(Channel(name="openai-env", provider="openai", base_url="https://mine.example"))
    connect_environment(settings, OPENAI)
    assert find_channel("openai-env").base_url == "https://mine.example"
    assert find_channel("openai-env").sealed_key is None


def test_a_wrong_master_key_stops_the_start(settings: Settings):
    connect_environment(settings, OPENAI)
    vault.open_vault(["b" * 43 + "="])
    with pytest.raises(MisconfiguredError, match="FERNET_KEYS"):
        connect_environment(settings, OPENAI)


def test_development_has_a_sandbox_and_production_switches_it_off(settings: Settings, production: Flask):
    with production.app_context():
        connect_environment(settings, {})
        assert find_channel("sandbox").enabled
        connect_environment(production.config["BRIDGE"], {})
        assert not find_channel("sandbox").enabled


def test_a_sandbox_that_the_operator_disabled_stays_disabled(settings: Settings):
    connect_environment(settings, {})
    set_channel_enabled("sandbox", False)
    assert connect_environment(settings, {}) == []
    assert not find_channel("sandbox").enabled


Serve = Callable[[str, bytes], str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server on loopback that answers GET /v1/models, and names it as one we look for."""
    servers = []
    monkeypatch.setattr(connect, "LOCAL_SERVERS", {})
    monkeypatch.setattr(connect, "PROBE_SECONDS", 10)

    def start(name: str, body: bytes) -> str:
        def answer(environ, start_response):
            start_response("200 OK" if environ["PATH_INFO"] == "/v1/models" else "404 Not Found", [])
            return [body]

        server = WSGIServer(("127.0.0.1", 0), answer, log=None)
        server.start()
        servers.append(server)
        base_url = f"http://127.0.0.1:{server.server_port}/v1"
        connect.LOCAL_SERVERS[name] = base_url
        return base_url

    yield start
    for server in servers:
        server.stop()


def models_body(*ids: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": id_} for id_ in ids]}).encode()


def test_a_model_server_on_this_machine_is_connected_at_no_price(settings: Settings, serve: Serve):
    base_url = serve("ollama", models_body("qwen3:0.6b", "gemma3:270m"))
    connect_local_upstreams(settings)
    channel = find_channel("ollama")
    assert channel.base_url == base_url
    assert channel.models == {"qwen3:0.6b": "qwen3:0.6b", "gemma3:270m": "gemma3:270m"}
    assert {(model.id, model.output_nanos_per_mtok, model.status) for model in list_models()} == {
        ("qwen3:0.6b", 0, "live"),
        ("gemma3:270m", 0, "live"),
    }
    assert connect_local_upstreams(settings) == []


def test_a_local_server_takes_no_name_that_is_taken(settings: Settings, serve: Serve):
    with transaction() as session:
        session.add(
            Model(id="gpt-4o", name="", provider="openai", upstream_id="gpt-4o", context_tokens=1, max_output_tokens=1)
        )
    serve("llama-cpp", models_body("gpt-4o", "tiny", "not a name", "../etc"))
    connect_local_upstreams(settings)
    assert find_channel("llama-cpp").models == {"tiny": "tiny"}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 3}', b'{"data": [{}]}', b'{"data": []}'])
def test_a_server_that_is_something_else_is_left_alone(settings: Settings, serve: Serve, body: bytes):
    serve("llama-cpp", body)
    assert connect_local_upstreams(settings) == []
    assert db.session.scalars(select(Channel)).all() == []


def test_production_looks_for_no_local_server(production: Flask, serve: Serve):
    serve("ollama", models_body("tiny"))
    assert connect_local_upstreams(production.config["BRIDGE"]) == []
