"""What state a channel is in, and whether a model is to be had: told by how the last calls ended, never by a time that
has passed. Home, channels, models, `GET /v1/models` and the status page all ask here."""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from bridge.db import now_utc
from bridge.languages import to_translate, translate
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
    "out": (
        "bad",
        to_translate("Out of service"),
        to_translate("its provider refuses the key: 401, 402 or 403. Only you can repair it"),
    ),
    "misconfigured": (
        "bad",
        to_translate("Misconfigured"),
        to_translate("its upstream doesn't have a model that it should serve"),
    ),
    "failing": (
        "bad",
        to_translate("Failing"),
        to_translate(
            "its last call failed, and fewer than half of the last ten were answered, however long ago that was"
        ),
    ),
    "cooling": (
        "warn",
        to_translate("Cooling down"),
        to_translate("it has just failed or answered 429; skipped for the seconds shown"),
    ),
    "partly": (
        "warn",
        to_translate("Partly failing"),
        to_translate("calls of one of its models fail, while others are answered"),
    ),
    "recovering": ("warn", to_translate("Recovering"), to_translate("it answers again, fewer than 20 calls so far")),
    "unsteady": (
        "warn",
        to_translate("Unsteady"),
        to_translate("its last call failed, or fewer than 95 of the last 100 were answered"),
    ),
    "slow": (
        "warn",
        to_translate("Slow"),
        to_translate("its first token takes more than twice as long as usual; still used"),
    ),
    "healthy": (
        "ok",
        to_translate("Healthy"),
        to_translate("at least 95 of the last 100 calls were answered, and the last one too"),
    ),
    "stands_in": (
        "ok",
        to_translate("Stands in"),
        to_translate("the sandbox: it makes answers up for models without a provider"),
    ),
    "untested": (
        "off",
        to_translate("Not tested"),
        to_translate("added, or its key or address changed, and never called since"),
    ),
    "disabled": ("off", to_translate("Disabled"), to_translate("switched off by an operator; no request goes to it")),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """A text with its values, such as an upstream's words. It is translated where it is read, in no call of /v1."""

    text: str
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return translate(self.text, **self.values) if self.text else ""


NOTHING_SAID = Said("")


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
    """A state: `code` is one of STATES, `kind` its dot; `at` is when that was, or None where it doesn't matter."""

    code: str
    kind: str
    name: Said
    reason: Said = NOTHING_SAID
    at: datetime.datetime | None = None

    @property
    def word(self) -> str:
        """What pages call the state, in the reader's language."""
        return str(self.name)

    @property
    def why(self) -> str:
        """The reason in the reader's language; "" if none is known."""
        return str(self.reason)

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
    def said(self) -> Said:
        """It in words."""
        values: dict[str, object] = {"calls": self.calls, "answered": self.answered, "why": self.why}
        if self.answered and self.is_one_accounts:
            text = to_translate(
                "%(answered)s of its last %(calls)s calls answered, the last failed, all for one account: %(why)s"
            )
        elif self.answered:
            text = to_translate("%(answered)s of its last %(calls)s calls answered, the last failed: %(why)s")
        elif self.calls > 1 and self.is_one_accounts:
            text = to_translate("its last %(calls)s calls failed, all for one account: %(why)s")
        elif self.calls > 1:
            text = to_translate("its last %(calls)s calls failed: %(why)s")
        elif self.is_one_accounts:
            text = to_translate("its last call failed, all for one account: %(why)s")
        else:
            text = to_translate("its last call failed: %(why)s")
        return Said(text, values)

    @property
    def text(self) -> str:
        """It in words, in the reader's language."""
        return str(self.said)


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
    name = Said(word)
    if code == "cooling" and channel.cooling_until is not None:
        seconds = (channel.cooling_until - now).seconds + 1
        if seconds < LAST_SECONDS:
            name = Said(to_translate("Cooling down, %(seconds)s s"), {"seconds": seconds})
    return ChannelState(code, kind, name, why, at)


def _judge(
    channel: ChannelLike, now: datetime.datetime, times_as_slow: float | None
) -> tuple[str, Said, datetime.datetime | None]:
    recent, error = _calls_of(channel), channel.last_error or ""
    failed_at = channel.last_error_at if error else channel.called_at
    if not channel.enabled:
        return "disabled", NOTHING_SAID, None
    if channel.health == "out" or (is_failing(recent) and recent.endswith(REFUSED)):
        return "out", Said(error), failed_at
    if channel.refused_models:
        names = ", ".join(channel.refused_models)
        return "misconfigured", Said(to_translate("its upstream has no %(models)s"), {"models": names}), failed_at
    if is_failing(recent):
        return "failing", _describe_failures(recent, error), failed_at
    if channel.health == "cooling" and channel.cooling_until is not None and channel.cooling_until > now:
        return "cooling", Said(error), failed_at
    if failing := [model for model in list_failing_models(channel) if not model.is_one_accounts]:
        return "partly", _name_failing(failing), failing[0].at
    if not recent and stands_in(channel.provider):
        return "stands_in", NOTHING_SAID, None
    if not recent and error:
        return "untested", Said(to_translate("its key or address has changed; press Test")), None
    if not recent:
        return "untested", Said(to_translate("press Test; added")), channel.created_at
    return _judge_use(recent, error, failed_at, times_as_slow)


def _name_failing(failing: list[FailingModel]) -> Said:
    names = ", ".join(model.upstream_id for model in failing[:NAMED_MODELS])
    values: dict[str, object] = {"models": names, "why": failing[0].said, "count": len(failing) - NAMED_MODELS}
    if len(failing) > NAMED_MODELS:
        return Said(to_translate("%(models)s and %(count)s more: %(why)s"), values)
    return Said(to_translate("%(models)s: %(why)s"), values)


def _judge_use(
    recent: str, error: str, failed_at: datetime.datetime | None, times_as_slow: float | None
) -> tuple[str, Said, datetime.datetime | None]:
    """The state of a channel that is used and doesn't fail: is it all that it should be?"""
    lost = len(recent) - recent.count(ANSWERED)
    before = recent.rstrip(ANSWERED)
    since = len(recent) - len(before)
    values: dict[str, object] = {"answered": len(recent) - lost, "calls": len(recent), "why": error}
    if not since:
        share = to_translate("%(answered)s of its last %(calls)s calls answered, the last failed: %(why)s")
        return "unsteady", Said(share, values) if lost < len(recent) else Said(error), failed_at
    if lost > max(1, len(recent) * FEW_FAILURES_PERCENT // 100) and since < STEADY_CALLS:
        if is_failing(before):
            return "recovering", _describe_recovery(since), None
        share = to_translate("%(answered)s of its last %(calls)s calls answered, the last error: %(why)s")
        return "unsteady", Said(share, values), failed_at
    if times_as_slow is not None:
        slow = {"times": f"{times_as_slow:.1f}"}
        return "slow", Said(to_translate("first token takes %(times)s times as long as usual"), slow), None
    if error:
        return "healthy", Said(to_translate("last error: %(why)s"), values), failed_at
    return "healthy", NOTHING_SAID, None


def _describe_recovery(since: int) -> Said:
    if since == 1:
        return Said(to_translate("1 call answered since it failed"))
    return Said(to_translate("%(count)s calls answered since it failed"), {"count": since})


def _calls_of(channel: ChannelLike) -> str:
    return channel.recent or KNOWN_BEFORE.get(channel.health, "")


def _describe_failures(recent: str, error: str) -> Said:
    calls = recent[-JUDGED_CALLS:]
    values: dict[str, object] = {"answered": calls.count(ANSWERED), "calls": len(calls), "why": error}
    if len(calls) == 1:
        return Said(to_translate("its last call failed: %(why)s"), values)
    if not values["answered"]:
        return Said(to_translate("its last %(calls)s calls failed: %(why)s"), values)
    return Said(to_translate("%(answered)s of its last %(calls)s calls answered, the last failed: %(why)s"), values)


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
            return _name_state("misconfigured", Said(to_translate("its upstream has no such model")))
        for one in list_failing_models(channel):
            if one.upstream_id == upstream_id:
                if one.is_one_accounts:
                    return ChannelState("failing", "warn", Said(to_translate("Fails for one account")), one.said)
                return _name_state("failing", one.said)
        if find_state(channel, now).code in OF_OTHER_MODELS:
            return _name_state("healthy", NOTHING_SAID)
    return find_state(channel, now)


def _name_state(code: str, reason: Said) -> ChannelState:
    kind, word, _ = STATES[code]
    return ChannelState(code, kind, Said(word), reason)


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
