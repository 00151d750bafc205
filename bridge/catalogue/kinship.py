"""How the models of the list belong together: which one a name means, which took over from another, and which are
alike."""

import math
from collections.abc import Mapping, Sequence

from bridge.catalogue.listing import ListedModel
from bridge.catalogue.offering import MAKERS
from bridge.catalogue.other_names import list_meant_names, list_near_names
from bridge.providers import stands_in

MOST_NEAR, MOST_SIMILAR = 3, 4
OTHER_MAKER = 1.0  # weighs as much as twice the price


def find_listed(name: str, models: Sequence[ListedModel]) -> ListedModel | None:
    """The model of this id or alias, also behind its maker's name (openai/gpt-4o), or None."""
    known = {alias: model for model in models for alias in model.aliases} | {model.id: model for model in models}
    on_sale = [model.id for model in models if model.status != "retired"]
    for each in list_meant_names(name, on_sale):
        if each in known:
            return known[each]
    maker, _, rest = name.partition("/")
    found = known.get(rest)
    maker = maker.lower()
    return found if found is not None and MAKERS.get(maker, maker) == found.provider else None


def list_near(name: str, models: Sequence[ListedModel]) -> list[str]:
    """The ids and aliases that look like a name which no model has."""
    known = [each for model in models if model.status != "retired" for each in (model.id, *model.aliases)]
    return list_near_names(name.rpartition("/")[2] or name, known, MOST_NEAR)


def by_id(models: Sequence[ListedModel]) -> dict[str, ListedModel]:
    """The models by their ids."""
    return {model.id: model for model in models}


def find_successor(model: ListedModel, known: Mapping[str, ListedModel]) -> ListedModel | None:
    """The model that answers where this one is asked for, or would if it weren't retired: the one of its maker whose
    name its upstream is called by. None where that is itself, or is not sold."""
    if model.upstream_id == model.id:
        return None
    found = known.get(model.upstream_id)
    is_sold = found is not None and found.provider == model.provider and found.status != "retired"
    return found if is_sold else None


def list_predecessors(model: ListedModel, known: Mapping[str, ListedModel]) -> list[ListedModel]:
    """The models in whose place this one answers."""
    others = (other for other in known.values() if other.upstream_id == model.id and other.status != "retired")
    return [other for other in others if find_successor(other, known) is model]


def is_past(model: ListedModel, known: Mapping[str, ListedModel]) -> bool:
    """Whether a list has it last: it is retired, or another answers in its place."""
    return model.status == "retired" or find_successor(model, known) is not None


def list_similar(model: ListedModel, known: Mapping[str, ListedModel]) -> list[ListedModel]:
    """Models that take the same kind of request at much the same price, the most alike first: those of the same maker
    before others. Only such as a provider serves, and none that is past."""

    def differ(other: ListedModel) -> float:
        price = abs(math.log2((_sum(other) + 1) / (_sum(model) + 1)))
        return price + (OTHER_MAKER if other.provider != model.provider else 0)

    others = [
        other
        for other in known.values()
        if other.id != model.id
        and other.is_connected
        and other.kinds[:1] == model.kinds[:1]
        and not stands_in(other.provider)
        and not is_past(other, known)
    ]
    return sorted(others, key=lambda other: (differ(other), other.id))[:MOST_SIMILAR]


def _sum(model: ListedModel) -> int:
    return model.input_nanos_per_mtok + model.output_nanos_per_mtok
