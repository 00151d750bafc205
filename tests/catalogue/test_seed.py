"""The initial catalogue: the page's models, their windows, and an exact price for each."""

import datetime
from types import SimpleNamespace

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from bridge.catalogue.price_file import SeedModel, SeedProvider, SourcedPrice, _read_price
from bridge.catalogue.price_list import _to_nanos, find_listed_price
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.seed import load_seed
from bridge.conversation.kinds import EMBEDDINGS, IMAGES, writes_tokens
from bridge.conversation.usage import Usage
from bridge.money import format_dollars
from bridge.providers.openai.wires import find_wire
from tests.prices import make_version

PAGE = {
    "gpt-4o": ("openai", 128_000),
    "gpt-4o-mini": ("openai", 128_000),
    "claude-3-5-sonnet-20241022": ("anthropic", 200_000),
    "claude-3-5-haiku-20241022": ("anthropic", 200_000),
    "gemini-1.5-pro": ("gemini", 1_000_000),
    "gemini-1.5-flash": ("gemini", 1_000_000),
    "gemini-2.0-flash": ("gemini", 1_000_000),
    "deepseek-chat": ("deepseek", 64_000),
    "deepseek-reasoner": ("deepseek", 64_000),
    "moonshot-v1-128k": ("moonshot", 128_000),
    "kimi-k2.5": ("moonshot", 128_000),
}
SUCCESSORS = {
    "claude-3-5-sonnet-20241022": "claude-sonnet-4-5",
    "claude-3-5-haiku-20241022": "claude-haiku-4-5",
    "gemini-1.5-pro": "gemini-2.5-pro",
    "gemini-1.5-flash": "gemini-2.5-flash",
    "gemini-2.0-flash": "gemini-2.5-flash",
    "deepseek-chat": "deepseek-v4-flash",
    "deepseek-reasoner": "deepseek-v4-flash",
    "moonshot-v1-128k": "kimi-k2.5",
    "claude-opus-4-1": "claude-opus-4-8",
    "gpt-4.1-nano": "gpt-5.6-luna",
    "o4-mini": "gpt-5.6-terra",
    "gpt-image-1": "gpt-image-2.5-flare",
}
# What a newcomer asks for at the end of November 2026: dollars in and out, and whether it takes pictures.
NEWEST = {
    "gpt-6-sol": ("2", "10", True),
    "gpt-6-luna": ("0.1", "0.5", True),
    "gpt-6-astra": ("10", "50", True),
    "gpt-6.1-sol": ("2", "10", True),
    "gpt-6.1-terra": ("1", "5", True),
    "gpt-6.2-sol": ("2", "10", True),
    "gpt-6.2-astra": ("8", "40", True),
    "claude-fable-5-2": ("8", "40", True),
    "claude-opus-5-5": ("4", "20", True),
    "claude-sonnet-5-5": ("2", "10", True),
    "claude-haiku-5-5": ("0.1", "0.5", True),
    "gemini-3.7-flash": ("0.75", "3.75", True),
    "gemini-3.8-flash": ("0.75", "3.75", True),
    "gemini-4-argon": ("2", "10", True),
    "gemini-4-carbon": ("2", "10", True),
    "gemini-4-hydrogen": ("1.5", "7.5", True),
    "gemini-4-neon": ("3", "15", True),
    "deepseek-flash": ("0.3", "1.2", True),
    "deepseek-v4-pro": ("1.32", "3.96", False),
    "kimi-k3.1-pro": ("2", "10", True),
}
DAY = datetime.date(2026, 11, 24)


def find_price_of(model: SeedModel) -> SourcedPrice | None:
    return find_listed_price(model.provider, model.upstream_id, DAY, has_output=writes_tokens(model.kinds))


def all_models() -> dict[str, SeedModel]:
    return {model.id: model for provider in load_seed().values() for model in provider.models}


def test_the_page_s_models_are_offered_with_the_page_s_windows():
    models = all_models()
    assert {id_: (models[id_].provider, models[id_].context_tokens) for id_ in PAGE} == PAGE


def test_the_page_s_short_names_are_aliases():
    models = all_models()
    assert models["claude-3-5-sonnet-20241022"].aliases == ("claude-3-5-sonnet",)
    assert models["claude-3-5-haiku-20241022"].aliases == ("claude-3-5-haiku",)


def test_a_retired_model_is_served_by_its_successor_and_says_so():
    models = all_models()
    assert {id_: model.upstream_id for id_, model in models.items() if model.note} == SUCCESSORS
    assert models["gemini-1.5-pro"].note == "Retired by its maker; served by gemini-2.5-pro"


def test_every_model_has_a_price():
    unpriced = [model.id for model in all_models().values() if not model.price and not find_price_of(model)]
    assert unpriced == []


def test_the_newest_models_are_offered_at_their_makers_prices_and_think():
    models, found = all_models(), {}
    for id_ in NEWEST:
        model = models[id_]
        price = find_listed_price(model.provider, model.upstream_id, DAY)
        assert price, id_
        figures = (format_dollars(nanos) for nanos in (price.base.input, price.base.output))
        found[id_] = (*figures, "image" in model.input_modalities)
        assert model.thinks, id_
    assert found == NEWEST


def test_openai_is_asked_for_its_newest_models_by_responses():
    newest = [model for model in all_models().values() if model.id.startswith(("gpt-5.4", "gpt-6"))]
    assert {model.openai_wire or find_wire(model.upstream_id) for model in newest} == {"responses"}


def test_output_fits_the_window_and_pictures_cost_something():
    for model in all_models().values():
        least = 1 if writes_tokens(model.kinds) else 0
        assert least <= model.max_output_tokens <= least * model.context_tokens, model.id
        assert ("image" in model.input_modalities) == (model.image_tokens > 0), model.id


def test_models_of_embeddings_cost_what_their_inputs_do():
    prices = {model.id: find_price_of(model) for model in all_models().values() if model.kinds == (EMBEDDINGS,)}
    assert {id_: (price.base.input, price.base.output) for id_, price in prices.items() if price} == {
        "text-embedding-3-small": (20_000_000, 0),
        "text-embedding-3-large": (130_000_000, 0),
        "text-embedding-ada-002": (100_000_000, 0),
        "gemini-embedding-001": (150_000_000, 0),
        "gemini-embedding-2": (200_000_000, 0),
    }


def test_models_of_pictures_cost_what_two_lists_say():
    """By classes: text in, the same cached, pictures in, text out, pictures out."""
    prices = {model.id: find_price_of(model) for model in all_models().values() if model.kinds == (IMAGES,)}
    flare = (5_000_000_000, 1_250_000_000, 8_000_000_000, 30_000_000_000, 30_000_000_000)
    assert {
        id_: (base.input, base.cached, base.image, base.output, base.image_output)
        for id_, price in prices.items()
        if price and (base := price.base)
    } == {
        "gpt-image-1": flare,
        "gpt-image-1-mini": (2_000_000_000, 200_000_000, 2_500_000_000, 8_000_000_000, 8_000_000_000),
        "gpt-image-1.5": (5_000_000_000, 1_250_000_000, 8_000_000_000, 10_000_000_000, 32_000_000_000),
        "gpt-image-2": flare,
        "gpt-image-2.5-flare": flare,
        "gpt-image-2.5-sunburst": flare,
    }


def test_names_are_not_used_twice():
    models = all_models()
    aliases = [alias for model in models.values() for alias in model.aliases]
    assert len({*models, *aliases}) == len(models) + len(aliases)


def test_prices_are_imported_exactly():
    price = find_listed_price("openai", "gpt-4o", DAY)
    assert price
    assert (price.base.input, price.base.cached, price.base.output) == (
        2_500_000_000,
        1_250_000_000,
        10_000_000_000,
    )
    assert price.source == "genai-prices 0.2.3"


@pytest.mark.parametrize(
    ("provider", "upstream_id", "above", "base", "longer", "source"),
    [
        (
            *("gemini", "gemini-2.5-pro", 200_000, (1_250_000_000, 10_000_000_000)),
            *((2_500_000_000, 15_000_000_000), "Google's price page"),
        ),
        (
            *("openai", "gpt-5.4", 272_000, (2_500_000_000, 15_000_000_000)),
            *((5_000_000_000, 22_500_000_000), "genai-prices 0.2.3"),
        ),
    ],
)
def test_long_prompts_have_the_list_s_prices(
    provider: str, upstream_id: str, above: int, base: tuple[int, int], longer: tuple[int, int], source: str
):
    price = find_listed_price(provider, upstream_id, DAY)
    assert price
    assert [(tier.above_tokens, (tier.input, tier.output)) for tier in price.tiers] == [(0, base), (above, longer)]
    assert price.source == source


def test_a_model_that_its_maker_answers_by_another_costs_what_that_one_does_from_the_day_on():
    old, new = (find_listed_price("gemini", name, DAY) for name in ("gemini-2.5-pro", "gemini-3.8-flash"))
    assert old
    assert new
    for day in (datetime.date(2026, 12, 1), datetime.date(2027, 1, 1)):
        assert [(tier.input, tier.cached, tier.output) for tier in old.on(day).tiers] == [
            (tier.input, tier.cached, tier.output) for tier in new.on(day).tiers
        ]


@pytest.mark.parametrize(
    ("upstream_id", "input_", "output"),
    [("deepseek-chat", 270_000_000, 1_100_000_000), ("deepseek-v4-pro", 1_320_000_000, 3_960_000_000)],
)
def test_of_prices_by_the_hour_the_dearest_counts(upstream_id: str, input_: int, output: int):
    price = find_listed_price("deepseek", upstream_id, DAY)
    assert price
    assert (price.base.input, price.base.output) == (input_, output)
    assert price.source == "genai-prices 0.2.3, dearest hours"


def test_sound_has_a_price_of_its_own_where_the_list_has_one():
    price = find_listed_price("gemini", "gemini-2.5-flash", DAY)
    assert price
    assert (price.base.input, price.base.audio_input, price.base.cached_audio) == (300_000_000, 10**9, 10**8)
    assert (price.base.image, price.base.reasoning) == (price.base.input, price.base.output)


@pytest.mark.parametrize(("provider", "seed"), load_seed().items())
def test_every_price_is_what_the_list_s_own_calculator_takes_at_its_dearest_hour(provider: str, seed: SeedProvider):
    """Our tiers against genai-prices itself, around every threshold."""
    models = {model.upstream_id: model for model in seed.models if model.price is None}
    for upstream_id, model in sorted(models.items()):
        price, output = find_price_of(model), 700 if writes_tokens(model.kinds) else 0
        assert price, upstream_id
        version = PriceVersion(1, price.tiers, price.tiers)
        prompts = {1_000, *(tier.above_tokens + more for tier in price.tiers for more in (0, 1))}
        for prompt in prompts:
            theirs = max(
                calc_price(
                    ListUsage(input_tokens=prompt, output_tokens=output),
                    upstream_id,
                    provider_id=seed.price_list,
                    genai_request_timestamp=datetime.datetime.combine(DAY, datetime.time(hour), datetime.UTC),
                ).total_price
                for hour in range(24)
            )
            assert version.charge(Usage(prompt, output)) == -(-theirs * 10**9 // 1), (upstream_id, prompt)


@pytest.mark.parametrize(
    ("upstream_id", "starts_on"),
    [
        ("gemini-3.8-flash", datetime.date(2027, 1, 1)),  # announced by the list
        ("gemini-4-carbon", datetime.date(2026, 12, 1)),  # stated in the file
        ("gemini-3.5-flash", None),
    ],
)
def test_the_end_of_a_promotion_is_known_and_then_is_the_price(upstream_id: str, starts_on: datetime.date | None):
    price = find_listed_price("gemini", upstream_id, DAY)
    assert price
    assert [one.starts_on for one in price.later] == ([starts_on] if starts_on else [])
    for one in price.later:
        assert (one.tiers[0].input, one.tiers[0].output) == (2 * price.base.input, 2 * price.base.output)
        then = find_listed_price("gemini", upstream_id, one.starts_on)
        assert then
        assert (then.tiers, then.later, then.source) == (one.tiers, (), price.source)


def test_a_price_is_the_one_in_force_on_its_day():
    before = find_listed_price("gemini", "gemini-3.6-flash", datetime.date(2026, 12, 31))
    after = find_listed_price("gemini", "gemini-3.6-flash", datetime.date(2027, 1, 1))
    assert before
    assert after
    assert (before.base.output, after.base.output) == (3_750_000_000, 7_500_000_000)


def test_cached_input_without_a_price_of_its_own_costs_what_input_costs():
    price = find_listed_price("deepseek", "deepseek-v3.2", DAY)
    assert price
    assert price.base.cached == price.base.input == 228_800_000


@pytest.mark.parametrize(
    ("provider", "upstream_id", "write", "write_hour"),
    [
        ("anthropic", "claude-sonnet-4-6", 3_750_000_000, 6_000_000_000),  # 1.25 and 2 times the input
        ("anthropic", "claude-haiku-4-5", 1_250_000_000, 2_000_000_000),
        ("openai", "gpt-5.6-sol", 5_000_000_000, 5_000_000_000),
        ("openai", "gpt-4o", 2_500_000_000, 2_500_000_000),  # no price of its own: the input's
    ],
)
def test_what_is_written_to_a_cache_has_the_list_s_price(provider: str, upstream_id: str, write: int, write_hour: int):
    price = find_listed_price(provider, upstream_id, DAY)
    assert price
    assert (price.base.cache_write, price.base.cache_write_hour) == (write, write_hour)


@pytest.mark.parametrize(
    ("stated", "write", "write_hour"),
    [(["1", "2", "3"], 1, 1), (["1", "2", "3", "4"], 4, 4), (["1", "2", "3", "4", "5"], 4, 5)],
)
def test_a_stated_price_may_say_what_writes_cost(stated: list[str], write: int, write_hour: int):
    price = _read_price({"price": stated, "source": "a test"})
    figures = (10**9, 2 * 10**9, write * 10**9, write_hour * 10**9, 3 * 10**9)
    assert price == SourcedPrice(make_version(1, *figures).tiers, "a test")


@pytest.mark.parametrize(
    ("provider", "upstream_id"),
    [("openai", "no-such-model"), ("sandbox", "gpt-4o"), ("openai", "claude-sonnet-4-5"), ("openai", "whisper-1")],
)
def test_no_price_is_taken_from_elsewhere(provider: str, upstream_id: str):
    assert find_listed_price(provider, upstream_id, DAY) is None


def test_a_price_finer_than_a_nano_dollar_is_refused_not_rounded():
    from decimal import Decimal

    assert _to_nanos(SimpleNamespace(base=Decimal("0.000000001")), 0) == 1
    with pytest.raises(ValueError, match="whole number"):
        _to_nanos(Decimal("0.0000000015"), 0)
