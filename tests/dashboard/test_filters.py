"""Money, tokens, times and ids read as the look says."""

import datetime

import pytest

from bridge import dates
from bridge.dashboard import filters

CENT = 10_000_000
AT = datetime.datetime(2026, 11, 23, 14, 32, 7, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (41_289_999_999, "$41.28"),
        (0, "$0.00"),
        (1, "<$0.01"),
        (CENT, "$0.01"),
        (-3_200_000_000, "−$3.20"),
        (-1, "−$0.01"),
        (1_234_567_890_000_000, "$1,234,567.89"),
    ],
)
def test_a_balance_is_rounded_down(nanos, text):
    assert filters.balance(nanos) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (1_855_000_000, "$1.86"),
        (1_854_999_999, "$1.85"),
        (CENT - 1, "<$0.01"),
        (0, "$0.00"),
        (-1_855_000_000, "−$1.86"),
    ],
)
def test_spend_is_rounded_half_up(nanos, text):
    assert filters.spend(nanos) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (1_857_204_415, "$1.857204415"),
        (5_000_000_000, "$5.00"),
        (-1, "−$0.000000001"),
        (1_000_500_000_000, "$1,000.50"),
    ],
)
def test_an_exact_amount_loses_nothing(nanos, text):
    assert filters.exact(nanos) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (15_049_200, "$0.015049"),
        (15_049_500, "$0.015050"),
        (0, '<span class="ink3">$0.000000</span>'),
        (999, "&lt;$0.000001"),
    ],
)
def test_the_cost_of_a_request_has_six_decimals(nanos, text):
    assert str(filters.cost(nanos)) == text


def test_a_receipt_has_nine_decimals_and_pales_the_last_three():
    assert str(filters.receipt(15_049_200)) == '$0.015049<span class="ink3">200</span>'
    assert str(filters.receipt(-1)) == '−$0.000000<span class="ink3">001</span>'


def test_unit_prices_are_exact_and_align():
    column = [300_000_000, 75_000_000, 15_000_000_000]
    places = filters.price_places(column)
    assert places == 3
    assert [str(filters.price(nanos, places)) for nanos in column] == [
        '$0.30<span class="z">0</span>',
        "$0.075",
        '$15.00<span class="z">0</span>',
    ]
    assert filters.price_places([]) == 2
    assert str(filters.price(37_500_000)) == "$0.0375"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1K"),
        (1_234, "1.23K"),
        (96_300, "96.3K"),
        (128_000, "128K"),
        (412_345, "412K"),
        (999_949, "1M"),
        (1_000_000, "1M"),
        (1_048_576, "1.05M"),
        (9_996_000, "10M"),
    ],
)
def test_tokens_have_three_digits(number, text):
    assert filters.tokens(number) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (612, "612 ms"),
        (1_000, "1.00 s"),
        (9_840, "9.84 s"),
        (59_996, "1 min"),
        (125_000, "2 min 05 s"),
    ],
)
def test_durations_fit_their_size(milliseconds, text):
    assert filters.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        ("req_01932f7c41b87c3e9d5f02e6b4c8a91f", "req_0193…a91f"),
        ("chatcmpl-01932f7c41b87c3e9d5f02e6b4c8a91f", "chatcmpl-0193…a91f"),
        ("req_0193", "req_0193"),
    ],
)
def test_the_tail_of_an_id_is_never_cut(identifier, text):
    assert filters.short_id(identifier) == text
    assert filters.key_hint("k3Xz") == "sk-…k3Xz"


def test_a_time_says_utc_and_leaves_the_zone_to_the_reader():
    assert str(filters.moment(AT)) == (
        '<time datetime="2026-11-23T14:32:07Z" title="2026-11-23 14:32:07 UTC" data-time="moment">'
        "23 Nov 2026, 14:32:07 UTC</time>"
    )
    assert filters.clock(AT).endswith(">14:32:07 UTC</time>")
    assert filters.day(AT.astimezone(datetime.timezone(datetime.timedelta(hours=12)))).endswith(">23 Nov 2026</time>")
    assert str(filters.day(AT.date())) == '<time datetime="2026-11-23">23 Nov 2026</time>'
    assert [str(one(None)) for one in (filters.moment, filters.clock, filters.day)] == ["–"] * 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "just now"), (150, "2 min ago"), (3_599, "59 min ago"), (3_600, "23 Nov 2026")]
)
def test_within_an_hour_a_time_is_relative(monkeypatch, seconds, text):
    monkeypatch.setattr(filters, "now_utc", lambda: AT + datetime.timedelta(seconds=seconds))
    assert f">{text}</time>" in filters.ago(AT)
    assert "never" in filters.ago(None)


def test_a_name_to_type_is_matched_as_it_is():
    assert filters.as_pattern("a.b+c (1)/x-y") == r"a\.b\+c \(1\)\/x-y"


def test_a_share_of_nothing_is_none():
    assert filters.percent(1, 8) == "12.5%"
    assert filters.percent(0, 0) == "–"
    assert filters.count(12_480) == "12,480"


def test_a_day_is_written_in_each_readers_language(monkeypatch):
    for language, text in (("en", "3 Nov 2026"), ("zh_Hans", "2026年11月3日"), ("en", "3 Nov 2026")):
        monkeypatch.setattr(filters, "find_language", lambda language=language: language)
        monkeypatch.setattr(dates, "find_language", lambda language=language: language)
        assert str(filters.day(datetime.date(2026, 11, 3))) == f'<time datetime="2026-11-03">{text}</time>'
    monkeypatch.setattr(dates, "find_language", lambda: "zh_Hans")
    assert [dates.write_date(AT, form) for form in dates.SKELETONS] == [
        "2026年11月23日",
        "11月23日",
        "2026年11月23日",
        "11月",
    ]
