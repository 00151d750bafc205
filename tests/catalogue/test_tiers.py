"""Tiers, further classes and markups: exact against fractions, no charge above its hold, no longer prompt cheaper."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.price_rows import make_price, read_tiers, tiers_of, version_of, write_tiers
from bridge.catalogue.price_snapshot import COUNTS, read_snapshot, snapshot_price
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, make_rates, name_rates
from bridge.conversation.usage import Counts, Usage, count_pictures
from tests.prices import make_version

NANOS = st.integers(0, 10**12)
TOKENS = st.integers(0, 2**21)
CALLS = st.integers(1, 16)
CLASSES = (*PRICE_CLASSES, *FURTHER_CLASSES)
DOLLAR = 10**9


@st.composite
def rates(draw: st.DrawFn, above_tokens: int = 0) -> Rates:
    """Any prices; further classes sometimes have none of their own."""
    prices: dict[str, int | None] = {name: draw(NANOS) for name in PRICE_CLASSES}
    prices |= {name: draw(st.none() | NANOS) for name in FURTHER_CLASSES}
    return make_rates(prices, above_tokens)


@st.composite
def versions(draw: st.DrawFn) -> PriceVersion:
    thresholds = [0, *sorted(draw(st.sets(st.integers(1, 2**20), max_size=3)))]
    tiers, costs = (tuple(draw(rates(above)) for above in thresholds) for _ in range(2))
    bps = draw(st.integers(-10_000, 50_000))
    return PriceVersion(7, tiers, costs, bps, "model" if bps else "")


@st.composite
def usages(draw: st.DrawFn, *, sound: bool = True, speech: bool = True) -> Usage:
    prompt, completion = draw(TOKENS), draw(TOKENS)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    audio = draw(st.integers(0, prompt - cached - written)) if sound else 0
    reasoning = draw(st.integers(0, completion))
    spoken = draw(st.integers(0, completion - reasoning)) if speech else 0
    low, medium, others = (draw(st.integers(0, 10)) for _ in range(3))
    return Usage(
        prompt,
        completion,
        cached,
        reasoning,
        written,
        draw(st.integers(0, written)),
        audio,
        draw(st.integers(0, cached)) if sound else 0,
        spoken,
        draw(st.integers(0, prompt - cached - written - audio)),
        draw(st.integers(0, completion - reasoning - spoken)),
        low + medium + others,
        low,
        medium,
    )


@given(versions(), usages(), CALLS)
def test_a_charge_is_the_exact_sum_of_the_tier_its_prompt_reaches(version: PriceVersion, usage: Usage, calls: int):
    listed = [
        tier
        for tier in version.listed
        if Fraction(usage.prompt_tokens, calls) > tier.above_tokens or tier.above_tokens == 0
    ][-1]
    factor = Fraction(10_000 + version.markup_bps, 10_000)
    unit = {name: -(-getattr(listed, name) * factor // 1) for name in CLASSES}
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    parts = {
        "input": fresh - usage.audio_tokens - usage.image_tokens,
        "audio_input": usage.audio_tokens,
        "image": usage.image_tokens,
        "cached": usage.cached_tokens - usage.cached_audio_tokens,
        "cached_audio": usage.cached_audio_tokens,
        "cache_write": usage.cache_write_tokens - usage.cache_write_hour_tokens,
        "cache_write_hour": usage.cache_write_hour_tokens,
        "output": usage.completion_tokens
        - usage.reasoning_tokens
        - usage.audio_output_tokens
        - usage.image_output_tokens,
        "image_output": usage.image_output_tokens,
        "reasoning": usage.reasoning_tokens,
        "audio_output": usage.audio_output_tokens,
    }
    plain = usage.pictures - usage.low_pictures - usage.medium_pictures
    pieces = {
        "request": calls,
        "picture": plain,
        "picture_low": usage.low_pictures,
        "picture_medium": usage.medium_pictures,
    }
    each = Fraction(sum(count * unit[name] for name, count in pieces.items()))
    exact = sum((Fraction(count * unit[name], 10**6) for name, count in parts.items()), each)
    assert 0 <= version.charge(usage, calls) - exact < 1


@given(versions(), usages(), TOKENS, TOKENS, CALLS)
def test_a_hold_covers_whatever_tier_its_bounds_can_reach(
    version: PriceVersion, usage: Usage, more_prompt: int, more_output: int, calls: int
):
    prompt, output = usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output
    open_ = [""] * usage.pictures
    assert version.charge(usage, calls) <= version.worst_charge(prompt, output, calls=calls, pictures=open_)


@given(versions(), usages(sound=False, speech=False), TOKENS, TOKENS)
def test_without_sound_the_lower_hold_covers_it_too(
    version: PriceVersion, usage: Usage, more_prompt: int, more_output: int
):
    prompt, output = usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output
    open_ = [""] * usage.pictures
    hold = version.worst_charge(prompt, output, sound=False, speech=False, pictures=open_)
    assert version.charge(usage) <= hold <= version.worst_charge(prompt, output, pictures=open_)


@given(versions(), TOKENS, TOKENS, st.integers(0, 2**21))
def test_a_larger_bound_never_holds_less(version: PriceVersion, prompt: int, output: int, more: int):
    assert version.worst_charge(prompt + more, output) >= version.worst_charge(prompt, output)


@given(st.data(), usages(), st.integers(0, 2**21))
def test_where_higher_tiers_are_dearer_a_longer_prompt_is_never_cheaper(data: st.DataObject, usage: Usage, more: int):
    lower = data.draw(rates())
    raised = {name: getattr(lower, name) + data.draw(NANOS) for name in CLASSES}
    version = PriceVersion(1, (lower, Rates(**raised, above_tokens=data.draw(st.integers(1, 2**21)))), (lower,))
    longer = Usage(usage.prompt_tokens + more, *[getattr(usage, name) for name in Usage.__struct_fields__[1:]])
    assert version.charge(longer) >= version.charge(usage)


@given(versions(), st.integers(0, 10**15), TOKENS, CALLS)
def test_what_is_affordable_is_so_in_every_tier_that_can_be_reached(
    version: PriceVersion, amount: int, prompt: int, calls: int
):
    tokens = version.affordable_output_tokens(amount, prompt, calls=calls)
    if version.worst_charge(prompt, 0, calls=calls) > amount:
        assert tokens == 0
        return
    assert version.worst_charge(prompt, tokens, calls=calls) <= amount
    assert tokens == 2**31 or version.worst_charge(prompt, tokens + 1, calls=calls) > amount


@given(versions(), st.sampled_from(["low", "medium", "high", "hd", "max"]), st.integers(1, 10))
def test_pictures_of_one_quality_are_held_for_what_they_cost(version: PriceVersion, quality: str, count: int):
    counts = count_pictures(Counts(), count, quality)
    usage = Usage(0, 0, pictures=count, low_pictures=counts.low_pictures, medium_pictures=counts.medium_pictures)
    assert version.charge(usage) == version.worst_charge(0, 0, pictures=[quality] * count)
    assert version.charge(usage) <= version.worst_charge(0, 0, pictures=["auto"] * count)


@pytest.mark.parametrize(("prompt", "nanos"), [(200_000, 200_000 * 1250), (200_001, 200_001 * 2500)])
def test_the_tier_begins_above_its_threshold_and_holds_for_the_whole_request(prompt: int, nanos: int):
    longer = make_rates({"input": 5 * DOLLAR // 2, "output": 15 * DOLLAR}, 200_000)
    version = make_version(1, *[5 * DOLLAR // 4] * 4, 10 * DOLLAR, longer=[longer])
    assert version.charge(Usage(prompt, 0)) == nanos
    assert version.charge(Usage(2 * prompt, 0), calls=2) == 2 * nanos  # of two calls, each read its half


def test_of_two_tiers_the_hold_takes_the_dearer_even_where_that_is_the_lower():
    cheap = make_rates({"input": 1, "output": 1}, 100)
    version = make_version(1, *[DOLLAR] * 5, longer=[cheap])
    assert version.worst_charge(1_000_000, 10) == 110 * 1000
    assert version.charge(Usage(100, 10)) == 110 * 1000


def test_a_markup_of_the_account_replaces_the_model_s():
    version = make_version(1, *[DOLLAR] * 5, markup_bps=2_000)
    own = version.for_account(500)
    assert (version.base.input, own.base.input) == (DOLLAR * 12 // 10, DOLLAR * 105 // 100)
    assert (own.markup_rule, own.markup_bps, own.id) == ("account", 500, 1)
    assert version.for_account(None) is version
    assert version.for_account(500) is own
    assert own.cost(Usage(10, 10)) == version.cost(Usage(10, 10)) == 20_000
    assert version.for_account(-10_000).charge(Usage(10, 10)) == 0


@given(rates(123))
def test_rates_are_written_and_read_back_the_same(found: Rates):
    assert make_rates(name_rates(found), 123) == found
    assert read_tiers(write_tiers([found])) == (found,)


@given(versions())
def test_a_row_gives_its_version_back(version: PriceVersion):
    row = make_price("m", version.listed, version.costs, source="a test")
    row.id = 7
    assert tiers_of(row) == version.listed
    assert version_of(row, version.markup_bps) == version


@given(versions(), usages(), CALLS)
def test_a_usage_row_alone_explains_its_charge(version: PriceVersion, usage: Usage, calls: int):
    row = SimpleNamespace(**snapshot_price(version, usage, calls), **{name: getattr(usage, name) for name in COUNTS})
    snapshot = read_snapshot(row)
    assert snapshot.rates == version.tier(usage.prompt_tokens, calls)
    assert (snapshot.usage, snapshot.calls) == (usage, calls)
    assert (snapshot.markup_bps, snapshot.markup_rule) == (version.markup_bps, version.markup_rule)
    assert -(-sum(count * nanos for _, count, nanos in snapshot.lines) // 10**6) == version.charge(usage, calls)


def test_an_ordinary_request_keeps_nothing_beside_its_columns():
    assert snapshot_price(make_version(1, 1, 2, 3, 4, 5), Usage(9, 9, 3, 4, 2, 1), 1)["pricing"] is None
