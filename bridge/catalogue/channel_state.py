"""What state a channel is in, and whether a model is to be had: told by how the last calls ended, never by a time that
has passed. Home, channels, models, `GET /v1/models` and the status page all ask here."""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from bridge.db import now_utc
from bridge.providers import stands_in

RECENT_CALLS = 100  # that a channel's row has
ANSWERED, FAILED, LIMITED, REFUSED, MISSING = "afrkm"  # how a call ended, as its row has it
JUDGED_CALLS = 10
FEW_FAILURES_PERCENT = 5
LIMITS_IN_A_ROW = 5  # rate limits before these alone make a channel fail
NAMED_MODELS = 3
OF_OTHER_MODELS = ("misconfigured", "partly")  # states of a channel that say nothing of the models not named
STEADY_CALLS = 20  # answered in a row, after which what failed before counts no more
LAST_SECONDS = 60
OF_SEVERAL = 0  # whose failures a model's are: not one account's alone
LIVE, DEGRADED, UNAVAILABLE = "live", "degraded", "unavailable"
# what rows say that no worker of this version has written to yet
KNOWN_BEFORE = {"healthy": ANSWERED, "failing": FAILED, "cooling": LIMITED, "out": REFUSED}
# from the worst to the least: its dot, its word, and what it means
STATES = {
    "out": ("bad", "Out of service", "its provider refuses the key: 401, 402 or 403. Only you can repair it"),
    "misconfigured": ("bad", "Misconfigured", "its upstream doesn't have a model that it should serve"),
    "failing": (
        "bad",
        "Failing",
        "its last call failed, and fewer than half of the last ten were answered, however long ago that was",
    ),
    "cooling": ("warn", "Cooling down", "it has just failed or answered 429; skipped for the seconds shown"),
    "partly": ("warn", "Partly failing", "calls of one of its models fail, while others are answered"),
    "recovering": ("warn", "Recovering", "it answers again, fewer than 20 calls so far"),
    "unsteady": (
        "warn",
        "Unsteady",
        "its last call failed, or fewer than 95 of the last 100 were answered",
    ),
    "slow": ("warn", "Slow", "its first token takes more than twice as long as usual; still used"),
    "healthy": ("ok", "Healthy", "at least 95 of the last 100 calls were answered, and the last one too"),
    "stands_in": ("ok", "Stands in", "the sandbox: it makes answers up for models without a provider"),
    "untested": ("off", "Not tested", "added, or its key or address changed, and never called since"),
    "disabled": ("off", "Disabled", "switched off by an operator; no request goes to it"),
}


class ChannelLike(Protocol):
    """A channel's row, or a read-only copy of one."""

    @property
    def provider(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def health(self) -> str: ...
    @property
    def cooling_until(self) -> datetime.datetime | None: ...
    @property
    def refused_models(self) -> Collection[str] | None: ...
    @property
    def recent(self) -> str: ...
    @property
    def model_calls(self) -> Mapping[str, Mapping[str, Any]] | None: ...
    @property
    def called_at(self) -> datetime.datetime | None: ...
    @property
    def last_error(self) -> str | None: ...
    @property
    def last_error_at(self) -> datetime.datetime | None: ...
    @property
    def created_at(self) -> datetime.datetime: ...


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelState:
    """A state: `code` is one of STATES, `kind` its dot, `word` what pages say, `why` the reason; `at` is when that
    was, or None where it doesn't matter."""

    code: str
    kind: str
    word: str
    why: str
    at: datetime.datetime | None = None

    @property
    def needs_operator(self) -> bool:
        """Whether somebody has to do something, or soon may have to."""
        return self.kind in ("bad", "warn") or self.code == "untested"


@dataclasses.dataclass(frozen=True, slots=True)
class FailingModel:
    """A model of a channel, by the upstream's name, whose last calls failed while others were answered: what the last
    one met, and whether one account alone has met that."""

    upstream_id: str
    calls: int
    answered: int
    why: str
    is_one_accounts: bool
    at: datetime.datetime

    @property
    def text(self) -> str:
        """It in words."""
        last = f"its last {self.calls} calls failed" if self.calls > 1 else "its last call failed"
        if self.answered:
            last = f"{self.answered} of its last {self.calls} calls answered, the last failed"
        return f"{last}{', all for one account' if self.is_one_accounts else ''}: {self.why}"


def list_failing_models(channel: ChannelLike) -> list[FailingModel]:
    """The models of the channel that fail apart from it, by name."""
    return [
        FailingModel(
            name,
            len(one["calls"]),
            one["calls"].count(ANSWERED),
            one["why"],
            one["by"] != OF_SEVERAL,
            datetime.datetime.fromtimestamp(one["at"], datetime.UTC),
        )
        for name, one in sorted((channel.model_calls or {}).items())
        if one["apart"] and is_failing(one["calls"])
    ]


def fails_model(channel: ChannelLike, upstream_id: str) -> bool:
    """Whether this model fails there, and not for one account alone."""
    one = (channel.model_calls or {}).get(upstream_id)
    return one is not None and one["apart"] and one["by"] == OF_SEVERAL and is_failing(one["calls"])


def rank_state(state: ChannelState) -> int:
    """Its place in a list that begins with the worst."""
    return list(STATES).index(state.code)


def find_state(
    channel: ChannelLike, now: datetime.datetime | None = None, times_as_slow: float | None = None
) -> ChannelState:
    """The state of a channel. `times_as_slow`: how many times as long as usual its first token takes, if that is worth
    telling."""
    now = now or now_utc()
    code, why, at = _judge(channel, now, times_as_slow)
    kind, word, _ = STATES[code]
    if code == "cooling" and channel.cooling_until is not None:
        seconds = (channel.cooling_until - now).seconds + 1
        word = f"{word}, {seconds} s" if seconds < LAST_SECONDS else word
    return ChannelState(code, kind, word, why, at)


def _judge(
    channel: ChannelLike, now: datetime.datetime, times_as_slow: float | None
) -> tuple[str, str, datetime.datetime | None]:
    recent, error = _calls_of(channel), channel.last_error or ""
    failed_at = channel.last_error_at if error else channel.called_at
    if not channel.enabled:
        return "disabled", "", None
    if channel.health == "out" or (is_failing(recent) and recent.endswith(REFUSED)):
        return "out", error, failed_at
    if channel.refused_models:
        return "misconfigured", f"its upstream has no {', '.join(channel.refused_models)}", failed_at
    if is_failing(recent):
        return "failing", _describe_failures(recent, error), failed_at
    if channel.health == "cooling" and channel.cooling_until is not None and channel.cooling_until > now:
        return "cooling", error, failed_at
    failing = [model for model in list_failing_models(channel) if not model.is_one_accounts]
    if failing:
        names = ", ".join(model.upstream_id for model in failing[:NAMED_MODELS])
        more = f" and {len(failing) - NAMED_MODELS} more" if len(failing) > NAMED_MODELS else ""
        return "partly", f"{names}{more}: {failing[0].text}", failing[0].at
    if not recent and stands_in(channel.provider):
        return "stands_in", "", None
    if not recent and error:
        return "untested", "its key or address has changed; press Test", None
    if not recent:
        return "untested", "press Test; added", channel.created_at
    return _judge_use(recent, error, failed_at, times_as_slow)


def _judge_use(
    recent: str, error: str, failed_at: datetime.datetime | None, times_as_slow: float | None
) -> tuple[str, str, datetime.datetime | None]:
    """The state of a channel that is used and doesn't fail: is it all that it should be?"""
    lost = len(recent) - recent.count(ANSWERED)
    before = recent.rstrip(ANSWERED)
    since = len(recent) - len(before)
    share = f"{len(recent) - lost} of its last {len(recent)} calls answered"
    if not since:
        return "unsteady", f"{share}, the last failed: {error}" if lost < len(recent) else error, failed_at
    if lost > max(1, len(recent) * FEW_FAILURES_PERCENT // 100) and since < STEADY_CALLS:
        if is_failing(before):
            return "recovering", f"{since} call{'s' if since != 1 else ''} answered since it failed", None
        return "unsteady", f"{share}, the last error: {error}", failed_at
    if times_as_slow is not None:
        return "slow", f"first token takes {times_as_slow:.1f} times as long as usual", None
    return "healthy", f"last error: {error}" if error else "", failed_at if error else None


def _calls_of(channel: ChannelLike) -> str:
    return channel.recent or KNOWN_BEFORE.get(channel.health, "")


def _describe_failures(recent: str, error: str) -> str:
    calls = recent[-JUDGED_CALLS:]
    answered = calls.count(ANSWERED)
    if len(calls) == 1:
        return f"its last call failed: {error}"
    if not answered:
        return f"its last {len(calls)} calls failed: {error}"
    return f"{answered} of its last {len(calls)} calls answered, the last failed: {error}"


def is_failing(recent: str) -> bool:
    """Whether the last of these calls failed, and fewer than half of the last ten were answered. Rate limits pass by
    themselves: it takes several before they count as that."""
    calls = recent[-JUDGED_CALLS:]
    answered = calls.count(ANSWERED)
    if not calls or calls[-1] == ANSWERED or answered * 2 >= len(calls):
        return False
    limited = calls.count(LIMITED)
    return limited < len(calls) - answered or limited >= LIMITS_IN_A_ROW


def fails_for(channel: ChannelLike, upstream_id: str) -> bool:
    """Whether a model, by the upstream's name of it, is not to be had by this channel: its key is refused, the upstream
    lacks the model, or the last calls of the channel failed, or those of this model."""
    if channel.health == "out" or upstream_id in (channel.refused_models or ()) or is_failing(_calls_of(channel)):
        return True
    return bool(channel.model_calls) and fails_model(channel, upstream_id)


def was_called(channel: ChannelLike) -> bool:
    """Whether anything is known of how its calls end."""
    return bool(_calls_of(channel))


def find_model_state(channel: ChannelLike, upstream_id: str, now: datetime.datetime | None = None) -> ChannelState:
    """The state of one model of a channel: that of its own last calls where it fails, otherwise the channel's."""
    if channel.enabled and channel.health != "out":
        if upstream_id in (channel.refused_models or ()):
            return ChannelState("misconfigured", *STATES["misconfigured"][:2], "its upstream has no such model")
        for one in list_failing_models(channel):
            if one.upstream_id == upstream_id:
                kind, word = ("warn", "Fails for one account") if one.is_one_accounts else STATES["failing"][:2]
                return ChannelState("failing", kind, word, one.text)
        if find_state(channel, now).code in OF_OTHER_MODELS:
            return ChannelState("healthy", *STATES["healthy"][:2], "")
    return find_state(channel, now)


def find_availability(serving: Sequence[tuple[ChannelLike, str]], now: datetime.datetime) -> str:
    """Whether a model is to be had by these channels, each with the upstream's name of the model: `live` where one is
    well enough to be asked, `degraded` where those that don't fail have to cool down, `unavailable` where all fail, or
    this model fails on all of them, or there is none."""
    found = UNAVAILABLE
    for channel, upstream_id in serving:
        if fails_for(channel, upstream_id):
            continue
        until = channel.cooling_until
        if channel.health != "cooling" or (until is not None and until <= now):
            return LIVE
        found = DEGRADED
    return found
