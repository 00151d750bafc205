"""The models a new catalogue starts with, read from bridge/data/models.toml."""

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import Any

from bridge.catalogue.rates import Rates, make_rates
from bridge.money import parse_dollars

SEED_FILE = Path(__file__).parent.parent / "data" / "models.toml"
STATED_CLASSES = ("input", "cached", "output", "cache_write", "cache_write_hour")  # in the order of the file


@dataclasses.dataclass(frozen=True, slots=True)
class SourcedPrice:
    """What a model costs, the lowest tier first, and the source of the price."""

    tiers: tuple[Rates, ...]
    source: str

    @property
    def base(self) -> Rates:
        """The tier of ordinary prompts."""
        return self.tiers[0]


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
    input_modalities: tuple[str, ...]
    thinks: bool
    note: str | None
    aliases: tuple[str, ...]
    price: SourcedPrice | None


@dataclasses.dataclass(frozen=True, slots=True)
class SeedProvider:
    """A provider's display name, its id in genai-prices (None: not listed), and its models."""

    label: str
    price_list: str | None
    models: tuple[SeedModel, ...]


@functools.cache
def load_seed() -> dict[str, SeedProvider]:
    """The seed file by provider name. It is read once, since it is part of the program."""
    with SEED_FILE.open("rb") as file:
        sections = tomllib.load(file)
    return {
        provider: SeedProvider(
            section["label"],
            section.get("price_list"),
            tuple(_read_model(provider, id_, {**section, **fields}) for id_, fields in section["models"].items()),
        )
        for provider, section in sections.items()
    }


def find_label(provider: str) -> str:
    """A provider's display name."""
    seed = load_seed().get(provider)
    return seed.label if seed else provider.capitalize()


def _read_model(provider: str, id_: str, fields: dict[str, Any]) -> SeedModel:
    successor = fields.get("served_by")
    return SeedModel(
        id=id_,
        name=fields["name"],
        provider=provider,
        upstream_id=successor or id_,
        context_tokens=fields["context"],
        max_output_tokens=fields["output"],
        image_tokens=fields.get("image", 0),
        input_modalities=tuple(fields["takes"]),
        thinks=fields.get("thinks", False),
        note=f"Retired by its maker; served by {successor}" if successor else None,
        aliases=tuple(fields.get("aliases", ())),
        price=_read_price(fields),
    )


def _read_price(fields: dict[str, Any]) -> SourcedPrice | None:
    if "price" not in fields:
        return None
    stated = (parse_dollars(dollars) for dollars in fields["price"])
    return SourcedPrice((make_rates(dict(zip(STATED_CLASSES, stated, strict=False))),), fields["source"])
