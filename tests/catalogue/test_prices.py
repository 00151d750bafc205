"""One price for hold and charge: exact, rounded up once, and the hold never below the charge."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.prices import PriceVersion
from bridge.conversation.usage import Usage
from tests.prices import make_version

PRICES = st.builds(make_version, st.just(1), *[st.integers(0, 10**12)] * 5)
TOKENS = st.integers(0, 2**31)


@st.composite
def usages(draw: st.DrawFn, *, for_an_hour: bool = True) -> Usage:
    prompt, completion = draw(TOKENS), draw(TOKENS)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    hour = draw(st.integers(0, written)) if for_an_hour else 0
    return Usage(prompt, completion, cached, draw(st.integers(0, completion)), written, hour)


@pytest.mark.parametrize(
    ("usage", "nanos"),
    [
        (Usage(0, 0), 0),
        (Usage(1_000_000, 0), 2_500_000_000),
        (Usage(1_000_000, 0, cached_tokens=1_000_000), 1_250_000_000),
        (Usage(1_000_000, 0, cache_write_tokens=1_000_000), 3_125_000_000),
        (Usage(1_000_000, 0, cache_write_tokens=1_000_000, cache_write_hour_tokens=1_000_000), 5_000_000_000),
        (Usage(0, 1_000_000), 10_000_000_000),
        (Usage(1000, 200, cached_tokens=400, reasoning_tokens=150), 600 * 2500 + 400 * 1250 + 200 * 10_000),
        (Usage(1000, 0, 400, 0, 300, 100), 300 * 2500 + 400 * 1250 + 200 * 3125 + 100 * 5000),
    ],
)
def test_a_price_is_per_million_tokens(usage: Usage, nanos: int):
    assert (
        make_version(1, 2_500_000_000, 1_250_000_000, 3_125_000_000, 5_000_000_000, 10_000_000_000).charge(usage)
        == nanos
    )


def test_parts_of_a_nano_are_added_before_they_are_rounded_up():
    price = make_version(1, *[300_000] * 5)  # 0.3 nanos a token
    assert price.charge(Usage(1, 1, cached_tokens=0)) == 1
    assert price.charge(Usage(2, 2)) == 2
    assert price.charge(Usage(3, 1, cached_tokens=2)) == 2
    assert price.charge(Usage(3, 1, cached_tokens=1, cache_write_tokens=2, cache_write_hour_tokens=1)) == 2


@given(PRICES, usages())
def test_a_charge_is_the_exact_sum_rounded_up_once(price: PriceVersion, usage: Usage):
    minutes = usage.cache_write_tokens - usage.cache_write_hour_tokens
    parts = [
        (usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens, price.base.input),
        (usage.cached_tokens, price.base.cached),
        (minutes, price.base.cache_write),
        (usage.cache_write_hour_tokens, price.base.cache_write_hour),
        (usage.completion_tokens, price.base.output),
    ]
    exact = sum((Fraction(count * nanos, 10**6) for count, nanos in parts), Fraction(0))
    assert 0 <= price.charge(usage) - exact < 1


@given(PRICES, usages(), TOKENS, TOKENS)
def test_a_hold_covers_whatever_its_bounds_allow(price: PriceVersion, usage: Usage, more_prompt: int, more_output: int):
    assert price.charge(usage) <= price.worst_charge(
        usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output
    )


@given(PRICES, usages(for_an_hour=False), TOKENS, TOKENS)
def test_without_an_hour_s_writes_the_lower_hold_covers_it_too(
    price: PriceVersion, usage: Usage, more_prompt: int, more_output: int
):
    prompt, output = usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output
    hold = price.worst_charge(prompt, output, hour_writes=False)
    assert price.charge(usage) <= hold <= price.worst_charge(prompt, output)


def test_the_hour_s_price_makes_a_hold_no_dearer_where_nothing_is_written_for_an_hour():
    price = make_version(1, 1_000_000, 100_000, 1_250_000, 2_000_000, 1_000_000)
    assert price.worst_charge(100, 10, hour_writes=False) == 135
    assert price.worst_charge(100, 10, hour_writes=True) == 210


@given(PRICES, st.integers(0, 10**15), TOKENS, st.booleans())
def test_what_is_affordable_is_affordable_and_one_token_more_is_not(
    price: PriceVersion, amount: int, prompt: int, hour_writes: bool
):
    tokens = price.affordable_output_tokens(amount, prompt, hour_writes=hour_writes)
    assert tokens >= 0
    if price.worst_charge(prompt, 0, hour_writes=hour_writes) > amount:
        assert tokens == 0
        return
    assert price.worst_charge(prompt, tokens, hour_writes=hour_writes) <= amount
    assert price.base.output == 0 or price.worst_charge(prompt, tokens + 1, hour_writes=hour_writes) > amount


def test_output_that_is_free_is_no_use_where_the_prompt_is_too_dear():
    price = make_version(1, *[1_000_000] * 4, 0)
    assert (price.affordable_output_tokens(9, 10), price.affordable_output_tokens(10, 10)) == (0, 2**31)
