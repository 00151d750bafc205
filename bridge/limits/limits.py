"""RPM, TPM and concurrency of a key and its account, or of a channel: all are taken in one trip, or none."""

import dataclasses
from collections.abc import Sequence

import msgspec

from bridge.accounts.keys import Caller
from bridge.catalogue.routing import Route
from bridge.counters.windows import (
    WINDOW_MS,
    Ask,
    Count,
    Counters,
    Give,
    Window,
    read_window,
    seconds_until_free,
    weigh,
)
from bridge.errors import RateLimitExceeded

LIMITS = {"rpm": "RPM", "tpm": "TPM", "concurrency": "concurrent requests"}
Figures = tuple[int, int, int]  # of these limits in this order; 0 is no limit


@dataclasses.dataclass(frozen=True, slots=True)
class InUse:
    """How much of a limit is in use. `is_shared`: it is the account's, and counts over all keys."""

    kind: str
    limit: int
    used: int
    is_shared: bool


class Admission(msgspec.Struct):
    """What a request took and in which minute, so that it can be corrected and given back; and the windows that its
    answer reports."""

    asks: list[Ask]
    kinds: list[str]
    windows: dict[str, Window]
    minute: int = 0
    reserved_tokens: int = 0

    def true_up(self, counters: Counters, used_tokens: int) -> None:
        """Give the leases back, and count the tokens that were used in place of those reserved."""
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
    counters: Counters, caller: Caller, request_id: str, *, requests: int, tokens: int, lease_seconds: float
) -> Admission:
    """Count a request and reserve its tokens, in one trip. `requests=0` only reads the windows, `lease_seconds=0` takes
    no lease.

    Raises RateLimitExceeded with the limit's message and the true time until the request can succeed. Then nothing is
    taken, and the error's `windows` has the limits' windows."""
    account = f"{{a{caller.account_id}}}"
    shared = (caller.account_rpm, caller.account_tpm, caller.account_concurrency)
    own = _leave_counting((caller.rpm, caller.tpm, caller.concurrency), shared)
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


def read_channel_in_use(counters: Counters, channel_id: int, limits: Figures) -> list[InUse]:
    """How much of the operator's own limits of a channel is in use: requests and tokens of the last 60 seconds, and
    attempts that run now. Kinds without a limit are left out. This is one trip, and takes nothing."""
    kinds = [(kind, limit) for kind, limit in zip(LIMITS, limits, strict=True) if limit]
    asks = [_ask_nothing(f"{{c{channel_id}}}", kind, limit) for kind, limit in kinds]
    counts = counters.take_all(asks) if asks else ()
    return [
        InUse(kind, limit, min(_count_used(kind, count), limit), False)
        for (kind, limit), count in zip(kinds, counts, strict=True)
    ]


def _ask_nothing(scope: str, kind: str, limit: int) -> Ask:
    """Asking for nothing, or for a lease where none is allowed, only reads."""
    if kind == "concurrency":
        return Ask(f"{scope}:at-once", 0, is_lease=True)
    return Ask(f"{scope}:{kind}", limit, 0)


def _count_used(kind: str, count: Count) -> int:
    return count.current if kind == "concurrency" else -(-weigh(count) // WINDOW_MS)


def read_in_use(counters: Counters, account_id: int, key_id: int, own: Figures, shared: Figures) -> list[InUse]:
    """How much of a key's limits is in use: requests and tokens of the last 60 seconds, and requests that run now. Of
    its own limit and its account's (`shared`), the one that has less left; kinds without a limit are left out. This is
    one trip, and takes nothing."""
    account = f"{{a{account_id}}}"
    counting = _leave_counting(own, shared)
    places = [
        (scope, kind, limit, scope == account)
        for scope, limits in ((f"{account}:k{key_id}", counting), (account, shared))
        for kind, limit in zip(LIMITS, limits, strict=True)
        if limit
    ]
    asks = [_ask_nothing(scope, kind, limit) for scope, kind, limit, _ in places]
    found: dict[str, InUse] = {}
    for (_, kind, limit, is_shared), count in zip(places, counters.take_all(asks) if asks else (), strict=True):
        in_use = InUse(kind, limit, min(_count_used(kind, count), limit), is_shared)
        if kind not in found or limit - in_use.used < found[kind].limit - found[kind].used:
            found[kind] = in_use
    return [found[kind] for kind in LIMITS if kind in found]


def _leave_counting(own: Figures, shared: Figures) -> Figures:
    """A key's own limits; 0 for one that can't be full before its account's, and isn't counted."""
    rpm, tpm, concurrency = (0 if 0 < all_ <= one else one for one, all_ in zip(own, shared, strict=True))
    return rpm, tpm, concurrency


def take_channel(
    counters: Counters, channel: Route, lease_id: str, *, requests: int, tokens: int, lease_seconds: float
) -> Admission | float:
    """Count an attempt against the operator's own limits of a channel, in one trip. Returns the seconds until the
    channel has room, if it has none. An attempt larger than a limit takes the whole limit: it runs when nothing else
    does, instead of never."""
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
        asks.append(Ask(f"{scope}:at-once", concurrency, 1, True, lease_id, lease_seconds, renewed=True))
        kinds.append("concurrency")
    return asks, kinds


def _read_windows(asks: Sequence[Ask], kinds: Sequence[str], counts: Sequence[Count], taken: bool) -> dict[str, Window]:
    """The windows to report for requests and for tokens: the key's or the account's, whichever has less left."""
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
    """The error for the limit that will refuse longest."""
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
