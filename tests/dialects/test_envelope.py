"""What clients carry for a provider comes back as it was, or not at all."""

import base64
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from bridge import vault
from bridge.dialects.envelope import PREFIX, is_ours, open_value, seal_value

VALUE = {"provider": "gemini", "signature": "c2lnbmVk", "é": [1, None, {"a": True}]}
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vault", "fingerprint", "all"):
        monkeypatch.setattr(vault._Keys, name, getattr(vault._Keys, name))
    vault.open_vault([OLD])


def test_the_account_that_got_it_gives_it_back():
    text = seal_value(VALUE, 7)
    assert open_value(text, 7) == VALUE
    assert text.startswith(PREFIX)
    assert is_ours(text)
    assert set(text[len(PREFIX) :]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_another_account_has_nothing_of_it():
    assert open_value(seal_value(VALUE, 7), 8) is None
    assert open_value(seal_value(VALUE, 7), 77) is None


def test_after_the_master_key_has_changed_the_old_one_still_opens_it():
    text = seal_value(VALUE, 7)
    vault.open_vault([NEW, OLD])
    assert open_value(text, 7) == VALUE
    vault.open_vault([NEW])
    assert open_value(text, 7) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "ab1.", "ab1.AAAA", "ab1.====", "ab1.\u00e9", "EqQBCkYIBxgCKkD", "ab2." + "A" * 200, "ab1." + "A" * 200),
        "ab1." + base64.urlsafe_b64encode(b"\0" * 24 + b'{"provider":"gemini"}').decode(),
    ],
)
def test_what_is_not_ours_is_nothing(text: str):
    assert open_value(text, 7) is None


def test_a_changed_letter_anywhere_makes_it_nothing():
    text = seal_value({"a": 1, "bc": "def"}, 7)
    for place in range(len(PREFIX), len(text)):
        other = "A" if text[place] != "A" else "B"
        changed = text[:place] + other + text[place + 1 :]
        assert open_value(changed, 7) in (None, {"a": 1, "bc": "def"})  # the last letter may hold bits that say nothing
        if place < len(text) - 1:
            assert open_value(changed, 7) is None
    assert open_value(text[:-3], 7) is None
    assert open_value(text + "AAAA", 7) is None


@given(st.dictionaries(st.text(max_size=9), values, max_size=4), st.integers(1, 2**40))
def test_any_value_comes_back(value: dict[str, Any], account_id: int):
    vault.open_vault([OLD])
    assert open_value(seal_value(value, account_id), account_id) == value
