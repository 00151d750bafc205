"""The models a new catalogue starts with, read from bridge/data/models.toml."""

import functools
from pathlib import Path

from bridge.catalogue.price_file import SeedModel, SeedProvider, SourcedPrice, read_price_file
from bridge.providers import PROVIDERS

__all__ = ["SEED_FILE", "SeedModel", "SeedProvider", "SourcedPrice", "find_label", "load_seed"]

SEED_FILE = Path(__file__).parent.parent / "data" / "models.toml"


@functools.cache
def load_seed() -> dict[str, SeedProvider]:
    """The seed file by provider name. It is read once, since it is part of the program."""
    return read_price_file(SEED_FILE, PROVIDERS)


def find_label(provider: str) -> str:
    """A provider's display name."""
    seed = load_seed().get(provider)
    return seed.label if seed else provider.capitalize()
