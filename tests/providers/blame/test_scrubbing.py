"""Nothing of the operator's passes to a client: not in the message, the code or the field, whoever said it."""

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers import PROVIDERS
from bridge.providers.base import Blame
from bridge.providers.blame.complaint import our_param
from bridge.providers.blame.errors import REFUSED, read_openai_error
from bridge.providers.blame.scrubbing import MAX_MESSAGE, keep_plain, keep_sentence, keep_word
from tests.providers.error_bodies import PLACES, write_body

LABEL = st.from_regex(r"[a-z][a-z0-9]{2,10}(-[a-z0-9]{1,6}){0,2}", fullmatch=True)
PORT = st.integers(80, 65535).map(lambda port: f":{port}")
HOST = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
WORD = st.from_regex(r"[a-z]{4,9}", fullmatch=True)
RANDOM = st.text(string.ascii_letters + string.digits, min_size=20, max_size=48).filter(
    lambda text: re.search(r"\d", text) and re.search(r"[A-Z]", text)
)
SECRETS = st.one_of(
    HOST,
    st.tuples(HOST, PORT).map("".join),
    st.tuples(LABEL, PORT).map("".join),
    st.tuples(st.sampled_from(["https://", "http://", "postgres://u:p@", "s3://", "grpc://"]), HOST, PORT).map("".join),
    st.tuples(HOST, st.just("/v1/chat?key="), RANDOM).map("".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda address: len(address) > 6),
    st.tuples(st.ip_addresses(v=4).map(str), PORT).map("".join),
    st.tuples(WORD, st.just("="), WORD).map("".join),
    st.tuples(WORD, st.just(" = "), WORD).map("".join),
    st.tuples(st.just("arn:aws:bedrock:us-east-1:123456789012:"), WORD, st.just("/"), WORD).map("".join),
    st.tuples(WORD, st.sampled_from(["-", "_"]), WORD, st.sampled_from(["-", "_"]), WORD).map("".join),
    st.tuples(WORD, st.just("-gpt4o-"), WORD).map("".join),
    st.tuples(st.just("projects/"), WORD, st.just("/locations/"), WORD).map("".join),
    st.tuples(st.sampled_from(["/data/", "/models/", "C:\\", "\\\\", "./"]), WORD, st.just("/"), WORD).map("".join),
    st.tuples(WORD, st.just("@"), HOST).map("".join),
    st.uuids().map(str),
    st.tuples(st.sampled_from(["sk-", "sk-ant-", "gsk_", "xai-", "AIza", "hf_", "Bearer:", "key-"]), RANDOM).map(
        "".join
    ),
    RANDOM,
    st.from_regex(r"[0-9a-f]{24,64}", fullmatch=True),
    st.from_regex(r"(org|proj|acct|req|user|chatcmpl|resp|msg|toolu|run)[-_][A-Za-z0-9]{8,24}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{9,14}", fullmatch=True),  # accounts, project numbers
    st.from_regex(r"AKIA[A-Z0-9]{12}", fullmatch=True),
)
NAMED = st.tuples(
    st.sampled_from(["deployment", "project", "team", "tenant", "resource group", "organization", "host", "account"]),
    st.sampled_from([" ", " '", ": ", " named ", " `"]),
    WORD,
)
FRAMES = (
    "The value {} is not what this model takes.",
    "{}",
    "It is wrong at {}: choose another one.",
    "Cannot read ({}) of the request, sorry",
    'Something "{}", and more of it.',
    "No. `{}`; try something else.",
    "Invalid value: '{}'. Supported values are: 'a', 'b', and '{}'.",
    "Invalid schema for function 'get_weather': In {}, it is wrong.",
    "tools.0.custom.name: {} is odd.",
    "Unsupported parameter: '{}' is not supported with this model.",
    "messages[0]: unknown variant `{}`, expected `text`",
    "Unknown parameter: '{}'.",
    "property '{}' is unsupported",
    "invalid temperature: {}\nand more",
)


def parts_of(secret: str) -> set[str]:
    """What of a secret would still tell it: its pieces of more than four characters."""
    return {secret, *(part for part in re.split(r"[\s/:.@=?_-]+", secret) if len(part) > 4)}


def words_of(frame: str) -> str:
    return frame.lower()


@given(SECRETS, st.sampled_from(FRAMES), st.sampled_from(sorted(PLACES)), st.sampled_from(sorted(PROVIDERS)))
def test_no_secret_survives_in_a_message(secret: str, frame: str, place: str, dialect: str):
    if dialect == "sandbox":
        return
    failure = PROVIDERS[dialect].read_error(400, {}, write_body(place, frame.replace("{}", secret)))
    told = " ".join([failure.message, failure.param or "", failure.code or "", failure.reason])
    for part in parts_of(secret):
        if part.lower() not in words_of(frame + "invalid_request_error request projects locations supported"):
            assert part not in told
    assert len(failure.message) <= MAX_MESSAGE


@given(SECRETS, st.sampled_from(["code", "type", "param", "message"]), st.sampled_from([400, 401, 404, 429, 500, 200]))
def test_no_secret_survives_in_any_field(secret: str, field: str, status: int):
    error = {"message": "It is odd.", "code": "odd", "type": "odd", "param": "odd", field: secret}
    failure = read_openai_error(status, {}, json.dumps({"error": error}).encode())
    told = " ".join([failure.message, failure.param or "", failure.code or "", failure.reason])
    assert secret not in told
    assert not [part for part in parts_of(secret) if len(part) > 5 and part in told and part not in REFUSED]


@given(NAMED, st.sampled_from(["Sorry, the {} is not ready.", "It was not found in {}", "No {} here. Try again."]))
def test_a_name_that_is_a_plain_word_goes_with_what_it_is_the_name_of(named: tuple[str, str, str], frame: str):
    kept = keep_plain(frame.format("".join(named)))
    assert named[2] not in kept.replace("Try again", "")
    assert named[0] not in kept


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Too hot", "Too hot"),
        ("The seed must be a non-negative integer.", "The seed must be a non-negative integer."),
        ("messages[2].content[0].image_url: it is empty", "messages[2].content[0].image_url: it is empty"),
        ("Expected one of ['low','high'], not 'x'", "Expected one of ['low','high'], not 'x'"),
        ("A picture of type image/heic can't be taken", "A picture of type image/heic can't be taken"),
        ("temperature (3) is > 2", "temperature (3) is > 2"),
        ("参数错误，请检查输入", "参数错误，请检查输入"),
        ("The model gpt-4o-prod-7 takes no such thing.", "The model … takes no such thing."),
        ("Resource contoso-eu failed at gpu7:8000", ""),
        ("gpu7.internal:8000 refused", ""),
        ("x=1", ""),
        ("Error", ""),
        ("…", ""),
        ("It costs $3.17 there, but there is less", "It costs … there, but there is less"),
    ],
)
def test_plain_words_pass_and_nothing_else_does(said: str, told: str):
    assert keep_sentence(said) == told


@given(st.text(max_size=400))
def test_any_text_becomes_one_short_line(text: str):
    kept = keep_plain(text)
    assert len(kept) <= MAX_MESSAGE
    assert kept == " ".join(kept.split())


@pytest.mark.parametrize("scrap", ["a", "a-", "'", "=", " = ", "a.", "project ", "…", "[", "messages[0]", "中", "a/"])
def test_a_hostile_text_costs_no_time_to_speak_of(scrap: str):
    keep_plain((scrap * 2000)[:2000])
    our_param((scrap * 200)[:120])


def test_a_word_of_the_provider_s_is_kept_for_the_operator_s_log_if_it_is_one():
    assert keep_word("insufficient_quota") == "insufficient_quota"
    for text in ("acct_operator", "The caller may not", "gpu7.internal", "7", "", "a" * 61, "x=1"):
        assert keep_word(text) == ""


@pytest.mark.parametrize("param", ["deployment", "api_key", "model", "contoso_prod", "https://a.b", "x=1", "messages5"])
def test_a_field_that_no_request_has_is_not_named(param: str):
    failure = read_openai_error(400, {}, json.dumps({"error": {"message": "It is odd.", "param": param}}).encode())
    assert failure.param is None
    assert failure.blame is (Blame.SETUP if param == "model" else Blame.REQUEST)


def test_a_field_is_named_as_far_as_its_names_are_a_request_s():
    assert our_param("messages[0].content[1].contoso.prod") == "messages[0].content[1]"
    assert our_param("tools[0].function.parameters.properties.city") == "tools[0].function.parameters.properties"
