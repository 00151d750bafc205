"""Pages are light: what a browser loads is compressed, and little of it."""

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.dashboard.pages import sign_in
from tests.factories import Factories

ROOT = Path(__file__).parents[2]
ASKS = {"Accept-Encoding": "gzip, deflate, br"}
KIB = 1024
CHANGES = re.compile(rb'req_\w+|name="csrf_token" value="[^"]+"')  # from one answer to the next
FIRST_VISIT, LATER_VISIT = 150 * KIB, 15 * KIB
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def load(client: FlaskClient, path: str, seen: set[str]) -> int:
    """The bytes of bodies that a browser loads for this page, with what it has already `seen`."""
    page = client.get(path, headers=ASKS)
    assert page.status_code == 200, path
    html = gzip.decompress(page.data).decode()
    found = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', html))
    assert any(".css" in one for one in found), path
    # fonts are named by the stylesheet, and the browser fetches each that the page needs
    found |= {f"/static/vendor/fonts/{one.name}" for one in (ROOT / "static/vendor/fonts").glob("*.woff2")}
    loaded = len(page.data)
    for address in found - seen:
        with client.get(address, headers=ASKS) as answer:
            assert answer.status_code == 200, address
            assert "max-age=31536000" in answer.headers["cache-control"]
            loaded += len(answer.data)
    seen |= {one.partition("?")[0] for one in found} | found
    return loaded


def test_a_first_visit_is_at_most_150_kib_and_a_later_one_15(app: Flask, client: FlaskClient):
    seen: set[str] = set()
    for path in ("/", "/docs", "/models", "/sign-up"):
        assert load(client, path, set()) <= FIRST_VISIT, path
    load(client, "/", seen)
    for path in ("/", "/models", "/sign-in"):
        assert load(client, path, seen) <= LATER_VISIT, path
    account = Factories(app).make_account()
    sign_in(client, account.email, account.password)
    load(client, "/dashboard/", seen)
    for path in ("/dashboard/", "/dashboard/keys", "/dashboard/usage", "/dashboard/billing", "/models"):
        assert load(client, path, seen) <= LATER_VISIT, path


def test_a_page_is_the_same_compressed_or_not_and_its_length_tells_nothing_of_its_token(client: FlaskClient):
    client.get("/sign-in")
    plain = client.get("/models")
    assert "content-encoding" not in plain.headers
    lengths = set()
    for _ in range(20):
        answer = client.get("/models", headers=ASKS)
        assert answer.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["vary"]
        assert int(answer.headers["content-length"]) == len(answer.data)
        lengths.add(len(answer.data))
        assert CHANGES.sub(b"", gzip.decompress(answer.data)) == CHANGES.sub(b"", plain.data)
    assert len(lengths) > 5


@pytest.mark.parametrize("refuses", ["", "identity", "gzip;q=0", "br"])
def test_who_takes_no_gzip_gets_none(client: FlaskClient, refuses: str):
    answer = client.get("/models", headers={"Accept-Encoding": refuses})
    assert "content-encoding" not in answer.headers
    assert answer.data.startswith(b"<!DOCTYPE html>")


def test_what_is_too_small_stays_as_it_is(client: FlaskClient):
    assert "content-encoding" not in client.get("/livez", headers=ASKS).headers
