"""A file of models and prices, in TOML: the one that comes with the program, and those that operators name.

`bridge/data/models.toml` says at its top what each field means."""

import dataclasses
import datetime
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from bridge.catalogue.rates import Rates, make_rates
from bridge.conversation.kinds import CHAT, ENDPOINTS, writes_tokens
from bridge.errors import InvalidRequest
from bridge.money import parse_dollars
from bridge.providers.openai.wires import WIRES

INPUT_KINDS = ("text", "image", "file", "audio", "video")
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
STATED_CLASSES = ("input", "cached", "output", "cache_write", "cache_write_hour")  # in the order of the file
MOST_TOKENS = 10**9
MOST_CHARACTERS = 128


@dataclasses.dataclass(frozen=True, slots=True)
class LaterPrice:
    """What a model will cost from a day on, which begins at midnight UTC; the lowest tier first."""

    starts_on: datetime.date
    tiers: tuple[Rates, ...]

    @property
    def starts_at(self) -> datetime.datetime:
        """The first moment of that day in UTC."""
        return datetime.datetime.combine(self.starts_on, datetime.time(), datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class SourcedPrice:
    """What a model costs, the lowest tier first, where that is from and when it was checked there (None: when it is
    read), and what it will cost later, the next first."""

    tiers: tuple[Rates, ...]
    source: str
    checked_on: datetime.date | None = None
    later: tuple[LaterPrice, ...] = ()

    @property
    def base(self) -> Rates:
        """The tier of ordinary prompts."""
        return self.tiers[0]

    def on(self, day: datetime.date) -> "SourcedPrice":
        """The same as of a later day: what has begun by then is the price."""
        begun = [one for one in self.later if one.starts_on <= day]
        if not begun:
            return self
        return dataclasses.replace(self, tiers=begun[-1].tiers, later=self.later[len(begun) :])


@dataclasses.dataclass(frozen=True, slots=True)
class SeedModel:
    """A future row of the catalogue, with the names of `tables.Model`. Without `price`, the price list's is used."""

    id: str
    name: str
    provider: str
    upstream_id: str
    context_tokens: int
    max_output_tokens: int
    image_tokens: int
    added_tokens: int
    input_modalities: tuple[str, ...]
    kinds: tuple[str, ...]
    thinks: bool
    openai_wire: str | None
    note: str | None
    aliases: tuple[str, ...]
    price: SourcedPrice | None


@dataclasses.dataclass(frozen=True, slots=True)
class SeedProvider:
    """A provider's display name, its id in genai-prices (None: not listed), and its models."""

    label: str
    price_list: str | None
    models: tuple[SeedModel, ...]


def read_price_file(path: Path, providers: Collection[str]) -> dict[str, SeedProvider]:
    """The file's models by provider. `providers` are those that there are. Raises InvalidRequest with one sentence that
    names the line or the field."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror or error}.", param="file") from None
    except ValueError as error:  # no UTF-8
        raise InvalidRequest(f"{path.name} is no TOML: {error}.", param="file") from None
    return read_price_text(text, path.name, providers)


def read_price_text(text: str, name: str, providers: Collection[str]) -> dict[str, SeedProvider]:
    """The same from the text of a file; `name` is what errors and sources call it."""
    try:
        sections = tomllib.loads(text)
    except ValueError as error:  # it names the line
        raise InvalidRequest(f"{name} is no TOML: {error}.", param="file") from None
    try:
        found = {provider: _read_provider(provider, section, providers, name) for provider, section in sections.items()}
        _require_names_once(found)
    except _Wrong as wrong:
        raise InvalidRequest(f"{name}: {wrong}.", param="file") from None
    return found


class _Wrong(Exception):
    """What is wrong with a field: `anthropic.models.claude-x.context has to be a whole number from 1`."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value.isprintable()


def _is_id(value: object) -> bool:
    return isinstance(value, str) and MODEL_ID.fullmatch(value) is not None


def _is_number(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MOST_TOKENS


def _is_list(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and all(fits(one) for one in value)


def _is_day(value: object) -> bool:
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


# What a model's fields have to be, and the words for it. A provider's section may have them too, for all its models.
FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "name": (_is_text, "a text of at most 128 characters"),
    "context": (lambda value: _is_number(value, 1), "a whole number of tokens from 1"),
    "output": (lambda value: _is_number(value, 0), "a whole number of tokens"),
    "kinds": (
        lambda value: bool(value) and _is_list(value, lambda one: one in ENDPOINTS),
        f"a list of {', '.join(ENDPOINTS)}",
    ),
    "image": (lambda value: _is_number(value, 0), "a whole number of tokens"),
    "added": (lambda value: _is_number(value, 0), "a whole number of tokens"),
    "takes": (
        lambda value: _is_list(value, lambda one: one in INPUT_KINDS) and "text" in value,  # type: ignore[operator]
        f'a list of {", ".join(INPUT_KINDS)} with "text" among them',
    ),
    "thinks": (lambda value: isinstance(value, bool), "true or false"),
    "wire": (lambda value: value in WIRES, f"one of {', '.join(WIRES)}"),
    "served_by": (_is_id, "a model's name"),
    "aliases": (lambda value: _is_list(value, _is_id), "a list of names"),
    "price": (lambda value: isinstance(value, list), "a list of dollars, as texts"),
    "tiers": (lambda value: _is_list(value, lambda one: isinstance(one, dict)), "a list of tables"),
    "later": (lambda value: _is_list(value, lambda one: isinstance(one, dict)), "a list of tables"),
    "source": (_is_text, "a text of at most 128 characters"),
    "checked": (_is_day, "a day, such as 2026-11-30"),
}
SECTION_FIELDS = ("label", "price_list", "models")
TIER_FIELDS, LATER_FIELDS = ("above", "price"), ("from", "price", "tiers")


def _read_provider(name: str, section: object, providers: Collection[str], file: str) -> SeedProvider:
    if name not in providers:
        raise _Wrong(f"there is no provider named {name!r}; there are {', '.join(sorted(providers))}")
    if not isinstance(section, dict) or not isinstance(section.get("models"), dict):
        raise _Wrong(f"{name} needs its models: [{name}.models]")
    for field in ("label", "price_list"):
        if field in section and not _is_text(section[field]):
            raise _Wrong(f"{name}.{field} has to be a text of at most 128 characters")
    shared = {field: value for field, value in section.items() if field not in SECTION_FIELDS}
    models = []
    for id_, own in section["models"].items():
        place = f"{name}.models.{id_}"
        if not _is_id(id_):
            raise _Wrong(f"{place}: a model's id has letters, digits and . _ : / @ + -, up to 128, and no space")
        if not isinstance(own, dict):
            raise _Wrong(f"{place} has to be a table of fields")
        models.append(_read_model(name, id_, {"source": file, **shared, **own}, place))
    return SeedProvider(section.get("label", name.capitalize()), section.get("price_list"), tuple(models))


def _read_model(provider: str, id_: str, fields: Mapping[str, Any], place: str) -> SeedModel:
    for field, value in fields.items():
        if field not in FIELDS:
            raise _Wrong(f"{place}.{field} is none of its fields: {', '.join(FIELDS)}")
        fits, wanted = FIELDS[field]
        if not fits(value):
            raise _Wrong(f"{place}.{field} has to be {wanted}")
    if "context" not in fields:
        raise _Wrong(f"{place}.context is missing: how many tokens prompt and answer have together")
    kinds = tuple(fields.get("kinds", (CHAT,)))
    context = fields["context"]
    output = fields.get("output", context if writes_tokens(kinds) else 0)
    if output > context:
        raise _Wrong(f"{place}.output is more than its context of {context}")
    if writes_tokens(kinds) != bool(output):
        raise _Wrong(f"{place}.output has to be {'at least 1' if writes_tokens(kinds) else '0'} for its kinds")
    successor = fields.get("served_by")
    return SeedModel(
        id=id_,
        name=fields.get("name", id_),
        provider=provider,
        upstream_id=successor or id_,
        context_tokens=context,
        max_output_tokens=output,
        image_tokens=fields.get("image", 0),
        added_tokens=fields.get("added", 0),
        input_modalities=tuple(fields.get("takes", ("text",))),
        kinds=kinds,
        thinks=fields.get("thinks", False),
        openai_wire=fields.get("wire"),
        note=f"Retired by its maker; served by {successor}" if successor else None,
        aliases=tuple(fields.get("aliases", ())),
        price=_read_price(fields, place),
    )


def _read_price(fields: Mapping[str, Any], place: str = "") -> SourcedPrice | None:
    if "price" not in fields:
        for field in ("tiers", "later"):
            if field in fields:
                raise _Wrong(f"{place}.{field} needs a price beside it")
        return None
    later = []
    for number, one in enumerate(fields.get("later", ())):
        where = f"{place}.later[{number}]"
        _check_table(one, LATER_FIELDS, ("from", "price"), where)
        if not _is_day(one["from"]):
            raise _Wrong(f"{where}.from has to be a day, such as 2027-01-01")
        later.append(LaterPrice(one["from"], _read_tiers(one, where)))
    days = [one.starts_on for one in later]
    if sorted(set(days)) != days:
        raise _Wrong(f"{place}.later has to go from the first day to the last")
    return SourcedPrice(_read_tiers(fields, place), fields["source"], fields.get("checked"), tuple(later))


def _read_tiers(fields: Mapping[str, Any], place: str) -> tuple[Rates, ...]:
    found = [_read_rates(fields["price"], 0, f"{place}.price")]
    tiers = fields.get("tiers", ())
    if not isinstance(tiers, list | tuple):
        raise _Wrong(f"{place}.tiers has to be a list of tables")
    for number, one in enumerate(tiers):
        where = f"{place}.tiers[{number}]"
        _check_table(one, TIER_FIELDS, TIER_FIELDS, where)
        if not _is_number(one["above"], 1) or one["above"] <= found[-1].above_tokens:
            raise _Wrong(f"{where}.above has to be a whole number of tokens, more than that of the tier before it")
        found.append(_read_rates(one["price"], one["above"], f"{where}.price"))
    return tuple(found)


def _check_table(table: object, known: Collection[str], needed: Collection[str], place: str) -> None:
    if not isinstance(table, dict):
        raise _Wrong(f"{place} has to be a table")
    for field in table:
        if field not in known:
            raise _Wrong(f"{place}.{field} is none of its fields: {', '.join(known)}")
    for field in needed:
        if field not in table:
            raise _Wrong(f"{place}.{field} is missing")


def _read_rates(stated: object, above_tokens: int, place: str) -> Rates:
    wanted = f"has to be a list of texts: {', '.join(STATED_CLASSES)}, in dollars, the first three at least"
    if not isinstance(stated, list) or not 3 <= len(stated) <= len(STATED_CLASSES):
        raise _Wrong(f"{place} {wanted}")
    prices = {}
    for class_, dollars in zip(STATED_CLASSES, stated, strict=False):
        if not isinstance(dollars, str):  # a number of TOML is a float, and money comes from none
            raise _Wrong(f"{place} {wanted}")
        try:
            prices[class_] = parse_dollars(dollars)
        except ValueError as error:
            raise _Wrong(f"{place}: {error}") from None
        if prices[class_] < 0:
            raise _Wrong(f"{place}: {dollars} is less than nothing")
    return make_rates(prices, above_tokens)


def _require_names_once(providers: Mapping[str, SeedProvider]) -> None:
    seen: set[str] = set()
    for model in (model for provider in providers.values() for model in provider.models):
        for name in (model.id, *model.aliases):
            if name in seen:
                raise _Wrong(f"{model.provider}.models.{model.id}: the name {name!r} is used twice")
            seen.add(name)
