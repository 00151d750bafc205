"""Names that agents have for models and that no operator had to enter."""

import difflib
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence

from bridge.providers.anthropic.models import read_model
from bridge.turns import in_slices

FOR_CLAUDE_CODE = "anthropic/"  # before a model's name: in its list Claude Code keeps only what begins like its maker's
KEPT_BY_CLAUDE_CODE = ("claude", FOR_CLAUDE_CODE.removesuffix("/"))
LONG_CONTEXT = "[1m]"  # Claude Code's mark on a model's name, which no model has
FAMILIES = ("opus", "sonnet", "haiku")
LIKELY_NAMES = 20  # that are compared in full with one that nobody knows


def name_for_claude_code(model_id: str) -> str:
    """The name under which Claude Code offers the model, whoever makes it."""
    return model_id if model_id.startswith(KEPT_BY_CLAUDE_CODE) else FOR_CLAUDE_CODE + model_id


def list_meant_names(name: str, on_sale: Iterable[str]) -> Iterator[str]:
    """What a name may mean that nobody has entered, the likeliest first. `on_sale` are the ids of all models that can
    be asked; they are looked at for a bare family alone, which means its newest model."""
    name = name.removesuffix(LONG_CONTEXT)
    yield name
    name = name.removeprefix(FOR_CLAUDE_CODE)
    yield name
    if name in FAMILIES:
        family = [each for each in on_sale if each.startswith("claude-") and read_model(each).family == name]
        if family:
            yield max(family, key=lambda each: (read_model(each).version, each))


def list_near_names(name: str, known: Sequence[str], most: int = 1) -> list[str]:
    """The names that look most like this one, the likest first. Which are worth a look, the pairs of letters tell that
    both have: to compare it with thousands takes up to a quarter of a second."""
    pairs = set(itertools.pairwise(name))

    def alike(other: str) -> float:
        return len(pairs.intersection(itertools.pairwise(other))) / (len(name) + len(other))

    likely = heapq.nlargest(LIKELY_NAMES, in_slices(known), key=alike)
    return difflib.get_close_matches(name, likely, n=most, cutoff=0.5)
