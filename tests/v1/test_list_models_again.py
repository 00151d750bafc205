"""GET /v1/models has a tag: a client that knows the list is told so, and gets none of it."""

import pytest
from flask import Flask

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
    changed = client.get("/v1/models", headers={**key.headers, "If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert app.extensions["bridge_services"].in_flight == 0
