"""Reconciles afterwards every request's row in the ledger with what its client received and its upstream sent.

price(received) ≤ charge ≤ price(sent), and equal if the answer was complete. For a request whose worker was killed, 0 ≤
charge ≤ price(received). A false count of an upstream is believed within bounds, so then only those are checked."""

import collections
import dataclasses
import json
from collections.abc import Iterator, Sequence

from bridge.ledger.tables import UsageRecord
from bridge.money import parse_dollars
from tests.audit.clients import Got
from tests.audit.said import AROUND_A_PROMPT, WINDOW_TOKENS, price
from tests.audit.upstream import Served
from tests.doors import Counts

Pair = tuple[Got, UsageRecord | None]


@dataclasses.dataclass
class Findings:
    """What the audit says in the end. `differences` are sentences; amounts are nano-dollars."""

    differences: list[str] = dataclasses.field(default_factory=list)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    losses_nanos: int = 0
    # the settlement comes before the end: killed in between, a worker leaves more paid for than its client has
    lost_ends: list[str] = dataclasses.field(default_factory=list)


def reconcile(
    results: Sequence[Got], rows: Sequence[UsageRecord], book: dict[int, list[Served]], kills: int
) -> Findings:
    """Match each result to its row, and judge both."""
    found = Findings()
    by_id = {row.request_id: row for row in rows}
    if len(by_id) < len(rows):
        found.differences.append(f"{len(rows) - len(by_id)} requests were settled twice")
    known = {got.request_id for got in results if not got.replayed}
    strays: dict[int, list[UsageRecord]] = collections.defaultdict(list)
    for row in rows:
        if row.request_id not in known:
            strays[row.key_id].append(row)
    pairs: list[Pair] = []
    for got in results:
        row = by_id.get(got.request_id) if got.request_id else next(iter(strays.pop(got.key_id, [])), None)
        pairs.append((got, row))
        if got.replayed:
            continue  # its id is that of the request which was paid for, and that one is judged
        found.outcomes[f"{row.outcome if row else 'never held'}, client: {got.ended}"] += 1
        served = book.get(got.wish.number, [])
        for complaint in _judge(got, row, served, kills):
            found.differences.append(_describe(got, row, served, complaint))
        if row is not None:
            found.losses_nanos += row.loss_nanos
            if row.outcome != "worker_lost" and got.ended == "died" and row.charge_nanos > _received(got, served, row):
                found.lost_ends.append(_describe(got, row, served, "paid, and its end was lost"))
    for rows_left in strays.values():
        found.differences += [f"row {row.request_id} belongs to no request" for row in rows_left]
    found.differences += _judge_repeated(pairs)
    return found


def _judge(got: Got, row: UsageRecord | None, served: list[Served], kills: int) -> Iterator[str]:
    if got.garbled:
        yield "the client received words that nobody sent so"
    if row is None:
        if got.words or got.ended == "done":
            yield "delivered, and nowhere in the ledger"
        return
    cap = row.output_cap_tokens * got.wish.choices
    due = row.charge_nanos + row.loss_nanos
    if row.charge_nanos < 0 or row.loss_nanos < 0:
        yield "negative"
    if row.state == "released" and row.charge_nanos:
        yield "released, and charged"
    if row.outcome == "worker_lost":
        yield from _judge_lost(got, row, served, kills, cap)
        return
    if got.ended == "done" and row.outcome != "complete":
        yield "the client has all of it"
    odd = any(attempt.counts for attempt in served)
    if got.told.cost and not odd and parse_dollars(got.told.cost) != row.charge_nanos:
        yield f"the client was told ${got.told.cost}"
    yield from _judge_told(got, row)
    if not odd and row.charge_nanos > row.hold_nanos:
        yield "more than was held"
    if row.outcome == "complete":
        ended = [attempt for attempt in served if attempt.finished]
        if not any(_fits(due, attempt, cap) for attempt in ended):
            yield f"complete, and due is none of {[price(a.prompt_tokens, a.sent_tokens) for a in ended]}"
        if got.ended == "done" and not any(attempt.words == got.words for attempt in ended):
            yield "the client lacks words"
    elif row.outcome == "failed":
        if due or got.words:
            yield "failed, and yet something was delivered or charged"
    elif odd:
        if due > price(WINDOW_TOKENS, cap):
            yield "above every bound"
    else:  # what stands around a prompt is counted where its upstream told of it, and it tells at the end
        least = max(0, _least(got, served, cap) - price(AROUND_A_PROMPT, 0))
        if not least <= due <= _most(served, cap):
            yield f"due is not within {least} and {_most(served, cap)}"


def _judge_told(got: Got, row: UsageRecord) -> Iterator[str]:
    """What its door told the client of its request is what stands in the ledger."""
    told, wish = got.told, got.wish
    booked = Counts(
        row.prompt_tokens, row.cached_tokens, row.cache_write_tokens, row.completion_tokens, row.reasoning_tokens
    )
    if told.counts is not None and told.counts != booked:
        yield f"the client was told {told.counts}, and {booked} are booked"
    if told.answer_id and told.answer_id != wish.door.id_prefix + row.request_id.removeprefix("req_"):
        yield f"the answer is called {told.answer_id}"
    if (row.tags or "[]") != json.dumps([wish.tag] if wish.tag else []):
        yield f"tagged {row.tags}"
    if row.endpoint != wish.door_name or row.stream != wish.stream:
        yield f"booked as {row.endpoint}, streamed: {row.stream}"


def _judge_lost(got: Got, row: UsageRecord, served: list[Served], kills: int, cap: int) -> Iterator[str]:
    """A client that left by itself hasn't read everything that went out to it."""
    if not kills:
        yield "lost, and no worker was killed"
    read_all = got.ended == "died" and not got.wish.resumes  # one that resumes could have read more
    most = _least(got, served, cap) if read_all else _most(served, cap)
    if got.ended == "done":
        yield "lost, and the client has all of it"
    if row.charge_nanos > most:
        yield f"lost, and charged more than {most}"


def _fits(due: int, attempt: Served, cap: int) -> bool:
    if attempt.counts is None:
        counted_prompt, counted = attempt.counted
        return due == price(counted_prompt, min(counted, cap))
    prompt, completion = attempt.counts
    if isinstance(prompt, int) and prompt == attempt.prompt_tokens:
        return due == price(prompt, min(completion, cap))
    return 0 <= due <= price(WINDOW_TOKENS, cap)


def _received(got: Got, served: list[Served], row: UsageRecord) -> int:
    return _least(got, served, row.output_cap_tokens * got.wish.choices)


def _least(got: Got, served: list[Served], cap: int) -> int:
    """The price of what the client received, without the end token that only complete answers have."""
    return price(served[-1].prompt_tokens, min(got.words, cap)) if got.words else 0


def _most(served: list[Served], cap: int) -> int:
    return max((price(attempt.prompt_tokens, min(attempt.sent_tokens, cap)) for attempt in served), default=0)


def _judge_repeated(pairs: Sequence[Pair]) -> Iterator[str]:
    """Requests with one Idempotency-Key are charged once, and a repetition gets the answer that was charged."""
    groups: dict[tuple[int, str], list[Pair]] = collections.defaultdict(list)
    for got, row in pairs:
        if got.wish.idempotency_key:
            groups[got.wish.account, got.wish.idempotency_key].append((got, row))
    for (_, key), group in groups.items():
        paid = {row.request_id: got for got, row in group if row and row.charge_nanos and not got.replayed}
        told = "; ".join(
            f"{got.request_id or 'unknown'}{' again' if got.replayed else ''} {got.status} {got.ended} with "
            f"{got.tokens}, row {row and f'{row.request_id} {row.outcome} {row.charge_nanos}'}"
            for got, row in group
        )
        if len(paid) > 1:
            yield f"{key}: paid for {len(paid)} times: {told}"
        for got, _ in group:
            first = paid.get(got.request_id)  # nobody paid, where the worker died between keeping and charging
            if got.replayed and first and first.ended == "done" and not _is_same(first, got):
                yield f"{key}: {got.request_id} was given again, and it isn't the answer that was paid for: {told}"


def _is_same(first: Got, got: Got) -> bool:
    """Whether the repetition is the first answer, as far as its client has read it."""
    read_all = got.ended not in ("left", "died")
    return got.said == (first.said if read_all else first.said[: len(got.said)])


def _describe(got: Got, row: UsageRecord | None, served: list[Served], complaint: str) -> str:
    plays = ", ".join(f"{one.play}: {one.prompt_tokens} + {one.sent_tokens}" for one in served)
    client = f"client {got.ended} {got.status} with {got.tokens}"
    booked = "no row"
    if row is not None:
        booked = (
            f"{row.outcome} {row.state} {row.prompt_tokens} + {row.completion_tokens} ({row.tokens_source}), "
            f"charge {row.charge_nanos}, loss {row.loss_nanos}, hold {row.hold_nanos}, cap {row.output_cap_tokens}"
        )
    wish = got.wish
    kind = f"{wish.door_name} to {wish.upstream}, {'stream' if wish.stream else 'whole'}, n={wish.choices}"
    return f"{got.request_id or 'unknown'} ({kind}): {complaint}; {client}; {booked}; {plays}"
