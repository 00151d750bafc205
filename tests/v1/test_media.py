"""Images, audio and files that no provider may get: recognised by their URL or their bytes, before any hold."""

import base64
import ipaddress
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from bridge.v1.media import MAX_ADDRESS, is_base64, is_public_address
from tests.played import Caller, Providers
from tests.replies import Reply
from tests.v1.test_providers_sdk import MODELS, PIXEL

PUBLIC = [
    "https://example.com/a.png",
    "HTTP://Example.COM:8443/a.png?x=1#y",
    "https://example.com.",
    "https://my_bucket.s3.amazonaws.com/a%20b.png",
    "https://münchen.de/a.png",
    "https://8.8.8.8/a.png",
    "https://[2606:4700:4700::1111]:443/a.png",
    "https://127.0.0.1.example.com/a.png",
]
PRIVATE = [
    "http://127.0.0.1/",
    "http://127.0.0.1./a.png",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F.1/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://10.1.2.3/",
    "http://172.31.0.1:8080/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00::1]:80/",
    "http://localhost:8000/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "http://metadata.google.internal/",
    "http://redis:6379/",
    "http://user@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://%31%32%37.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
    "http://127.0.0.1\u00ad/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://08.1.1.1/",
    "http://example.com:99999999/",
    "http:///a.png",
    "http://",
    "https://example.com/" + "a" * MAX_ADDRESS,
    " https://example.com/",
    "https://exa mple.com/",
    "https://example.com/\n",
]
OTHER_SCHEMES = ["ftp://example.com/a.png", "file:///etc/passwd", "gs://bucket/a.png", "ms://file-1", "//example.com/a"]
NO_PICTURES = [
    "data:image/png;base64,",
    "data:image/png;base64,!!!!",
    "data:image/png;base64,AAAAA",
    "data:image/png;base64,A===",
    "data:image/png,AAAA",
    "data:text/plain;base64,AAAA",
    "data:application/pdf;base64,AAAA",
    "data:;base64,AAAA",
    "data:text/html,<p>",
    "AAAA",
]


def show(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]


def picture(url: str) -> list[dict[str, Any]]:
    return show({"type": "image_url", "image_url": {"url": url}})


def post(caller: Caller, **body: Any) -> requests.Response:
    url = f"{caller.gateway.base_url}/chat/completions"
    return requests.post(url, json=body, headers=caller.key.headers, timeout=60)


def refused(providers: Providers, caller: Caller, provider: str, messages: Any, **more: Any) -> dict[str, Any]:
    """The error of a request that holds nothing and goes nowhere."""
    providers[provider].answers(Reply("Hello."))
    answer = post(caller, model=MODELS[provider], messages=messages, **more)
    assert answer.status_code == 400
    assert providers[provider].requests == []
    make = caller.gateway.make
    assert (make.list_usage(caller.key.account_id), make.count_holds(caller.key.account_id)) == ([], 0)
    found: dict[str, Any] = answer.json()["error"]
    return found


@pytest.mark.parametrize("url", PUBLIC)
def test_an_address_that_anybody_can_open_is_one(url: str):
    assert is_public_address(url)


@pytest.mark.parametrize("url", [*PRIVATE, *OTHER_SCHEMES])
def test_an_address_of_the_reader_s_own_is_none_however_it_is_spelt(url: str):
    assert not is_public_address(url)


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("url", [PRIVATE[3], PRIVATE[16], OTHER_SCHEMES[1], NO_PICTURES[1], NO_PICTURES[5]])
def test_such_a_picture_is_refused_before_any_hold(
    provider: str, stream: bool, url: str, providers: Providers, caller: Caller
):
    error = refused(providers, caller, provider, picture(url), stream=stream)
    if provider == "deepseek":  # which takes no pictures at all
        assert error["param"].startswith("messages[0].content[1]")
    else:
        assert (error["code"], error["param"]) == ("invalid_image", "messages[0].content[1].image_url.url")
        assert "data:image/png;base64" in error["message"]


@pytest.mark.parametrize("url", [*PRIVATE, *OTHER_SCHEMES, *NO_PICTURES])
def test_no_such_picture_gets_through_the_door(url: str, providers: Providers, caller: Caller):
    error = refused(providers, caller, "openai", picture(url))
    assert (error["code"], error["param"]) == ("invalid_image", "messages[0].content[1].image_url.url")


def test_a_tool_s_picture_is_looked_at_too(providers: Providers, caller: Caller):
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url", "image_url": {"url": PRIVATE[0]}}]},
    ]
    error = refused(providers, caller, "openai", messages)
    assert (error["code"], error["param"]) == ("invalid_image", "messages[2].content[0].image_url.url")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        f"data:image/png;base64,{PIXEL}",
        f"DATA:IMAGE/PNG;x=y;base64,{PIXEL[:40]}\n{PIXEL[40:]}",
        f"data:;base64,{PIXEL}",
    ],
)
def test_other_pictures_go_on(url: str, providers: Providers, caller: Caller):
    providers["openai"].answers(Reply("A dot."))
    assert post(caller, model=MODELS["openai"], messages=picture(url)).status_code == 200
    assert providers["openai"].sent[-1]["messages"] == picture(url)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {"data": "!!", "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "http://10.0.0.1/", "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": 3, "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "input_audio.format"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "../wav"}}, "input_audio.format"),
        ({"type": "file", "file": {}}, "file.file_data"),
        ({"type": "file", "file": {"file_data": "http://10.0.0.1/a.pdf"}}, "file.file_data"),
        ({"type": "file", "file": {"file_data": "data:application/pdf,AAAA"}}, "file.file_data"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,?"}}, "file.file_data"),
    ],
)
def test_sounds_and_files_have_to_be_base64(part: dict[str, Any], param: str, providers: Providers, caller: Caller):
    error = refused(providers, caller, "gemini", show(part))
    assert (error["code"], error["param"]) == ("invalid_value", f"messages[0].content[1].{param}")


# whatever is spelt

ADDRESSES = st.ip_addresses(v=4)


def _number(value: int, base: int) -> str:
    return {8: f"0{value:o}", 10: str(value), 16: f"0x{value:x}"}[base]


@st.composite
def spelt(draw: st.DrawFn, address: ipaddress.IPv4Address) -> str:
    """One of the ways in which readers of addresses take this one."""
    packed, shown = int(address), draw(st.integers(1, 4))
    parts = [packed >> (24 - 8 * place) & 255 for place in range(shown - 1)]
    parts.append(packed & (2 ** (8 * (5 - shown)) - 1))
    text = ".".join(_number(part, draw(st.sampled_from([8, 10, 16]))) for part in parts)
    embedded = [f"[::ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]"]
    escaped = "".join(f"%{ord(sign):x}" for sign in text)
    return draw(st.sampled_from([text, f"{text}.", text.upper(), escaped, *embedded]))


@given(ADDRESSES.flatmap(lambda address: st.tuples(st.just(address), spelt(address))))
def test_an_address_is_judged_by_what_it_is_and_not_by_how_it_is_spelt(found: tuple[ipaddress.IPv4Address, str]):
    address, text = found
    public = address.is_global and not address.is_multicast and not address.is_reserved
    assert is_public_address(f"http://{text}/a.png") == public


@given(st.text(max_size=30))
def test_no_text_is_an_address_by_accident(text: str):
    assert isinstance(is_public_address(f"http://{text}"), bool)
    assert not is_public_address(text) or text.lower().startswith(("http://", "https://"))


@given(st.binary(min_size=1, max_size=40), st.integers(0, 5), st.booleans())
def test_base64_is_found_out(data: bytes, place: int, padded: bool):
    text = base64.b64encode(data).decode()
    text = text if padded else text.rstrip("=")
    assert is_base64(text, 0)
    assert is_base64(f"data,{text}\n", 5)
    assert not is_base64(text[:place] + "?" + text[place:], 0)
    assert not is_base64(text[:place] + "=" + text[place:] + "A", 0)


def test_a_long_one_is_looked_at_to_its_end():
    assert is_base64("A" * (3 * 2**20), 0)
    assert not is_base64("A" * (2**20) + "-" + "A" * (2**20 + 3), 0)
    assert not is_base64("A" * (2**20 - 1) + "=" + "A" * 2**20, 0)
