"""Selling below cost, on operators' pages: the confirmation, and which models lose money now."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridge.accounts.customers import count_markups
from bridge.accounts.own_prices import list_own_rates
from bridge.catalogue.below_cost import BelowCost, Shortfall, list_losing
from bridge.forms import FormReader

FIELD = "below_cost"


def is_confirmed(form: FormReader) -> bool:
    """Whether the operator has confirmed these very figures."""
    return form.text(FIELD) == "yes"


@contextmanager
def asks_again(form: FormReader, field: str = FIELD) -> Iterator[None]:
    """Turn BelowCost into the form's question: a line for each pair of figures."""
    try:
        yield
    except BelowCost as error:
        form.errors[field] = "\n".join(error.lines)


def find_losing(number: int) -> dict[str, list[Shortfall]]:
    """The models that lose money, and where. `number` is the catalogue's, just read."""
    return list_losing(count_markups(), list_own_rates(), number)
