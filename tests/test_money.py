"""Amounts: exact both ways, refused rather than rounded, and rounded up once where a charge is made."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.money import MAX_NANOS, NANOS_PER_DOLLAR, format_dollars, format_per_token, parse_dollars, round_up

AMOUNTS = st.integers(-MAX_NANOS + 1, MAX_NANOS - 1)


@given(AMOUNTS, st.integers(0, 9))
def test_what_is_printed_reads_back_to_the_nano(nanos: int, places: int):
    assert parse_dollars(format_dollars(nanos, places)) == nanos


@given(AMOUNTS, st.integers(0, 9))
def test_dollars_are_plain_decimals_with_at_most_nine_places(nanos: int, places: int):
    text = format_dollars(nanos, places)
    assert Decimal(text) == Decimal(nanos) / NANOS_PER_DOLLAR
    decimals = text.partition(".")[2]
    assert places <= len(decimals) <= 9
    assert "e" not in text.lower()
    assert len(decimals) == places or not decimals.endswith("0")


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2.5", 2_500_000_000),
        ("$10", 10_000_000_000),
        ("-0.000000001", -1),
        ("-$3", -3_000_000_000),
        (" 1. ", 1_000_000_000),
        ("0", 0),
        ("999999999.999999999", MAX_NANOS - 1),
    ],
)
def test_dollars_are_read_exactly(text: str, nanos: int):
    assert parse_dollars(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ten",
        "1e3",
        "1,000",
        "0.0000000001",
        "1234567890",
        ".5",
        "$-5",
        "--1",
        "1.5.2",
        "٣",
        "１",
        "1\n2",
        "NaN",
    ],
)
def test_nothing_is_guessed_or_rounded_in_reading(text: str):
    with pytest.raises(ValueError, match="not an amount in dollars"):
        parse_dollars(text)


@given(st.text())
def test_any_text_is_an_amount_or_a_value_error(text: str):
    try:
        nanos = parse_dollars(text)
    except ValueError:
        return
    assert -MAX_NANOS < nanos < MAX_NANOS


@given(st.integers(0, 10**15))
def test_a_price_per_token_is_exact(nanos_per_mtok: int):
    text = format_per_token(nanos_per_mtok)
    assert Fraction(text) == Fraction(nanos_per_mtok, 10**15)
    assert "e" not in text
    assert not ("." in text and text.endswith("0"))


@given(st.integers(0, 10**24))
def test_a_charge_is_rounded_up_by_less_than_a_nano(amount: int):
    assert 0 <= round_up(amount) * 1_000_000 - amount < 1_000_000
