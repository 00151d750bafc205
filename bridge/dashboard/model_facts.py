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
from bridge.languages import to_translate, translate
from bridge.ledger.model_days import SPEED_DAYS, find_quantile_ms, list_daily_speeds
from bridge.ledger.receipt import CLASSES

# what a class costs that has no price of its own
FOLLOWS = {"cached": "input", "cache_write": "input", "cache_write_hour": "cache_write", **FURTHER_CLASSES}
AS_OTHER = {"input": to_translate("as prompt"), "output": to_translate("as answer")}
TYPICAL_PROMPT_TOKENS, TYPICAL_ANSWER_TOKENS = 2_000, 500
INPUTS = {
    "text": to_translate("Text"),
    "image": to_translate("Images"),
    "file": to_translate("Files"),
    "audio": to_translate("Sound"),
    "video": to_translate("Video"),
}
TEXT = to_translate("text")
ANSWERS = {CHAT: TEXT, COMPLETIONS: TEXT, EMBEDDINGS: to_translate("vectors"), IMAGES: to_translate("pictures")}
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
            found.append(PriceRow(CLASSES[name], amounts, False, translate(AS_OTHER[follows])))
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
        return translate("each")
    if name in ("cached", "cache_write") and base.input:
        percent, rest = divmod(100 * getattr(base, name), base.input)
        return "" if rest else translate("%(percent)s%% of the prompt’s price", percent=percent)
    counts_as_answer = name == "output" and model.thinks and base.reasoning == base.output
    return translate("reasoning counts as answer") if counts_as_answer else ""


def find_typical_charge(model: ListedModel) -> tuple[str, int] | None:
    """A call of usual length in words, and what it is charged in nano-dollars; None where there is no usual length."""
    if IMAGES in model.kinds[:1]:
        return None
    answered = TYPICAL_ANSWER_TOKENS if writes_tokens(model.kinds) else 0
    values = {"prompt": f"{TYPICAL_PROMPT_TOKENS:,}", "answer": answered}
    words = (
        translate("A call of %(prompt)s tokens in and %(answer)s out", **values)
        if answered
        else translate("A call of %(prompt)s tokens in", **values)
    )
    return words, model.price.charge(Usage(TYPICAL_PROMPT_TOKENS, answered))


def list_capabilities(model: ListedModel, fields: Collection[str]) -> list[Capability]:
    """What the model takes and does. `fields` are those that its first channel takes."""
    found = [
        Capability(translate(name), kind in model.input_modalities)
        for kind, name in INPUTS.items()
        if kind != "video" or kind in model.input_modalities
    ]
    answers = ", ".join(dict.fromkeys(translate(ANSWERS[kind]) for kind in model.kinds))
    found.append(Capability(translate("Answers in"), True, answers))
    if CHAT in model.kinds:
        found += [
            Capability(
                translate("Tools"),
                "tools" in fields,
                translate("yes, in parallel too") if "parallel_tool_calls" in fields else "",
            ),
            Capability(translate("JSON schema"), "response_format" in fields),
            Capability(
                translate("Reasoning"),
                model.thinks,
                translate("yes, its effort can be set") if "reasoning_effort" in fields else "",
            ),
        ]
    if model.cached_nanos_per_mtok < model.input_nanos_per_mtok:
        found.append(Capability(translate("Prompt cache"), True, translate("reads cost less")))
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
