"""RPM, TPM and concurrency of a key and of its account, or of a channel: asked for together, taken together or not at
all."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from bridge.counters import Ask, Count, Counters, Give, Window, read_window, seconds_until_free
from bridge.errors import RateLimitExceeded

LIMITS = {"rpm": "RPM", "tpm": "TPM", "concurrency": "concurrent requests"}


class Limited(Protocol):
    """What of a caller the limits look at. 0 is no limit."""

    @property
    def key_id(self) -> int: ...
    @property
    def account_id(self) -> int: ...
    @property
    def rpm(self) -> int: ...
    @property
    def tpm(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def account_rpm(self) -> int: ...
    @property
    def account_tpm(self) -> int: ...
    @property
    def account_concurrency(self) -> int: ...


class LimitedChannel(Protocol):
    """What of a channel its limits look at. 0 is no limit."""

    @property
    def channel_id(self) -> int: ...
    @property
    def rpm(self) -> int: ...
    @property
    def tpm(self) -> int: ...
    @property
    def concurrency(self) -> int: ...


@dataclasses.dataclass(slots=True)
class Admission:
    """What a request took, in which minute, so that it can be trued up and given back; and the windows that its answer
    reports."""

    asks: list[Ask]
    kinds: list[str]
    windows: dict[str, Window]
    minute: int = 0
    reserved_tokens: int = 0

    def true_up(self, counters: Counters, used_tokens: int) -> None:
        """Give the leases back, and count the tokens that were used instead of those reserved."""
        gives = [Give(ask.name, lease_id=ask.lease_id) for ask in self.asks if ask.is_lease]
        if used_tokens != self.reserved_tokens:
            gives += [
                Give(ask.name, cost=used_tokens - self.reserved_tokens, minute=self.minute)
                for ask, kind in zip(self.asks, self.kinds, strict=True)
                if kind == "tpm"
            ]
        if gives:
            counters.give_all(gives)


def admit(
    counters: Counters, caller: Limited, request_id: str, *, requests: int, tokens: int, lease_seconds: float
) -> Admission:
    """Count a request and reserve its tokens, in one trip. `requests=0` only looks, `lease_seconds=0` takes no lease.

    Raises RateLimitExceeded with the limit's own words and the true time until it can succeed; nothing is taken then,
    and the error's `windows` say how the limits stand."""
    account = f"{{a{caller.account_id}}}"
    shared = (caller.account_rpm, caller.account_tpm, caller.account_concurrency)
    own = (
        _own_limit(caller.rpm, caller.account_rpm),
        _own_limit(caller.tpm, caller.account_tpm),
        _own_limit(caller.concurrency, caller.account_concurrency),
    )
    asks, kinds = _list_asks(f"{account}:k{caller.key_id}", own, request_id, requests, tokens, lease_seconds)
    more_asks, more_kinds = _list_asks(account, shared, request_id, requests, tokens, lease_seconds)
    asks += more_asks
    kinds += more_kinds
    if not asks:
        return Admission(asks, kinds, {})
    counts = counters.take_all(asks)
    admitted = all(count.admitted for count in counts)
    windows = _read_windows(asks, kinds, counts, taken=admitted)
    if not admitted:
        raise _refuse(asks, kinds, counts, windows)
    return Admission(asks, kinds, windows, max(count.minute for count in counts), tokens)


def _own_limit(limit: int, shared: int) -> int:
    """The key's limit if it can be full before its account's is; otherwise 0, for then there is nothing to count."""
    return 0 if 0 < shared <= limit else limit


def take_channel(
    counters: Counters, channel: LimitedChannel, lease_id: str, *, requests: int, tokens: int, lease_seconds: float
) -> Admission | float:
    """Count an attempt against the operator's own limits of a channel, in one trip; or the seconds until it has room.
    What is larger than a limit takes all of it: it goes when nothing else does, instead of never."""
    tokens = min(tokens, channel.tpm)
    limits = (channel.rpm, channel.tpm, channel.concurrency)
    asks, kinds = _list_asks(
        f"{{c{channel.channel_id}}}", limits, lease_id, min(requests, channel.rpm), tokens, lease_seconds
    )
    counts = counters.take_all(asks)
    waits = [seconds_until_free(ask, count) for ask, count in zip(asks, counts, strict=True) if not count.admitted]
    if waits:
        return max(seconds or 0.0 for seconds in waits)
    return Admission(asks, kinds, {}, max(count.minute for count in counts), tokens)


def _list_asks(
    scope: str, limits: tuple[int, int, int], lease_id: str, requests: int, tokens: int, lease_seconds: float
) -> tuple[list[Ask], list[str]]:
    rpm, tpm, concurrency = limits
    asks, kinds = [], []
    if rpm:
        asks.append(Ask(f"{scope}:rpm", rpm, requests))
        kinds.append("rpm")
    if tpm:
        asks.append(Ask(f"{scope}:tpm", tpm, tokens))
        kinds.append("tpm")
    if concurrency and lease_seconds:
        asks.append(Ask(f"{scope}:at-once", concurrency, is_lease=True, lease_id=lease_id, lease_seconds=lease_seconds))
        kinds.append("concurrency")
    return asks, kinds


def _read_windows(asks: Sequence[Ask], kinds: Sequence[str], counts: Sequence[Count], taken: bool) -> dict[str, Window]:
    """The window to report for requests and for tokens: of key and account the one with less left."""
    windows: dict[str, Window] = {}
    for ask, kind, count in zip(asks, kinds, counts, strict=True):
        if kind == "concurrency":
            continue
        window = read_window(ask, count, taken)
        if kind not in windows or window.remaining < windows[kind].remaining:
            windows[kind] = window
    return windows


def _refuse(
    asks: Sequence[Ask], kinds: Sequence[str], counts: Sequence[Count], windows: dict[str, Window]
) -> RateLimitExceeded:
    """The error for the limit that stays in the way longest."""
    refused = [
        (seconds_until_free(ask, count), ask, kind)
        for ask, kind, count in zip(asks, kinds, counts, strict=True)
        if not count.admitted
    ]
    seconds, ask, kind = max(refused, key=lambda item: float("inf") if item[0] is None else item[0])
    message = f"Rate limit exceeded: {ask.limit} {LIMITS[kind]}"
    if seconds is None:
        message += f"; this request alone needs {ask.cost}"
    error = RateLimitExceeded(message, retry_after_seconds=seconds)
    error.retryable = seconds is not None
    error.windows = windows
    return error
