"""The call on a new key's page is one that gets an answer."""

from types import SimpleNamespace
from typing import cast

import pytest

from bridge.catalogue.listing import ListedModel
from bridge.catalogue.rates import make_rates
from bridge.dashboard.keys import choose_first_model


def listed(
    id_: str, *, nanos: int = 1, provider: str = "openai", status: str = "live", aliases=(), kinds=("chat",)
) -> ListedModel:
    price = SimpleNamespace(base=make_rates({"input": nanos, "output": nanos}))
    fields = {"id": id_, "provider": provider, "status": status, "aliases": aliases, "price": price}
    fields |= {"input_nanos_per_mtok": nanos, "output_nanos_per_mtok": nanos, "kinds": kinds}
    return cast("ListedModel", SimpleNamespace(**fields))


@pytest.mark.parametrize(
    ("allowed", "has_credit", "chosen"),
    [
        (None, True, "gpt-4o"),
        (["claude"], True, "claude"),
        (["opus"], True, "opus"),
        (["gone"], True, None),
        (["sandbox-429"], True, None),
        (None, False, "local"),
        (["gpt-4o"], False, None),
        (["sandbox-echo", "gpt-4o"], False, "sandbox-echo"),
    ],
)
def test_the_first_call_of_a_new_key_asks_for_what_can_be_had(
    allowed: list[str] | None, has_credit: bool, chosen: str | None
):
    models = [
        listed("sandbox-429", nanos=0, provider="sandbox"),
        listed("sandbox-echo", nanos=0, provider="sandbox"),
        listed("claude", aliases=("opus",)),
        listed("gone", status="unavailable"),
        listed("a-vector", nanos=0, kinds=("embeddings",)),
        listed("local", nanos=0),
        listed("gpt-4o"),
    ]
    assert choose_first_model(models, allowed, has_credit=has_credit) == chosen
