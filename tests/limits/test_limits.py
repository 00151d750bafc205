"""RPM, TPM and concurrency of a key and its account: taken together, refused with documented messages and true
waits."""

import dataclasses
import datetime
import math
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.counters.memory import MemoryCounters
from bridge.errors import RateLimitExceeded
from bridge.limits.limits import Admission, admit, take_channel
from tests.clock import HandClock, clock_in_hand

NOON = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Caller:
    """The part of a caller that the limits read."""

    key_id: int = 1
    account_id: int = 1
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    account_rpm: int = 0
    account_tpm: int = 0
    account_concurrency: int = 0


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with clock_in_hand() as clock:
        yield clock


@pytest.fixture
def counters(clock: HandClock) -> MemoryCounters:
    return MemoryCounters()


def ask(counters: MemoryCounters, caller: Caller, id_: str = "r", *, requests: int = 1, tokens: int = 0) -> Admission:
    return admit(counters, caller, id_, requests=requests, tokens=tokens, lease_seconds=60)


def refuse(counters: MemoryCounters, caller: Caller, **more: Any) -> RateLimitExceeded:
    with pytest.raises(RateLimitExceeded) as refused:
        ask(counters, caller, **more)
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    return refused.value


def refuse_or_ask(counters: MemoryCounters, caller: Caller, id_: str) -> RateLimitExceeded | None:
    try:
        ask(counters, caller, id_, tokens=7)
    except RateLimitExceeded as refused:
        return refused
    return None


def test_without_limits_everyone_is_admitted_and_no_header_is_due(counters: MemoryCounters):
    admission = ask(counters, Caller(), tokens=10**9)
    assert (admission.asks, admission.windows) == ([], {})
    admission.true_up(counters, 5)


@pytest.mark.parametrize(
    ("caller", "message"),
    [
        (Caller(rpm=10), "Rate limit exceeded: 10 RPM"),
        (Caller(account_rpm=10), "Rate limit exceeded: 10 RPM"),
        (Caller(tpm=20_000), "Rate limit exceeded: 20000 TPM"),
        (Caller(account_tpm=20_000), "Rate limit exceeded: 20000 TPM"),
        (Caller(concurrency=5), "Rate limit exceeded: 5 concurrent requests"),
        (Caller(account_concurrency=5), "Rate limit exceeded: 5 concurrent requests"),
    ],
)
def test_a_refusal_names_the_limit(counters: MemoryCounters, caller: Caller, message: str):
    for number in range(caller.rpm or caller.account_rpm or caller.concurrency or caller.account_concurrency or 10):
        ask(counters, caller, f"r{number}", tokens=2_000)
    refused = refuse(counters, caller, id_="one more", tokens=2_000)
    assert refused.message == message
    assert refused.retry_after_seconds is not None


def test_a_key_has_its_own_limit_within_its_account_s(counters: MemoryCounters):
    first = Caller(key_id=1, rpm=2, account_rpm=3)
    second = dataclasses.replace(first, key_id=2)
    ask(counters, first)
    ask(counters, first)
    refuse(counters, first)
    ask(counters, second)
    assert refuse(counters, second).message == "Rate limit exceeded: 3 RPM"
    ask(counters, dataclasses.replace(second, account_id=2))


@pytest.mark.parametrize("own", [3, 1000])
def test_a_key_that_can_never_be_full_before_its_account_is_not_counted(counters: MemoryCounters, own: int):
    caller = Caller(rpm=own, tpm=own, concurrency=own, account_rpm=3, account_tpm=3, account_concurrency=3)
    assert [ask.name for ask in ask(counters, caller, tokens=1).asks] == ["{a1}:rpm", "{a1}:tpm", "{a1}:at-once"]
    ask(counters, caller, "b")
    ask(counters, caller, "c")
    assert refuse(counters, dataclasses.replace(caller, key_id=2), id_="d").message == "Rate limit exceeded: 3 RPM"


def test_a_refused_request_takes_nothing(counters: MemoryCounters):
    caller = Caller(rpm=2, tpm=1000, concurrency=3)
    ask(counters, caller, "a", tokens=900)
    for _ in range(5):
        refuse(counters, caller, tokens=200)
    admission = ask(counters, caller, "b", tokens=100)
    assert (admission.windows["rpm"].remaining, admission.windows["tpm"].remaining) == (0, 0)


@pytest.mark.parametrize("caller", [Caller(rpm=7), Caller(tpm=50), Caller(rpm=7, tpm=50, account_rpm=3, account_tpm=9)])
@pytest.mark.parametrize("offset", [0, 0.001, 17.237, 59.999])
def test_waiting_as_retry_after_says_is_admitted_and_a_millisecond_less_is_not(
    counters: MemoryCounters, clock: HandClock, caller: Caller, offset: float
):
    clock.shift(offset)
    for number in range(40):
        refused = refuse_or_ask(counters, caller, str(number))
        if refused is None:
            continue
        assert refused.retry_after_seconds is not None
        wait = datetime.timedelta(milliseconds=round(refused.retry_after_seconds * 1000))
        clock.shift(wait - datetime.timedelta(milliseconds=1))
        refuse(counters, caller, tokens=7)
        clock.shift(datetime.timedelta(milliseconds=1))
        ask(counters, caller, str(number), tokens=7)
        headers = dict(refused.headers())
        assert int(headers["Retry-After"]) == max(1, math.ceil(refused.retry_after_seconds))
        assert int(headers["retry-after-ms"]) >= refused.retry_after_seconds * 1000


def test_the_limit_that_lasts_longest_decides(counters: MemoryCounters, clock: HandClock):
    caller = Caller(rpm=1, tpm=100)
    clock.shift(50)
    ask(counters, caller, tokens=100)
    refused = refuse(counters, caller, tokens=100)
    assert refused.message == "Rate limit exceeded: 1 RPM"  # both are free at the same moment
    assert refuse(counters, caller, tokens=10).retry_after_seconds == refused.retry_after_seconds


def test_what_can_never_fit_is_not_to_be_tried_again(counters: MemoryCounters):
    refused = refuse(counters, Caller(rpm=9, tpm=1000), tokens=1001)
    assert refused.message == "Rate limit exceeded: 1000 TPM; this request alone needs 1001"
    assert dict(refused.headers()) == {"x-should-retry": "false"}


def test_windows_are_told_of_key_or_account_whichever_has_less_left(counters: MemoryCounters):
    caller = Caller(rpm=10, account_rpm=4, tpm=500, account_tpm=1000)
    windows = ask(counters, caller, tokens=100).windows
    assert (windows["rpm"].limit, windows["rpm"].remaining) == (4, 3)
    assert (windows["tpm"].limit, windows["tpm"].remaining) == (500, 400)
    assert windows["rpm"].reset_seconds == 120
    refused = refuse(counters, caller, tokens=450)
    assert refused.windows["tpm"].remaining == 400
    assert refused.windows["rpm"].remaining == 3


def test_tokens_are_trued_up_and_the_lease_given_back(counters: MemoryCounters):
    caller = Caller(tpm=1000, account_tpm=5000, concurrency=1)
    first = ask(counters, caller, "a", tokens=800)
    assert "concurrent" in refuse(counters, caller, tokens=10).message
    first.true_up(counters, 50)
    second = ask(counters, caller, "b", tokens=900)
    assert second.windows["tpm"].remaining == 50
    second.true_up(counters, 1200)  # more than was reserved counts as well
    assert refuse(counters, caller, tokens=1).message == "Rate limit exceeded: 1000 TPM"


def test_a_long_stream_does_not_free_what_others_used_since(counters: MemoryCounters, clock: HandClock):
    caller = Caller(tpm=1000)
    stream = ask(counters, caller, "a", tokens=900)
    clock.shift(180)
    ask(counters, caller, "b", tokens=1000)
    stream.true_up(counters, 10)
    refuse(counters, caller, tokens=100)


def test_looking_at_the_limits_is_never_refused(counters: MemoryCounters):
    caller = Caller(rpm=1, tpm=100, concurrency=1)
    ask(counters, caller, "a", tokens=100).true_up(counters, 5000)
    look = admit(counters, caller, "b", requests=0, tokens=0, lease_seconds=0)
    assert (look.windows["rpm"].remaining, look.windows["tpm"].remaining) == (0, 0)
    assert len(look.asks) == 2


def test_a_lease_that_nobody_gave_back_ends_by_itself(counters: MemoryCounters, clock: HandClock):
    caller = Caller(concurrency=1)
    ask(counters, caller, "a")
    clock.shift(59.999)
    refuse(counters, caller)
    clock.shift(0.001)
    ask(counters, caller, "b")


# channels


@dataclasses.dataclass(frozen=True)
class AChannel:
    channel_id: int = 1
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0


def take(counters: MemoryCounters, channel: AChannel, lease: str, tokens: int = 0) -> Admission | float:
    return take_channel(counters, channel, lease, requests=1, tokens=tokens, lease_seconds=60)


def test_a_channel_is_full_by_any_of_its_limits_and_says_for_how_long(counters):
    channel = AChannel(rpm=2, tpm=1000, concurrency=1)
    first = take(counters, channel, "a", 600)
    assert isinstance(first, Admission)
    assert take(counters, channel, "b", 600) > 0
    first.true_up(counters, 100)
    assert isinstance(take(counters, channel, "c", 600), Admission)
    assert take(counters, channel, "d") > 0


def test_what_is_larger_than_a_channels_limit_takes_all_of_it(counters):
    channel = AChannel(tpm=1000)
    assert isinstance(take(counters, channel, "a", 5000), Admission)
    assert take(counters, channel, "b", 1) > 0
