"""GET /v1/models has a tag: a client that knows the list is told so, and gets none of it."""

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
