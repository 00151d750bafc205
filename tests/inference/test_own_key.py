"""The channel's own key, wherever an upstream quotes it: no client, log, row or operators' page shows it."""

import itertools
import json

import pytest
import sqlalchemy as sa

from bridge.catalogue.testing import probe_channel
from bridge.db import Table, db
from tests.upstream import framed, says, sends, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

# words and no digits: what patterns of keys pass
KEY = "lavender-Harbour-quietly-Mendable-trac7or"
QUOTES = (KEY, KEY.upper(), KEY[:12], KEY[-9:], "lavender-****c7or", "lav...c7or", "c7or", f"Bearer:{KEY}")
STATUSES = (200, 400, 403, 500)


def left_of_it(text: str) -> list[str]:
    """What tells the key in a text."""
    lower = text.lower()
    found = [KEY[start : start + 8] for start in range(len(KEY) - 7) if KEY[start : start + 8].lower() in lower]
    return found + [part for part in ("lavender-****", "lav...", "c7or") if part in text.replace("trac7or", "")]


def list_errors(quote: str):
    """Bodies that quote it in each field that an error may have."""
    error = {"message": "The value is not valid.", "type": "invalid_request_error", "param": None, "code": None}
    for field in error:
        yield {"error": {**error, field: quote}}
    yield {"error": {**error, "message": f"The model refuses the value {quote} of temperature"}}
    yield {"detail": [{"loc": ["body", quote], "msg": f"{quote} is not valid", "type": quote}]}
    yield {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": quote}]}


def read_everything(app) -> str:
    """All rows of all tables, but for what operators know a key by."""
    rows = []
    with app.app_context():
        for table in Table.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name != "key_last_four"]
            rows += db.session.execute(sa.select(*columns)).all()
    return "\n".join(map(str, rows))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("quote", QUOTES)
def test_no_error_of_an_upstream_shows_the_channels_own_key(app, client, make, upstream, capfd, quote, stream):
    key, told = make.make_key(), []
    for status, body in itertools.product(STATUSES, list_errors(quote)):
        model = make.make_model()
        channel = make.make_channel(upstream.base_url, model, api_key=KEY)
        data = json.dumps(body).encode()
        upstream.plays(sends(framed(body) if stream and status == 200 else data, status))
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = client.post("/v1/chat/completions", json=body, headers=key.headers)
        told.append(answer.text + str(answer.headers))
        receipt = client.get(f"/v1/requests/{answer.headers['x-request-id']}", headers=key.headers)
        told.append(receipt.text)
        with app.app_context():
            make.remove_channel(channel)
    assert left_of_it("\n".join(told)) == []
    assert left_of_it(read_everything(app)) == []
    output = capfd.readouterr()
    assert left_of_it(output.out + output.err) == []


def test_a_stream_that_breaks_with_it_does_not_show_it(app, client, make, upstream, capfd):
    key, model = make.make_key(), make.make_model()
    make.make_channel(upstream.base_url, model, api_key=KEY)
    broken = framed({"error": {"message": f"The prompt {KEY} is too long", "code": KEY, "type": KEY, "param": KEY}})
    upstream.plays(starts("Hello", then=broken))
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    answer = client.post("/v1/chat/completions", json=body, headers=key.headers)
    assert '"error"' in answer.text
    assert left_of_it(answer.text + read_everything(app) + capfd.readouterr().err) == []


@pytest.mark.parametrize("stream", [False, True])
def test_nor_does_a_channels_test_also_where_the_model_says_it(app, make, upstream, stream):
    model = make.make_model()
    channel = make.make_channel(upstream.base_url, model, api_key=KEY)
    with app.app_context():
        for status, body in itertools.product(STATUSES, list_errors(KEY)):
            upstream.plays(sends(json.dumps(body).encode(), status))
            assert left_of_it(str(probe_channel(channel, model, stream))) == []
        upstream.plays(says("Your key is ", KEY))
        found = probe_channel(channel, model, stream)
        assert (found.ok, found.text) == (True, "Your key is …")
    assert left_of_it(read_everything(app)) == []
