"""What a request's tokens cost us, class by class, beside what they were charged at: for the operator's receipt."""

import dataclasses

from bridge.catalogue.price_rows import find_version
from bridge.catalogue.price_snapshot import read_snapshot
from bridge.catalogue.rates import BY_THE_PIECE, Line
from bridge.ledger.receipt import CLASSES, SHOWN_ALWAYS
from bridge.ledger.tables import UsageRecord
from bridge.money import TOKENS_PER_MTOK


@dataclasses.dataclass(frozen=True, slots=True)
class CostLine:
    """One class: its count; its price and our own per million tokens in nanos (a piece's for requests and pictures);
    what was charged and what it cost, rounded down. The cost is None where the price's row is gone."""

    name: str
    count: int
    unit_nanos: int
    amount_nanos: int
    own_unit_nanos: int | None
    cost_nanos: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Costs:
    """The lines of a request; the share of the provider's list prices that was paid, in hundredths of a percent (None
    if that can't be said); and what its cost and its charge differ from the lines' sums by."""

    lines: list[CostLine]
    share_bps: int | None
    cost_difference_nanos: int
    charge_difference_nanos: int


def list_costs(record: UsageRecord) -> Costs:
    """The costs of a settled request. The list prices are those of the price that it was charged by. A channel's
    discount isn't stored with the request: it is what its cost is of them."""
    snapshot = read_snapshot(record)
    usage, calls = snapshot.usage, snapshot.calls
    version = find_version(record.price_id)
    charged = _by_class(snapshot.rates.lines(usage, calls))
    listed, whole = {}, 0
    if version is not None:
        listed = _by_class(version.cost_rates(usage.prompt_tokens, calls).lines(usage, calls))
        whole = sum(count * nanos for count, nanos in listed.values())
    captured = record.state == "captured"
    cost = record.cost_nanos * TOKENS_PER_MTOK
    lines = []
    for name in (*charged, *(name for name in listed if name not in charged)):
        count, nanos = charged.get(name) or (listed[name][0], 0)
        if name not in SHOWN_ALWAYS and (not count or (name == "request" and not captured)):
            continue
        own_count, own_nanos = listed.get(name, (0, 0))
        shown = TOKENS_PER_MTOK if name in BY_THE_PIECE else 1
        amount = count * nanos // TOKENS_PER_MTOK if captured else 0
        share = own_count * own_nanos * cost // whole // TOKENS_PER_MTOK if whole else None
        own_unit = own_nanos * cost // whole // shown if whole and captured else None
        lines.append(CostLine(CLASSES[name], count, nanos // shown, amount, own_unit, share))
    known = [line.cost_nanos for line in lines if line.cost_nanos is not None]
    return Costs(
        lines,
        cost * 10_000 // whole if whole and captured else None,
        record.cost_nanos - sum(known),
        record.charge_nanos - sum(line.amount_nanos for line in lines),
    )


def _by_class(lines: list[Line]) -> dict[str, tuple[int, int]]:
    return {name: (count, nanos) for name, count, nanos in lines}
