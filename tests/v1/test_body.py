"""A body reads the same everywhere, or is refused with 400: never half understood, never a crash."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dialects.chat.request import ChatRequest
from bridge.errors import InvalidRequest
from bridge.v1 import body as reading
from bridge.v1.body import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_EXPONENTS,
    MAX_KEYS,
    MAX_VALUES,
    convert,
    count_separators,
    find_messages,
    read_object,
)
from tests.conversations import converse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)
MESSAGE = {"role": "user", "content": "Hi"}


@given(OBJECTS, VALUES, st.booleans(), st.booleans())
def test_the_messages_that_are_passed_on_are_those_that_were_read(
    more: dict[str, Any], messages: Any, ascii_only: bool, escaped: bool
):
    data = json.dumps({**more, "messages": messages, "model": "m"}, ensure_ascii=ascii_only, indent=1).encode()
    if escaped:
        data = data.replace(b'"messages"', b'"mess\\u0061ges"')
    body, _ = read_object(data)
    assert msgspec.json.decode(msgspec.json.encode(find_messages(data))) == body["messages"]


def refuse(data: bytes) -> str:
    """The message that refuses these bytes."""
    with pytest.raises(InvalidRequest) as refused:
        read_object(data)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    refused.value.body()  # it can be told
    return refused.value.message


def try_to(read: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns, or the refusal."""
    try:
        return read(*arguments)
    except InvalidRequest as refused:
        return refused


def read_strictly(data: bytes) -> Any:
    """How the standard library reads the body, without what it allows beyond JSON."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def number(text: str) -> float:
        assert float(text) not in (float("inf"), float("-inf"))
        return float(text)

    return json.loads(data.decode(), object_pairs_hook=unique, parse_constant=lambda _: 1 / 0, parse_float=number)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_every_json_object_is_read_as_the_standard_library_reads_it(value: dict, ascii_only: bool, indent: int | None):
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert read_object(data)[0] == json.loads(data)


@given(OBJECTS, st.data())
def test_a_damaged_body_is_refused_or_still_read_as_everyone_does(value: dict, draw: st.DataObject):
    data = bytearray(json.dumps(value, ensure_ascii=draw.draw(st.booleans())).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data)))
        data[place : place + draw.draw(st.integers(0, 3))] = draw.draw(
            st.sampled_from(
                [b"", b'"', b"{", b"}", b"[", b",", b":", b"\\", b"\\u003a", b"\\ud800", b"\xff", b"0", b"NaN"]
            )
        )
    body = try_to(read_object, bytes(data))
    if isinstance(body, InvalidRequest):
        assert body.code == "invalid_json"
    else:
        assert body[0] == read_strictly(bytes(data))


@given(st.binary(max_size=80) | TEXT.map(str.encode))
def test_rubbish_is_refused_with_400(data: bytes):
    body = try_to(read_object, data)
    assert isinstance(body, tuple) or (body.status, body.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"[]",
        b"null",
        b'"text"',
        b"17",
        b"{} {}",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":"\x01"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes):
    refuse(data)


@pytest.mark.parametrize("key", ["a", "€", "", "a:b", 'quo"te', "back\\slash", "line\nend"])
@pytest.mark.parametrize("frame", ['{"x":[%s]}', '{"x":{"y":%s}}', "%s", '{"%%":"\\u003a","z":[1,%s]}'])
def test_a_key_may_be_named_once(key: str, frame: str):
    once = json.dumps(key)
    twice = f'{{{once}:{{"inner":":"}},"other:":2,{once}:3}}'
    assert "twice" in refuse((frame % twice).encode())
    read_object((frame % f'{{{once}:1,"other:":2}}').encode())


def test_a_key_spelt_with_escapes_is_the_same_key():
    assert "twice" in refuse(rb'{"model":1,"m\u006fdel":2}')
    assert "twice" in refuse(rb'{"a:b":1,"a\u003ab":2}')
    assert read_object(rb'{"a:b":1,"a\\u003ab":2}')[0] == {"a:b": 1, "a\\u003ab": 2}


def nest(kinds: str, inner: str = "") -> bytes:
    """Brackets of these kinds, from the outside in."""
    opening = "".join('{"a":' if kind == "{" else "[" for kind in kinds)
    closing = "".join("}" if kind == "{" else "]" for kind in reversed(kinds))
    return (opening + (inner or "1") + closing).encode()


@given(st.text("{[", min_size=MAX_DEPTH - 1, max_size=MAX_DEPTH + 70), st.sampled_from(["1", '"]}\\"[{"', '"\\\\"']))
def test_a_body_is_at_most_64_levels_deep_whatever_its_brackets(kinds: str, inner: str):
    data = nest("{" + kinds, inner)
    if len(kinds) + 1 > MAX_DEPTH:
        assert "deep" in refuse(data)
    else:
        assert read_object(data)[0] == json.loads(data)


def test_depth_is_not_breadth_nor_text():
    wide = {"a": [{"b": []} for _ in range(500)], "text": '[{"' * 500, "escaped": '\\"[' * 500}
    assert read_object(json.dumps(wide).encode())[0] == wide


def test_a_hundred_thousand_levels_are_refused_not_followed():
    refuse(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    refuse(b'{"a":' * 100_000)


def test_what_a_repeated_key_hides_may_be_as_deep_as_it_likes():
    for depth in range(900, 1010):  # about where readers give up
        refuse(b'{"a":' + b"[" * depth + b"]" * depth + b',"a":1}')
        refuse(b'{"a":' + b'{"b":' * depth + b"1" + b"}" * depth + b',"a":1}')


@pytest.mark.parametrize("digits", [str(2**63), str(-(2**63) - 1), str(2**64), "9" * 30, "9" * 400, "-" + "9" * 5000])
@pytest.mark.parametrize("frame", ['{"seed":%s}', '{"a":[{"b":[%s]}]}'])
def test_integers_are_within_64_bits(digits: str, frame: str):
    refuse((frame % digits).encode())


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0.1234567890123456789, 1e300])
def test_large_numbers_that_fit_are_read(number: float):
    assert read_object(json.dumps({"a": [number]}).encode())[0] == {"a": [number]}


def test_long_digits_in_text_are_no_integer():
    assert read_object(b'{"a":"99999999999999999999"}')[0] == {"a": "99999999999999999999"}


@pytest.mark.parametrize(
    "data",
    [
        rb'{"a":"\ud800"}',
        rb'{"a":"\udc00"}',
        rb'{"\ud800":1}',
        rb'{"a":"\ud800x"}',
        rb'{"a":"\udc00\ud800"}',
        rb'{"\ud800":1,"\ud800":2}',
        b'{"a":"\xed\xa0\x80"}',  # the same as bytes, which UTF-8 forbids
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',  # an overlong slash
        b'{"a":"\xe2\x82"}',
        b'{"\xff":1}',
    ],
)
def test_text_is_strict_utf8_without_lone_surrogates(data: bytes):
    refuse(data)


def test_a_surrogate_pair_is_one_character():
    assert read_object(rb'{"a":"\ud83d\ude00"}')[0] == {"a": "\U0001f600"}


@given(OBJECTS)
def test_any_object_is_a_chat_request_or_400(value: dict):
    request = try_to(convert, {"model": "m", "messages": [MESSAGE], **value}, ChatRequest)
    assert request.status == 400 if isinstance(request, InvalidRequest) else request.messages


@given(st.sampled_from(sorted(ChatRequest.__struct_fields__)), VALUES)
def test_any_value_of_a_known_field_is_taken_or_400(field: str, value: Any):
    refused = try_to(convert, {"model": "m", "messages": [MESSAGE], field: value}, ChatRequest)
    if isinstance(refused, InvalidRequest):
        assert refused.code in ("invalid_type", "invalid_value", "missing_required_parameter")
        assert refused.param is not None
        assert refused.param.startswith(field)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "Hi"}, "messages", "invalid_type"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [MESSAGE, {"role": "user"}]}, "messages[1].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"max_tokens": 5.0}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": False}, "n", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_type"),
    ],
)
def test_a_wrong_field_is_named(change: dict, param: str, code: str):
    with pytest.raises(InvalidRequest) as refused:
        convert({"model": "m", "messages": [MESSAGE], **change}, ChatRequest)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_missing_field_is_named():
    with pytest.raises(InvalidRequest) as refused:
        convert({"messages": [MESSAGE]}, ChatRequest)
    assert (refused.value.param, refused.value.code) == ("model", "missing_required_parameter")


def test_unknown_fields_are_no_fault():
    assert convert({"model": "m", "messages": [{**MESSAGE, "name": "Ada"}], "top_k": 4}, ChatRequest).model == "m"


def test_the_cap_is_the_larger_of_two_different_ones():
    """An upstream may know either name; the hold has to cover both."""
    body = {"model": "m", "messages": [MESSAGE], "max_tokens": 500, "max_completion_tokens": 10}
    assert converse(body).output_cap_tokens == 500
    assert converse({**body, "max_tokens": None}).output_cap_tokens == 10
    assert converse({"model": "m", "messages": [MESSAGE]}).output_cap_tokens is None


def test_a_body_of_very_many_small_values_is_refused_before_anybody_reads_them_all():
    assert "objects and arrays" in refuse(b'{"a":[' + b"[]," * MAX_CONTAINERS + b"[]]}")
    assert read_object(b'{"a":[' + b"1," * MAX_CONTAINERS + b"1]}")


def test_more_messages_than_a_conversation_has_are_400_and_name_the_field():
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}] * 4097}
    with pytest.raises(InvalidRequest) as refused:
        convert(body, ChatRequest)
    assert refused.value.param == "messages"


HEAVY = {
    "keys": b'{"a":{' + b",".join(b'"%d":1' % n for n in range(2 * MAX_KEYS)) + b"}}",
    "integers": b'{"a":[' + b"1," * (2 * MAX_VALUES) + b"1]}",
    "texts": b'{"a":[' + b'"",' * (2 * MAX_VALUES) + b'""]}',
    "lists": b'{"a":[' + b"[]," * (2 * MAX_VALUES) + b"[]]}",
    "nested": b'{"a":[' + b'{"b":[1,2,{"c":null}]},' * MAX_KEYS + b"1]}",
}


@pytest.mark.parametrize("kind", HEAVY)
def test_a_body_of_too_many_values_is_refused_before_any_is_made(kind: str, monkeypatch: pytest.MonkeyPatch):
    def decode(*_arguments: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(reading.msgspec.json, "decode", decode)
    assert "send less at once" in refuse(HEAVY[kind])


@pytest.mark.parametrize("number", [b"1.5e300", b"1.5E-300", b"2.25e+0099"])
def test_numbers_that_are_slow_to_read_are_few(number: bytes, monkeypatch: pytest.MonkeyPatch):
    read_object(b'{"a":[' + b",".join([number] * MAX_EXPONENTS) + b"]}")
    decode = reading.msgspec.json.decode
    monkeypatch.setattr(reading.msgspec.json, "decode", lambda *_arguments: pytest.fail("decoded"))
    assert "exponent" in refuse(b'{"a":[' + b",".join([number] * (MAX_EXPONENTS + 1)) + b"]}")
    monkeypatch.setattr(reading.msgspec.json, "decode", decode)
    read_object(b'{"a":["' + b",".join([number] * (MAX_EXPONENTS + 1)) + b'"]}')  # a text may hold as many as it likes


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": [{"type": "text", "text": "a, b: c"}] * 3} for _ in range(4096)],
        list(range(400_000)),
        [0.123456] * 500_000,
        [1.5e-05, 2e-7] * 100_000,
        "data:image/png;base64," + "QUJD" * (7 * 2**20),
        '1,2;"quoted\\",' * 600_000,
        "\\\\:,\n:" * 600_000,
    ],
    ids=["4096 messages", "numbers", "an embedding", "small numbers", "a picture", "a table as text", "escapes"],
)
def test_what_honest_bodies_hold_is_read(value: Any):
    data = json.dumps({"a": value}, separators=(",", ":")).encode()
    assert read_object(data)[0] == {"a": value}


@given(OBJECTS, st.booleans())
def test_separators_are_counted_outside_of_texts_alone(value: dict[str, Any], ascii_only: bool):
    def count(node: Any) -> tuple[int, int]:
        inner = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
        counts = [count(each) for each in inner]
        commas = max(0, len(inner) - 1) + sum(commas for commas, _ in counts)
        return commas, len(inner) * isinstance(node, dict) + sum(colons for _, colons in counts)

    assert count_separators(json.dumps(value, ensure_ascii=ascii_only).encode()) == count(value)
