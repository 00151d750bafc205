"""A credential is found in others' texts however they write it, and the other words stay."""

import base64
import string
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.conceal import HIDDEN, conceal

OPENAI = "sk-proj-Zq83hTr0vK2mNcWdYx51aBfEjLp94UoS7iGt"
KEYS = (
    OPENAI,
    "sk-ant-api03-R2d2c3PoLuke-Leia_HanSolo77xAA",
    "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "0123456789abcdef0123456789abcdef",
    "gsk_9fA8Kx0PzQ2LmVbN",
    "correct/horse+battery=staple",
    "plain words with spaces",
)
SECRETS = st.one_of(
    st.sampled_from(KEYS), st.text(string.ascii_letters + string.digits + "-_/+=.", min_size=16, max_size=80)
)
RANDOM = string.digits + string.ascii_uppercase
FRAMES = ("{}", "Incorrect API key provided: {}. You can find it.", 'bad key="{}"', "({}), and more", "Bearer {}\nno")


def told(secret: str, text: str) -> bool:
    """Whether eight characters of it in a row are left, or sixteen if none is a digit or a capital."""
    text = text.lower()
    for length in (8, 16):
        parts = {secret[start : start + length] for start in range(max(1, len(secret) - length + 1))}
        random = {part for part in parts if length == 16 or any(letter in RANDOM for letter in part)}
        if any(part.lower() in text for part in random):
            return True
    return False


@given(SECRETS, st.sampled_from(FRAMES), st.integers(0, 60), st.integers(8, 80))
@example(OPENAI, FRAMES[1], 0, 80)
def test_no_eight_characters_in_a_row_are_left(secret, frame, start, length):
    part = secret[start : start + length]
    assert not told(secret, conceal(frame.format(part), secret))
    assert not told(secret, conceal(frame.format(part.upper()), secret))


@pytest.mark.parametrize("secret", ["sk-no-key-required", "my-local-api-key-0001", "sk-litellm-master-key-1234"])
@pytest.mark.parametrize(
    "text",
    ["messages is required", "missing_required_parameter", "Missing x-api-key header", "max 1234 tokens, not 0001"],
)
def test_a_key_made_of_words_takes_no_ordinary_ones_with_it(secret: str, text: str):
    assert conceal(text, secret) == text
    assert conceal(f"Bad key {secret}: {text}", secret) == f"Bad key {HIDDEN} {text}"


@given(SECRETS.filter(lambda secret: " " not in secret), st.integers(0, 5))
def test_nor_in_base64_or_encoded_for_a_url(secret, before):
    for written in (
        base64.b64encode(b"u" * before + secret.encode()).decode(),
        base64.urlsafe_b64encode(b"u" * before + secret.encode()).decode().rstrip("="),
        quote(secret, safe=""),
        secret.encode().hex(),
    ):
        assert conceal(f"header {written} refused", secret) == f"header {HIDDEN} refused"


@pytest.mark.parametrize(
    "written",
    [
        "sk-...7iGt",
        "sk-proj-****7iGt",
        "sk-proj-********************************7iGt.",
        "sk-p…iGt",
        "sk-•••••••7iGt",
        "****7iGt",
        "'sk-proj-***'",
        "...S7iGt)",
        "sk-[redacted]7iGt",
        "sk-xxxxxxxx7iGt",
        "key=sk-...7iGt",
        "[sk-...7iGt]",
        "7iGt",
        "(7iGt)",
        "S7iGt.",
        "sk-proj",
    ],
)
def test_what_a_mask_leaves_of_it_goes_too(written):
    assert conceal(f"Incorrect API key provided: {written} Ask again", OPENAI) == (
        f"Incorrect API key provided: {HIDDEN} Ask again"
    )


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4o` does not exist ... or you have no access.",
        "max_tokens must be at most 4096 (**important**), x-request-id: req_123 — see --help",
        "messages[0].content: expected a string... or a list",
        "skipping a project in the task-list",
        "",
    ],
)
@pytest.mark.parametrize("secret", [*KEYS, "", "none"])
def test_other_words_stay(text, secret):
    assert conceal(text, secret) == text


def test_a_key_that_could_be_a_word_goes_only_as_one():
    assert conceal("local key refused: local, locally", "local") == f"{HIDDEN} key refused: {HIDDEN}, locally"


def test_a_long_text_takes_no_time():
    assert conceal("a" * 100_000 + " " + "*" * 100_000 + (OPENAI + " ") * 1000, OPENAI)
