"""An envelope opens for the account that it was given to, unchanged, and for nobody else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dialects.envelope import PREFIX, open_value, seal_value
from bridge.vault import open_vault
from tests.rooms import FERNET_KEY

VALUE = {"provider": "x", "blocks": [{"signature": "c2ln"}]}
open_vault([FERNET_KEY])


def test_it_opens_for_its_account_alone():
    sealed = seal_value(VALUE, 1)
    assert sealed.startswith(PREFIX)
    assert open_value(sealed, 1) == VALUE
    assert open_value(sealed, 2) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_altered_anywhere_it_is_none_of_ours(place: int, change: int):
    data = bytearray(base64.urlsafe_b64decode(seal_value(VALUE, 1)[len(PREFIX) :]))
    data[place % len(data)] ^= change
    assert open_value(PREFIX + base64.urlsafe_b64encode(bytes(data)).decode(), 1) is None


@pytest.mark.parametrize("text", ["", "gAAAA", PREFIX, f"{PREFIX}!!!", f"{PREFIX}ä", f"{PREFIX}AAAA", "ab2.AAAA"])
def test_what_is_no_envelope_is_nothing(text: str):
    assert open_value(text, 1) is None
