"""What a model's page tells beside its row of the list: prices by class and tier, what it can, how soon it answers.
It is what the catalogue knows, or was measured."""

import dataclasses
import datetime
import functools
from collections.abc import Collection, Sequence

from bridge.catalogue.listing import ListedModel
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import BY_THE_PIECE, FURTHER_CLASSES, PRICE_CLASSES
from bridge.chart import DAY, Chart, SpanSum, draw
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, writes_tokens
from bridge.conversation.usage import Usage
from bridge.ledger.model_days import SPEED_DAYS, find_quantile_ms, list_daily_speeds
from bridge.ledger.receipt import CLASSES

# what a class costs that has no price of its own
FOLLOWS = {"cached": "input", "cache_write": "input", "cache_write_hour": "cache_write", **FURTHER_CLASSES}
AS_OTHER = {"input": "as prompt", "output": "as answer"}
TYPICAL_PROMPT_TOKENS, TYPICAL_ANSWER_TOKENS = 2_000, 500
INPUTS = {"text": "Text", "image": "Images", "file": "Files", "audio": "Sound", "video": "Video"}
ANSWERS = {CHAT: "text", COMPLETIONS: "text", EMBEDDINGS: "vectors", IMAGES: "pictures"}
WIDTH, PHONE_WIDTH = 640, 330  # of the chart, so that its text keeps its size
ONE_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class PriceRow:
    """A class of tokens, and what it costs in each tier: nano-dollars a million, or `each`."""

    name: str
    amounts: tuple[int, ...]
    each: bool
    note: str


@dataclasses.dataclass(frozen=True, slots=True)
class Capability:
    """Something that the model takes or does, or not; `detail` says more than yes or no."""

    name: str
    is_given: bool
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class FirstTokens:
    """The median time to a first token on each of the last days: drawn in both widths, and its ends in words."""

    charts: Sequence[Chart]
    quickest: tuple[datetime.date, int]  # milliseconds
    slowest: tuple[datetime.date, int]


def list_price_rows(model: ListedModel, price: PriceVersion) -> list[PriceRow]:
    """The classes that such a model has. Those that cost what others cost are left out, but for reads from a cache."""
    found = []
    for name in (*PRICE_CLASSES, *FURTHER_CLASSES):
        amounts = _list_amounts(price, name)
        follows = FOLLOWS.get(name, "")
        is_same = bool(follows) and amounts == _list_amounts(price, follows)
        if name == "cached" and is_same and writes_tokens(model.kinds) and any(amounts):
            found.append(PriceRow(CLASSES[name], amounts, False, AS_OTHER[follows]))
        elif not is_same and _is_shown(model, price, name):
            found.append(PriceRow(CLASSES[name], amounts, name in BY_THE_PIECE, _note(model, price, name)))
    return found


def _list_amounts(price: PriceVersion, name: str) -> tuple[int, ...]:
    return tuple(getattr(rates, name) for rates in price.tiers)


def _is_shown(model: ListedModel, price: PriceVersion, name: str) -> bool:
    if any(_list_amounts(price, name)):
        return name != "output" or writes_tokens(model.kinds)
    is_main = name == "input" or (name == "output" and writes_tokens(model.kinds))
    return is_main and not price.base.picture  # otherwise the model costs nothing, and the page says so


def _note(model: ListedModel, price: PriceVersion, name: str) -> str:
    base = price.base
    if name in BY_THE_PIECE:
        return "each"
    if name in ("cached", "cache_write") and base.input:
        percent, rest = divmod(100 * getattr(base, name), base.input)
        return "" if rest else f"{percent}% of the prompt’s price"
    return "reasoning counts as answer" if name == "output" and model.thinks and base.reasoning == base.output else ""


def find_typical_charge(model: ListedModel) -> tuple[str, int] | None:
    """A call of usual length in words, and what it is charged in nano-dollars; None where there is no usual length."""
    if IMAGES in model.kinds[:1]:
        return None
    answered = TYPICAL_ANSWER_TOKENS if writes_tokens(model.kinds) else 0
    words = f"A call of {TYPICAL_PROMPT_TOKENS:,} tokens in" + (f" and {answered} out" if answered else "")
    return words, model.price.charge(Usage(TYPICAL_PROMPT_TOKENS, answered))


def list_capabilities(model: ListedModel, fields: Collection[str]) -> list[Capability]:
    """What the model takes and does. `fields` are those that its first channel takes."""
    found = [
        Capability(name, kind in model.input_modalities)
        for kind, name in INPUTS.items()
        if kind != "video" or kind in model.input_modalities
    ]
    found.append(Capability("Answers in", True, ", ".join(dict.fromkeys(ANSWERS[kind] for kind in model.kinds))))
    if CHAT in model.kinds:
        found += [
            Capability("Tools", "tools" in fields, "yes, in parallel too" if "parallel_tool_calls" in fields else ""),
            Capability("JSON schema", "response_format" in fields),
            Capability("Reasoning", model.thinks, "yes, its effort can be set" if "reasoning_effort" in fields else ""),
        ]
    if model.cached_nanos_per_mtok < model.input_nanos_per_mtok:
        found.append(Capability("Prompt cache", True, "reads cost less"))
    return found


def find_first_tokens(model_id: str, today: datetime.date) -> FirstTokens | None:
    """The medians of the last 30 days, by one statement; None where nothing was answered."""
    medians = {}
    for day, counts in list_daily_speeds(model_id, today).items():
        if (median := find_quantile_ms(counts, 0.5)) is not None:
            medians[day] = median
    if not medians:
        return None
    days = [today - number * ONE_DAY for number in reversed(range(SPEED_DAYS))]
    spans = {day: datetime.datetime.combine(day, datetime.time(), datetime.UTC) for day in days}
    sums = [SpanSum(spans[day], "", median, 0) for day, median in medians.items()]
    write = functools.partial(draw, sums, [*spans.values()], DAY, counts=True, write=_write_seconds)
    charts = [
        write(width=width, name_every=every, css=css)
        for width, every, css in ((WIDTH, 4, "wide"), (PHONE_WIDTH, 8, "slim"))
    ]
    ends = sorted(medians.items(), key=lambda each: each[1])
    return FirstTokens(charts, ends[0], ends[-1])


def _write_seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"
