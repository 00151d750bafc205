"""Price files that operators name: what they say is taken as it stands, and what is wrong is named by line or field."""

import datetime
import re
from pathlib import Path

import pytest
import time_machine

from bridge.catalogue.editing import enter_price, set_price
from bridge.catalogue.listing import list_models, newest_prices
from bridge.catalogue.price_file import read_price_file
from bridge.catalogue.price_rows import list_prices, tiers_of, version_of
from bridge.catalogue.rates import make_rates
from bridge.catalogue.sync import list_differences, list_missing, sync_catalogue
from bridge.catalogue.tables import Channel, Model
from bridge.config import Settings
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.providers import PROVIDERS

DOLLAR = 10**9
PRICED = '[openai.models.x]\ncontext = 9\nprice = ["1", "1", "1"]\n'
NEW_YEAR = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
PAGE = """
[openai]
source = "The maker's page"
checked = 2026-11-29

[openai.models."gpt-9"]
name = "GPT-9"
context = 400_000
output = 64_000
takes = ["text", "image"]
image = 900
thinks = true
added = 30
wire = "chat"
aliases = ["nine"]
price = ["1", "0.10", "4"]
tiers = [{ above = 200_000, price = ["2", "0.20", "6"] }]
later = [{ from = 2027-01-01, price = ["3", "0.30", "12"] }]

[local.models.house]
context = 8_000
price = ["0", "0", "0", "1", "2"]
"""


@pytest.fixture(autouse=True)
def _in_november(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("bridge.catalogue.connect.provider_credentials", lambda _providers, _environ: {})
    with time_machine.travel(datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)):
        yield


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "prices.toml"
        path.write_text(text)
        return path

    return write


def refuse(path: Path) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_price_file(path, PROVIDERS)
    assert caught.value.param == "file"
    return caught.value.message


def test_a_file_adds_its_models_with_all_that_it_says_of_them(settings: Settings, write):
    file = write(PAGE)
    assert list_missing(settings, file) == ["gpt-9", "house"]
    assert sync_catalogue(settings, file=file)[:2] == ["Model gpt-9 is added.", "Model house is added."]
    assert sync_catalogue(settings, file=file) == []
    row = db.session.get_one(Model, "gpt-9")
    assert (row.name, row.context_tokens, row.max_output_tokens) == ("GPT-9", 400_000, 64_000)
    assert (row.input_modalities, row.image_tokens, row.added_tokens) == (["text", "image"], 900, 30)
    assert (row.thinks, row.openai_wire) == (True, "chat")
    listed = {model.id: model for model in list_models()}
    assert listed["gpt-9"].aliases == ("nine",)
    assert [(rates.above_tokens, rates.input) for rates in listed["gpt-9"].price.tiers] == [
        (0, DOLLAR),
        (200_000, 2 * DOLLAR),
    ]
    assert (listed["gpt-9"].source, listed["gpt-9"].checked_on) == ("The maker's page", datetime.date(2026, 11, 29))
    (coming,) = listed["gpt-9"].to_come
    assert (coming.starts_at, coming.price.base.output) == (NEW_YEAR, 12 * DOLLAR)
    house = listed["house"]
    assert (house.name, house.max_output_tokens, house.source) == ("house", 8_000, "prices.toml")
    assert (house.price.base.cache_write, house.price.base.cache_write_hour) == (DOLLAR, 2 * DOLLAR)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[openai\n", "at line 1"),
        ("[openai.models.x]\ncontext = 1\ncontext = 2\n", "at line 3"),
        ("[nobody.models.x]\ncontext = 1\n", "no provider named 'nobody'"),
        ("[openai]\n", "openai needs its models"),
        ("[openai]\nlabel = 7\n[openai.models.x]\ncontext = 1\n", "openai.label"),
        ("[openai.models.x]\n", "openai.models.x.context is missing"),
        ("[openai.models.x]\ncontext = 0\n", "openai.models.x.context has to be"),
        ("[openai.models.x]\ncontext = 9\noutput = 10\n", "openai.models.x.output is more"),
        ("[openai.models.x]\ncontxt = 9\n", "openai.models.x.contxt is none of its fields"),
        ('[openai.models.x]\ncontext = 9\ntakes = ["image"]\n', "openai.models.x.takes"),
        ('[openai.models.x]\ncontext = 9\nwire = "telegraph"\n', "openai.models.x.wire"),
        ('[openai.models.x]\ncontext = 9\nchecked = "soon"\n', "openai.models.x.checked"),
        ('[openai.models."a b"]\ncontext = 9\n', "openai.models.a b: a model's id"),
        ("[openai.models.x]\ncontext = 9\nprice = [1, 2, 3]\n", "openai.models.x.price has to be a list of texts"),
        ('[openai.models.x]\ncontext = 9\nprice = ["1", "2"]\n', "openai.models.x.price has to be a list of texts"),
        ('[openai.models.x]\ncontext = 9\nprice = ["1", "much", "2"]\n', "openai.models.x.price: 'much'"),
        ('[openai.models.x]\ncontext = 9\nprice = ["1", "-1", "2"]\n', "openai.models.x.price: -1"),
        ("[openai.models.x]\ncontext = 9\ntiers = []\n", "openai.models.x.tiers needs a price"),
        (
            f'{PRICED}tiers = [{{ above = 0, price = ["1", "1", "1"] }}]\n',
            "openai.models.x.tiers[0].above",
        ),
        (
            f'{PRICED}later = [{{ price = ["1", "1", "1"] }}]\n',
            "openai.models.x.later[0].from is missing",
        ),
        (
            f'{PRICED}later = [{{ from = "May", price = ["1", "1", "1"] }}]\n',
            "openai.models.x.later[0].from has to be a day",
        ),
        ('[openai.models.x]\ncontext = 9\naliases = ["x"]\n', "the name 'x' is used twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_names_the_place(write, text: str, said: str):
    message = refuse(write(text))
    assert message.startswith("prices.toml")
    assert said in message
    assert "\n" not in message


def test_the_readme_s_file_is_one(write):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = (text for text in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "gpt-9" in text)
    (model,) = read_price_file(write(block), PROVIDERS)["openai"].models
    assert model.price
    assert (model.id, len(model.price.tiers), len(model.price.later)) == ("gpt-9", 2, 1)


def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path):
    assert "can't be read: No such file" in refuse(tmp_path / "nothing.toml")
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff")
    assert "is no TOML" in refuse(tmp_path / "picture.toml")


def test_a_file_is_compared_with_the_models_it_names_now_and_later(settings: Settings, write):
    sync_catalogue(settings, file=write(PAGE))
    assert list_differences(file=write(PAGE)) == []
    dearer = PAGE.replace('price = ["1", "0.10", "4"]', 'price = ["1.50", "0.10", "4"]').replace('"12"', '"13"')
    now, later = list_differences(file=write(dearer))
    assert (now.model_id, now.starts_on, now.ours[0], now.listed[0]) == ("gpt-9", None, DOLLAR, 3 * DOLLAR // 2)
    assert (later.starts_on, later.ours[-1], later.listed[-1]) == (NEW_YEAR.date(), 12 * DOLLAR, 13 * DOLLAR)
    assert [one.starts_on for one in list_differences(file=write(PAGE.replace("later =", "# later =")))] == [
        NEW_YEAR.date()
    ]


def test_changed_prices_are_adopted_only_when_asked_and_as_new_versions(settings: Settings, write):
    sync_catalogue(settings, file=write(PAGE))
    dearer = write(PAGE.replace('price = ["1", "0.10", "4"]', 'price = ["1.50", "0.10", "4"]').replace('"12"', '"13"'))
    before = [price.id for price in list_prices("gpt-9")]
    assert sync_catalogue(settings, file=dearer) == []
    assert [price.id for price in list_prices("gpt-9")] == before
    now, later = sync_catalogue(settings, file=dearer, adopt=True)
    assert now == "Model gpt-9: $1.00 in, $4.00 out becomes $1.50 in, $4.00 out, by The maker's page."
    assert "becomes $3.00 in, $13.00 out from 2027-01-01" in later
    assert len(list_prices("gpt-9")) == len(before) + 2
    assert newest_prices()["gpt-9"].input_nanos_per_mtok == 3 * DOLLAR // 2
    assert sync_catalogue(settings, file=dearer, adopt=True) == []
    with time_machine.travel(NEW_YEAR):
        assert newest_prices()["gpt-9"].output_nanos_per_mtok == 13 * DOLLAR


def test_a_price_of_the_operator_s_own_stays_and_learns_its_cost(settings: Settings, write):
    sync_catalogue(settings, file=write(PAGE))
    own = make_rates({"input": 9 * DOLLAR, "output": 20 * DOLLAR})
    enter_price("gpt-9", [own], costs=tiers_of(newest_prices()["gpt-9"]))
    changed = write(PAGE.replace('price = ["1", "0.10", "4"]', 'price = ["5", "0.50", "6"]'))
    (line,) = sync_catalogue(settings, file=changed, adopt=True)
    assert line.startswith("Model gpt-9 keeps its price, its cost: $1.00 in")
    price = newest_prices()["gpt-9"]
    assert tiers_of(price) == (own,)
    assert (price.source, version_of(price).costs[0].input) == ("operator", 5 * DOLLAR)


def test_what_would_sell_below_cost_is_not_adopted_silently(settings: Settings, write):
    sync_catalogue(settings, file=write(PAGE))
    set_price("house", input_nanos=DOLLAR, cached_nanos=DOLLAR, output_nanos=DOLLAR)
    dearer = write(PAGE.replace('price = ["0", "0", "0", "1", "2"]', 'price = ["2", "2", "2"]'))
    (line,) = sync_catalogue(settings, file=dearer, adopt=True)
    assert line.startswith("Model house keeps its price. This sells below cost.")
    assert line.endswith("add --below-cost.")
    assert len(list_prices("house")) == 2
    sync_catalogue(settings, True, file=dearer, adopt=True)
    assert version_of(newest_prices()["house"]).costs[0].input == 2 * DOLLAR


def test_a_channel_that_pays_more_than_the_list_keeps_a_model_out(settings: Settings, write):
    db.session.add(Channel(name="dear", provider="openai", cost_bps=20_000))
    db.session.commit()
    line = sync_catalogue(settings, file=write(PAGE))[0]
    assert line.startswith("Model gpt-9 is left out. This sells below cost.")
