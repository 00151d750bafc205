"""What this process counts for Prometheus. Requests leave a note; a job adds the notes up, so that no request pays for
it. `bridge/ops/metrics.py` shows the sums of all workers.

Labels are what an operator sets up (models, providers, channels), never keys, accounts or what a client sends."""

import bisect
from collections import Counter as Count
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

NANOS_PER_DOLLAR = 1_000_000_000
FIRST_TOKEN_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 60)
REQUEST_SECONDS = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
JOB_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)
ANSWERED = "ok"

REQUESTS = Counter(
    "bridge_requests",
    "Requests that reached the ledger, by how they ended.",
    ("endpoint", "model", "provider", "status", "outcome"),
)
REFUSALS = Counter("bridge_refusals", "Requests refused before they cost anything.", ("status", "code"))
TOKENS = Counter("bridge_tokens", "Tokens that were charged for.", ("model", "provider", "type"))
REVENUE = Counter("bridge_revenue_dollars", "What customers were charged for requests.", ("model", "provider"))
COST = Counter("bridge_cost_dollars", "What requests cost at their providers.", ("model", "provider"))
LOSS = Counter("bridge_loss_dollars", "What requests were worth beyond what could be charged.", ("model", "provider"))
IN_DOLLARS = (REVENUE, COST, LOSS)
REQUEST_TIME = Histogram(
    "bridge_request_seconds", "From a request to the end of its answer.", ("endpoint", "model"), buckets=REQUEST_SECONDS
)
FIRST_TOKEN_TIME = Histogram(
    "bridge_first_token_seconds",
    "From a request to the first content of its answer.",
    ("endpoint", "model"),
    buckets=FIRST_TOKEN_SECONDS,
)
ATTEMPTS = Counter("bridge_upstream_attempts", "Requests to providers, by how they ended.", ("channel", "outcome"))
SPOOLED = Counter("bridge_spooled_settlements", "Settlements that went to the spool: the database was away.")
JOB_RUNS = Counter("bridge_job_runs", "Runs of background jobs, by how they ended.", ("job", "outcome"))
JOB_TIME = Histogram("bridge_job_seconds", "How long background jobs ran.", ("job",), buckets=JOB_SECONDS)
JOB_DONE = Gauge(
    "bridge_job_last_success_timestamp_seconds",
    "When a background job last succeeded.",
    ("job",),
    multiprocess_mode="mostrecent",
)
IN_FLIGHT = Gauge("bridge_in_flight_requests", "Requests that are being served.", multiprocess_mode="livesum")
STREAMS = Gauge("bridge_open_streams", "Streams that are open.", multiprocess_mode="livesum")


class Notes:
    """What requests have left since it was last added up."""

    def __init__(self) -> None:
        self._finished: list[tuple[Any, str, int, list[Any]]] = []
        self._refused: list[tuple[int, str]] = []

    def finish(self, settlement: Any, provider: str, charge_nanos: int, attempts: list[Any]) -> None:
        """A request has reached the ledger, and this is what it was charged. `attempts`: its AttemptRecords."""
        self._finished.append((settlement, provider, charge_nanos, attempts))

    def refuse(self, status: int, code: str) -> None:
        """A request was refused before it cost anything."""
        self._refused.append((status, code))

    def add_up(self, in_flight: int, streams: int) -> None:
        """Add everything noted to the counters of this process, and set what is going on now."""
        finished, self._finished = self._finished, []
        refused, self._refused = self._refused, []
        for (status, code), number in Count(refused).items():
            REFUSALS.labels(status, code).inc(number)
        _add_finished(finished)
        IN_FLIGHT.set(in_flight)
        STREAMS.set(streams)


def note_job(name: str, seconds: float, finished_at: float | None) -> None:
    """A job has run. `finished_at` is the time (Unix) of its success, None of a failure."""
    JOB_RUNS.labels(name, "failed" if finished_at is None else ANSWERED).inc()
    JOB_TIME.labels(name).observe(seconds)
    if finished_at is not None:
        JOB_DONE.labels(name).set(finished_at)


def _add_finished(finished: Iterable[tuple[Any, str, int, list[Any]]]) -> None:
    sums: Count[tuple[Counter, tuple[Any, ...]]] = Count()
    times: dict[tuple[Histogram, tuple[str, str]], list[float]] = {}
    for one, provider, charge_nanos, attempts in finished:
        sums[REQUESTS, (one.endpoint, one.model_id, provider, one.status, one.outcome)] += 1
        for attempt in attempts:
            sums[ATTEMPTS, (attempt.channel, _outcome_of(attempt.outcome))] += 1
        sums += _count_money(one, provider, charge_nanos)
        place = one.endpoint, one.model_id
        times.setdefault((REQUEST_TIME, place), []).append(one.total_ms / 1000)
        if one.first_content_ms is not None:
            times.setdefault((FIRST_TOKEN_TIME, place), []).append(one.first_content_ms / 1000)
    for (counter, labels), number in sums.items():
        counter.labels(*labels).inc(number / NANOS_PER_DOLLAR if counter in IN_DOLLARS else number)
    for (histogram, labels), values in times.items():
        _observe_all(histogram.labels(*labels), values)


def _count_money(one: Any, provider: str, charge_nanos: int) -> "Count[Any]":
    """What one request was charged, in nano-dollars, and its tokens."""
    place = one.model_id, provider
    found: Count[Any] = Count({(COST, place): one.cost_nanos})
    if one.state == "captured":
        found[REVENUE, place] = charge_nanos
        found[LOSS, place] = max(0, one.price_nanos - charge_nanos)
        for kind, number in _list_tokens(one):
            found[TOKENS, (*place, kind)] = number
    return found


def _observe_all(histogram: Any, values: list[float]) -> None:
    """Observe the values at once. One at a time each would cost as much as all other notes of its request; the
    library has no such call, so this does what its `observe` does."""
    bounds = histogram._upper_bounds
    for place, number in Count(bisect.bisect_left(bounds, value) for value in values).items():
        histogram._buckets[place].inc(number)
    histogram._sum.inc(sum(values))


def _list_tokens(one: Any) -> tuple[tuple[str, int], ...]:
    """By type, without overlap: the cached ones are no input, the reasoning ones no output."""
    return (
        ("input", one.prompt_tokens - one.cached_tokens - one.cache_write_tokens),
        ("cached", one.cached_tokens),
        ("cache_write", one.cache_write_tokens),
        ("output", one.completion_tokens - one.reasoning_tokens),
        ("reasoning", one.reasoning_tokens),
    )


def _outcome_of(outcome: str) -> str:
    """The kind of an attempt's end, which has few values: an HTTP status, or what came instead of one."""
    if outcome[:3].isdecimal():
        return outcome[:3]
    return "client_gone" if outcome == "client gone" else "no_answer" if outcome else "under_way"
