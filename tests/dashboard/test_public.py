"""What everyone may read: landing, models, docs, errors, and the headers that guard them."""

import datetime
import gzip
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from bridge.accounts.tables import Account
from bridge.catalogue.model_editing import enter_price
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.dashboard import public
from bridge.dashboard.snippets import highlight, quick_start
from bridge.db import transaction
from bridge.errors import NotFound
from tests.dashboard.pages import ROOT, make_pages, post, sign_up
from tests.factories import DOLLAR

BASE_URL = "https://gateway.example/v1"
MODELS = {
    "gpt-4o": ("openai", 2_500_000_000, 1_250_000_000, 2_500_000_000, 2_500_000_000, 10_000_000_000),
    "gpt-4o-mini": ("openai", 150_000_000, 75_000_000, 150_000_000, 150_000_000, 600_000_000),
    "claude-3-5-sonnet-20241022": ("anthropic", 3 * 10**9, 300_000_000, 3_750_000_000, 6 * 10**9, 15 * 10**9),
}


@pytest.fixture
def app(tmp_path):
    with make_pages(tmp_path, public_base_url="https://gateway.example/") as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def catalogue(app):
    with app.app_context(), transaction() as session:
        for id_, (provider, *prices) in MODELS.items():
            images = ["text", "image"] if provider == "openai" else ["text"]
            session.add(
                Model(
                    id=id_,
                    name=id_,
                    provider=provider,
                    upstream_id=id_,
                    context_tokens=128_000,
                    max_output_tokens=16_000,
                    input_modalities=images,
                )
            )
            session.flush()
            names = (f"{class_}_nanos_per_mtok" for class_ in PRICE_CLASSES)
            checked_on = datetime.date(2026, 11, 21)
            session.add(Price(model_id=id_, **dict(zip(names, prices, strict=True)), source="t", checked_on=checked_on))
        session.add(Alias(name="claude-3-5-sonnet", model_id="claude-3-5-sonnet-20241022"))
        session.add(Channel(name="openai-env", provider="openai"))


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def test_pages_of_an_empty_catalogue_say_what_to_do(client):
    assert client.get("/").status_code == 200
    assert "No models yet" in client.get("/models").text


def test_the_landing_page_shows_this_hosts_base_url_and_real_prices(client, catalogue):
    page = client.get("/").text
    assert BASE_URL in page
    assert "$2.50" in page
    assert "All 3 models" in text_of(page)
    assert ">OpenAI</span>" not in page, "one provider is no viaduct"


def test_the_viaduct_lists_the_providers_that_serve(app, client, catalogue):
    with app.app_context(), transaction() as session:
        session.add(Channel(name="anthropic-env", provider="anthropic"))
    page = client.get("/").text
    assert 'class="spans spans-2"' in page
    assert "reaches OpenAI and Anthropic, with one key" in page


def test_what_cache_writes_cost_is_on_the_page_and_for_an_hour_where_that_is_dearer(client, catalogue):
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", client.get("/models").text, re.DOTALL)
    dearer = {row: re.findall(r"1 hour: (\$\d+\.\d\d)", text_of(row)) for row in rows}
    assert [found for row, found in dearer.items() if "claude" in row] == [["$6.00"]]
    assert [found for row, found in dearer.items() if "claude" not in row] == [[], []]
    assert re.search(r'"num ink2 wide">\$3\.75<small>', next(row for row in rows if "claude" in row))


def test_models_without_a_channel_stay_listed_as_unavailable(client, catalogue):
    page = client.get("/models").text
    assert "3 models" in page
    assert "No provider connected; requests answer 503 and cost nothing" in page
    assert "Also as claude-3-5-sonnet" in page
    assert "Prices checked on" in page
    assert 'data-copy="gpt-4o-mini"' in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=4o+MINI", ["gpt-4o-mini"]),
        ("q=claude-3-5-sonnet", ["claude-3-5-sonnet-20241022"]),
        ("provider=openai", ["gpt-4o", "gpt-4o-mini"]),
        ("input=image&q=gpt", ["gpt-4o", "gpt-4o-mini"]),
        ("provider=anthropic&input=image", []),
        ("q=%25", []),
    ],
)
def test_the_address_is_the_filter(client, catalogue, query, found):
    page = client.get(f"/models?{query}").text
    assert re.findall(r'<th scope="row"><a class="id" href="[^"]+">([^<]+)<', page) == found
    assert ("No model matches" in page) == (not found)


def test_a_filter_comes_back_as_text_only(client, catalogue):
    page = client.get("/models?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script>alert" not in page


def test_the_quick_start_is_the_documented_one_with_this_hosts_base_url(app):
    with app.app_context():
        python, node, curl = quick_start("sk-test")
    assert python.code == (
        "import openai\n\n"
        "client = openai.OpenAI(\n"
        '    api_key="sk-test",\n'
        f'    base_url="{BASE_URL}",\n'
        ")\n"
        "response = client.chat.completions.create(\n"
        '    model="gpt-4o",\n'
        '    messages=[{"role": "user", "content": "Hello!"}],\n'
        ")\n"
        "print(response.choices[0].message.content)\n"
    )
    assert f"baseURL: '{BASE_URL}'," in node.code
    assert f"curl {BASE_URL}/chat/completions \\\n" in curl.code
    assert '-H "Authorization: Bearer sk-test"' in curl.code


def test_without_a_public_address_the_base_url_is_this_machine(tmp_path):
    with make_pages(tmp_path, port=8123) as app, app.app_context():
        assert 'base_url="http://127.0.0.1:8123/v1"' in quick_start()[0].code


@pytest.mark.parametrize("language", ["python", "javascript", "bash", "json"])
def test_highlighting_changes_no_character_and_lets_no_markup_through(language):
    code = "a = \"<b>&amp;</b>\"  # <script>\n\nif a:\n    print('x')\n"
    html = highlight(code, language)
    assert "<b>" not in html
    assert "<script>" not in html
    plain = re.sub(r"</?span[^>]*>", "", str(html))
    unescaped = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&#39;", "'")
    assert unescaped.replace("&amp;", "&") == code


def test_copied_code_keeps_its_lines_where_one_is_marked():
    marked = highlight("one\ntwo\nthree\n", "text", mark="two")
    assert str(marked) == 'one\n<span class="line">two\n</span>three\n'


def test_a_signed_in_reader_keeps_the_side_bar(client, catalogue):
    sign_up(client)
    for path in ("/models", "/docs", "/nowhere"):
        page = client.get(path).text
        assert 'aria-label="Main"' in page
        assert "Available" in page
    assert "Sign in" not in client.get("/").text


def test_the_navigation_names_only_what_exists(client):
    sign_up(client)
    links = re.findall(r'<a href="([^"]+)"', client.get("/models").text.split("<nav")[1].split("</nav>")[0])
    own = ["/dashboard/", "/dashboard/keys", "/dashboard/usage", "/dashboard/billing", "/dashboard/playground"]
    assert links == [*own, "/models", "/docs", "/status", "/dashboard/settings", "/dashboard/team"]


def test_whoever_is_signed_in_sees_what_their_account_pays(app, client, catalogue):
    sign_up(client)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Account).values(markup_bps=10_000))
    shown = client.get("/models?q=gpt-4o-mini").text
    assert "$0.30" in shown
    assert "$0.30" not in app.test_client().get("/models?q=gpt-4o-mini").text


def test_what_long_prompts_cost_is_beside_their_model(app, client, catalogue):
    base = {"input": 2 * DOLLAR, "cached": DOLLAR, "output": 9 * DOLLAR}
    longer = make_rates({"input": 5 * DOLLAR, "cached": DOLLAR // 2, "output": 45 * DOLLAR // 2}, 272_000)
    with app.app_context():
        enter_price("gpt-4o-mini", [make_rates({**base, "audio_input": 40 * DOLLAR}), longer])
    shown = client.get("/models?q=gpt-4o-mini").text
    assert "Sound: $40.00 in" in shown
    assert "Prompts above 272,000 tokens: $5.00 in, $0.50 cached, $22.50 out" in shown


PRIVATE = {"/sign-in": "no-store", "/sign-up": "no-store", "/nowhere": "no-store", "/": "private, no-cache"}


@pytest.mark.parametrize(("path", "stored"), PRIVATE.items())
def test_every_page_is_guarded_by_its_headers(client, path, stored):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == stored
    assert headers["x-request-id"].startswith("req_")


def test_what_a_signed_in_reader_sees_is_stored_nowhere(client):
    sign_up(client)
    assert client.get("/").headers["Cache-Control"] == "no-store"


def test_no_page_needs_inline_script_or_style():
    for template in (ROOT / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=\"|javascript:", text), template


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nowhere", "GET", 404), ("/models", "PUT", 405), ("/sign-in", "POST", 400)]
)
def test_an_error_is_a_page_with_its_request_id_and_a_way_back(client, path, method, status):
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.headers["x-request-id"] in answer.text
    assert 'href="/"' in answer.text.split("<main")[1]


def test_what_a_room_refuses_is_told_in_its_own_words(app, client, monkeypatch):
    def refuse(**_):
        raise NotFound("No key has this number.")

    monkeypatch.setattr(public, "list_models", refuse)
    answer = client.get("/models")
    assert answer.status_code == 404
    assert "No key has this number." in answer.text


def test_a_broken_page_says_so_without_details(app, client, monkeypatch):
    sign_up(client)

    def fail(*_):
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(public, "list_own_models", fail)
    answer = client.get("/models")
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "secret detail" not in answer.text
    assert "Available" not in answer.text, "the error page asks the database for nothing"
    assert answer.headers["x-request-id"] in answer.text


def test_without_the_database_the_error_page_still_comes(client, monkeypatch):
    sign_up(client)

    def fail(*_):
        raise OperationalError("select", {}, Exception("the server went away"))

    monkeypatch.setattr("bridge.dashboard.visitor.find_signed_in", fail)
    answer = client.get("/models")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "went away" not in answer.text


def test_static_files_are_kept_for_a_year_under_an_address_that_changes_with_them(client):
    page = client.get("/").text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(addresses) == 5
    for address in addresses:
        with client.get(address) as answer:
            assert answer.status_code == 200
            assert "max-age=31536000" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert all("?v=" in address for address in addresses if not address.endswith(".woff2"))


def test_the_compressed_stylesheet_is_the_stylesheet(client):
    plain = ROOT / "static/vendor/tabler/tabler.min.css"
    assert gzip.decompress(Path(f"{plain}.gz").read_bytes()) == plain.read_bytes()
    with client.get("/static/vendor/tabler/tabler.min.css", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"


def test_nothing_is_loaded_from_another_host(client):
    for path in ("/", "/models", "/docs", "/sign-in"):
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', client.get(path).text)
    assert "http" not in re.sub(r"xmlns=\S+", "", (ROOT / "static/bridge.css").read_text())
    post(client, "/theme", theme="auto")
