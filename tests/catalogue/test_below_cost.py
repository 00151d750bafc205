"""A price below cost is found in every class and tier, however it is entered, and must be confirmed."""

import datetime

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import below_cost, editing
from bridge.catalogue.below_cost import BelowCost, compare, list_losing, require_margin_at
from bridge.catalogue.listing import find_number
from bridge.catalogue.model_editing import enter_price, set_markup
from bridge.catalogue.price_rows import list_prices, version_of
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, make_rates
from bridge.catalogue.sync import sync_catalogue
from bridge.catalogue.tables import Alias, Model, Price
from bridge.config import Settings
from bridge.conversation.usage import Usage
from bridge.db import db, now_utc, transaction

DOLLAR = 1_000_000_000
CLASSES = (*PRICE_CLASSES, *FURTHER_CLASSES)
LEVEL = dict.fromkeys(CLASSES, 10 * DOLLAR)


@pytest.fixture
def _filled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The initial catalogue, each model at its list price."""
    monkeypatch.setattr("bridge.catalogue.connect.provider_credentials", lambda _providers, _environ: {})
    sync_catalogue(settings)


@pytest.mark.parametrize("class_", CLASSES)
@pytest.mark.parametrize("above", [0, 200_000])
def test_each_class_of_each_tier_is_compared(class_: str, above: int):
    costs = [make_rates(LEVEL), make_rates({**LEVEL, "output": 12 * DOLLAR}, 200_000)]
    below = {**LEVEL, "output": 12 * DOLLAR, class_: 9 * DOLLAR}
    prices = [
        make_rates(LEVEL if above else below),
        make_rates(below if above else {**LEVEL, "output": 12 * DOLLAR}, 200_000),
    ]
    (found,) = compare("m", prices, costs)
    assert (found.class_, found.above_tokens) == (class_, above)
    assert (found.price_nanos, found.cost_nanos) == (9 * DOLLAR, getattr(costs[bool(above)], class_))
    assert "$9.00" in found.text
    assert list(compare("m", costs, costs)) == []


def test_a_tier_that_only_the_provider_has_is_compared_too():
    prices, costs = [make_rates(LEVEL)], [make_rates(LEVEL), make_rates({**LEVEL, "input": 11 * DOLLAR}, 100_000)]
    (found,) = compare("m", prices, costs)
    assert (found.class_, found.above_tokens) == ("input", 100_000)


def test_a_channel_s_share_of_the_cost_counts():
    prices = [make_rates(LEVEL)]
    assert list(compare("m", prices, prices, 10_000)) == []
    assert {found.class_ for found in compare("m", prices, prices, 12_000)} >= {"input", "output"}
    cheap = [make_rates(dict.fromkeys(CLASSES, 8 * DOLLAR))]
    assert list(compare("m", cheap, prices, 8_000)) == []


RATES = st.fixed_dictionaries({name: st.integers(0, 5) for name in CLASSES}).map(lambda prices: Rates(**prices))
COUNTS = st.integers(0, 3)


@given(RATES, RATES, COUNTS, COUNTS, COUNTS, COUNTS)
def test_what_is_not_named_never_sells_below_cost(
    price: Rates, cost: Rates, fresh: int, cached: int, said: int, heard: int
):
    usage = Usage(fresh + cached + heard, said + 1, cached, min(said, 1), audio_tokens=heard)
    if price.sum(usage, 1) < cost.sum(usage, 1):
        assert list(compare("m", [price], [cost]))


@pytest.mark.usefixtures("_filled")
def test_a_price_below_the_list_s_is_refused_until_it_is_meant_and_then_its_cost_is_kept():
    low = [make_rates({"input": DOLLAR // 10, "output": 100 * DOLLAR})]
    with pytest.raises(BelowCost) as refused:
        enter_price("gpt-4o", low, below_cost=False)
    assert "input: customers pay $0.10, it costs $2.50" in refused.value.message
    assert len(list_prices("gpt-4o")) == 1
    enter_price("gpt-4o", low, below_cost=True)
    newest = list_prices("gpt-4o")[0]
    assert version_of(newest).costs[0].input == 5 * DOLLAR // 2
    assert list(list_losing({})) == ["gpt-4o"]


@pytest.mark.usefixtures("_filled")
def test_what_the_operator_says_that_the_provider_takes_is_what_counts():
    low = [make_rates({"input": DOLLAR, "output": DOLLAR})]
    enter_price("gpt-4o", low, costs=low, below_cost=False)
    with pytest.raises(BelowCost):
        enter_price(
            "gpt-4o", low, costs=[make_rates({"input": DOLLAR, "output": DOLLAR, "request": 1})], below_cost=False
        )
    assert list_losing({}) == {}


@pytest.mark.usefixtures("_filled")
def test_a_price_to_come_a_new_model_and_a_markup_ask_as_well():
    soon = now_utc() + datetime.timedelta(days=1)
    low = [make_rates({"input": 0, "output": 0})]
    with pytest.raises(BelowCost):
        enter_price("gpt-4o", low, effective_at=soon, below_cost=False)
    with pytest.raises(BelowCost):
        set_markup("gpt-4o", -1, below_cost=False)
    set_markup("gpt-4o", 100, below_cost=False)
    set_markup("gpt-4o", -100, below_cost=True)
    assert list(list_losing({})) == ["gpt-4o"]
    set_markup("gpt-4o", 0)
    fields = {"provider": "openai", "context_tokens": 1_000, "output_price_nanos": 0, "input_price_nanos": 0}
    with transaction() as session:
        session.delete(session.get_one(Model, "gpt-4o-mini"))
    with pytest.raises(BelowCost):
        editing.add_model("gpt-4o-mini", **fields, below_cost=False)
    assert db.session.get(Model, "gpt-4o-mini") is None
    editing.add_model("gpt-4o-mini", **fields, below_cost=True)
    assert list(list_losing({})) == ["gpt-4o-mini"]


@pytest.mark.usefixtures("_filled")
def test_a_markup_on_a_price_that_an_operator_entered_is_measured_by_the_list_s_cost():
    high, soon = [make_rates({"input": 10 * DOLLAR, "output": 20 * DOLLAR})], now_utc() + datetime.timedelta(days=1)
    enter_price("gpt-4o", high, below_cost=False)
    enter_price("gpt-4o-mini", high, effective_at=soon, below_cost=False)
    for model_id in ("gpt-4o", "gpt-4o-mini"):
        with pytest.raises(BelowCost):
            set_markup(model_id, -9_900, below_cost=False)
    with pytest.raises(BelowCost) as refused:
        require_margin_at(-9_000, [db.session.get_one(Model, "gpt-4o")])
    assert "input: customers pay $1.00, it costs $2.50" in refused.value.message
    set_markup("gpt-4o", -9_000, below_cost=True)
    assert list(list_losing({})) == ["gpt-4o"]


@pytest.mark.usefixtures("_filled")
def test_an_account_s_markup_and_a_dear_channel_make_models_lose_money():
    assert list_losing({}) == {}
    losing = list_losing({-500: 1, 200: 4})
    assert "an account with its own markup" in losing["gpt-4o"][0].text
    editing.add_channel("dear", "openai", api_key="k", cost_bps=12_000, models={"gpt-4o": "gpt-4o"})
    assert list(list_losing({})) == ["gpt-4o"]


@pytest.mark.usefixtures("_filled")
def test_what_memory_has_of_the_losing_models_is_never_outdated(monkeypatch: pytest.MonkeyPatch):
    def read(markups: dict[int, int] | None = None) -> list[str]:
        return list(list_losing(markups or {}, number=find_number()))

    assert read() == []
    with monkeypatch.context() as patched:
        patched.setattr(below_cost, "compare", None)  # nothing is compared that is as it was
        assert read() == []
    assert "gpt-4o" in read({-500: 1})
    assert read() == []
    editing.add_channel("dear", "openai", api_key="k", cost_bps=12_000, models={"gpt-4o": "gpt-4o"})
    assert read() == ["gpt-4o"]
    set_markup("gpt-4o", 2_000)
    assert read() == []
    low, soon = [make_rates({"input": 1, "output": 1})], now_utc() + datetime.timedelta(days=1)
    enter_price("gpt-4o-mini", low, effective_at=soon, below_cost=True)
    assert read() == []
    with time_machine.travel(soon + datetime.timedelta(hours=1)):
        assert read() == ["gpt-4o-mini"]


@pytest.mark.usefixtures("_filled")
def test_an_import_leaves_out_what_its_channel_makes_dearer_until_it_is_meant(settings: Settings):
    editing.add_channel("dear", "openai", api_key="k", cost_bps=12_000)
    with transaction() as session:
        session.query(Alias).filter_by(model_id="gpt-4.1").delete()
        session.query(Price).filter_by(model_id="gpt-4.1").delete()
        session.delete(session.get_one(Model, "gpt-4.1"))
    (said,) = sync_catalogue(settings)
    assert "gpt-4.1 is left out" in said
    assert "--below-cost" in said
    assert sync_catalogue(settings, below_cost=True) == ["Model gpt-4.1 is added."]
