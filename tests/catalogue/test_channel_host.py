"""A channel's secrets go to the host that they were given for, and to no other because an address was changed."""

import pytest
from flask import Flask

from bridge.catalogue.channel_keys import add_key
from bridge.catalogue.channel_wire import read_wire
from bridge.catalogue.editing import add_channel, find_channel, update_channel
from bridge.errors import InvalidRequest

HOST, OTHER = "https://api.example.com/v1", "https://other.example/v1"


@pytest.fixture(autouse=True)
def _inside(app: Flask):
    with app.app_context():
        yield


def make(name: str, base_url: str | None = HOST, **further: object) -> str:
    given = {"base_url": base_url, "api_key": "sk-of-this-host", "models": None, **further}
    add_channel(name, "openai", **given)  # type: ignore[arg-type]
    return name


def refuses(param: str, name: str, **fields: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        update_channel(name, **fields)
    assert refused.value.param == param
    assert "sk-" not in refused.value.message


def test_the_path_may_change_and_the_host_only_with_its_key():
    name = make("moving")
    assert update_channel(name, base_url="https://API.example.com:443/v2").base_url == "https://API.example.com:443/v2"
    refuses("api_key", name, base_url=OTHER)
    refuses("api_key", name, base_url=None)
    assert update_channel(name, base_url=OTHER, api_key="sk-of-the-other").base_url == OTHER


def test_a_channel_loses_its_key_sooner_than_it_tells_it():
    name = make("without")
    assert update_channel(name, base_url="https://keyless.example/v1", api_key=None).sealed_key is None
    assert update_channel(name, base_url=OTHER).base_url == OTHER


@pytest.mark.parametrize("stays", [None, {"x-team": "…"}])
def test_secret_headers_are_typed_again_too(stays: dict[str, str] | None):
    name = make("heads", headers={"x-team": "secret of the team", "user-agent": "bridge", "api-key": "{key}"})
    kept = {} if stays is None else {"headers": {**stays, "api-key": "{key}", "user-agent": "bridge"}}
    refuses("headers", name, base_url=OTHER, api_key="sk-of-the-other", **kept)
    typed = {"X-Team": "secret of the team", "api-key": "{key}"}
    update_channel(name, base_url=OTHER, api_key="sk-of-the-other", headers=typed)
    assert read_wire(find_channel(name).sealed_wire).headers["x-team"] == "secret of the team"


def test_the_query_s_secrets_too():
    name = make("asks", query={"code": "secret of the query", "api-version": "2024-10-21"})
    refuses("query", name, base_url=OTHER, api_key="sk-of-the-other")
    update_channel(name, base_url=OTHER, api_key="sk-of-the-other", query={"api-version": "2024-10-21"})


def test_several_keys_stay_with_their_host():
    name = make("several")
    add_key(name, "sk-second-of-this-host")
    refuses("base_url", name, base_url=OTHER)
    update_channel(name, base_url="https://api.example.com/v3")


def test_a_proxy_that_reads_plain_http_is_a_host_too():
    name = make("proxied", "http://api.example.com/v1")
    refuses("api_key", name, proxy="http://reader.example:3128")
    refuses("api_key", make("sealed"), base_url="http://api.example.com/v1")
    sealed = make("tunnelled")
    assert update_channel(sealed, proxy="http://proxy.example:3128").name == sealed
