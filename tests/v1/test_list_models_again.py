"""GET /v1/models has a tag: a client that knows the list is told so, and gets none of it."""

import datetime
from typing import Any

import pytest
from flask import Flask

from bridge import versions
from bridge.catalogue.channel_events import HEALTH
from bridge.db import db
from bridge.v1 import list_models as endpoint
from tests.factories import Factories

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_a_list_that_the_client_has_is_not_sent_again(app: Flask, make: Factories):
    key, client = make.make_key(), app.test_client()
    model = make.make_model()
    first = client.get("/v1/models", headers=key.headers)
    tag = first.headers["ETag"]
    assert first.status_code == 200
    assert model in {one["id"] for one in first.json["data"]}
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/v1/models", headers={**key.headers, "If-None-Match": known})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag), known
        assert again.headers["x-request-id"]
    make.make_model()
    with app.app_context():
        versions.poll(db.engine)
    changed = client.get("/v1/models", headers={**key.headers, "If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert app.extensions["bridge_services"].in_flight == 0


def test_those_who_may_use_the_same_share_one_list_while_nothing_changes(
    app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch
):
    made: list[Any] = []
    make_list = endpoint.list_models

    def count(*arguments: Any) -> Any:
        made.append(arguments)
        return make_list(*arguments)

    monkeypatch.setattr(endpoint, "list_models", count)
    monkeypatch.setattr(endpoint, "LIST_SECONDS", 3600.0)
    model, client = make.make_model(), app.test_client()
    one, other, narrow = make.make_key(), make.make_key(), make.make_key(models=[model])
    full = [client.get("/v1/models", headers=key.headers) for key in (one, other, one)]
    assert len(made) == 1
    assert full[0].data == full[1].data == full[2].data
    assert [each["id"] for each in client.get("/v1/models", headers=narrow.headers).json["data"]] == [model]
    assert len(made) == 2
    with app.app_context():
        versions.bump(HEALTH)
        db.session.commit()
        versions.poll(db.engine)
    client.get("/v1/models", headers=one.headers)
    assert len(made) == 3
    monkeypatch.setattr(endpoint, "LIST_SECONDS", 0.0)
    client.get("/v1/models", headers=other.headers)  # an older one is made anew
    assert len(made) == 4


def test_a_price_says_where_it_is_from_when_it_was_read_there_and_what_comes(app: Flask, make: Factories):
    key, client = make.make_key(), app.test_client()

    def price(id_: str) -> dict[str, Any]:
        return client.get(f"/v1/models/{id_}", headers=key.headers).json["pricing"]

    newest = {id_: price(id_) for id_ in ("gpt-6-sol", "claude-opus-5-5", "gemini-3.8-flash")}
    per_million = {id_: (found["prompt"], found["completion"]) for id_, found in newest.items()}
    assert per_million == {
        "gpt-6-sol": ("0.000002", "0.00001"),
        "claude-opus-5-5": ("0.000004", "0.00002"),
        "gemini-3.8-flash": ("0.00000075", "0.00000375"),
    }
    assert {found["source"] for found in newest.values()} == {"genai-prices 0.2.3"}
    assert all(datetime.date.fromisoformat(found["checked_on"]) for found in newest.values())
    (later,) = newest["gemini-3.8-flash"]["coming"]
    assert (later["starts_at"], later["prompt"], later["completion"]) == (
        *("2027-01-01T00:00:00Z", "0.0000015", "0.0000075"),
    )
    assert (later["source"], later["checked_on"]) == ("genai-prices 0.2.3", newest["gemini-3.8-flash"]["checked_on"])
    assert "coming" not in newest["gpt-6-sol"]
    own = price(make.make_model())
    assert (own["source"], "checked_on" in own) == ("operator", False)
