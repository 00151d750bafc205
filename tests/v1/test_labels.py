"""Whom a request was for is kept with it, in its customer's words, and no provider ever reads them."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.labels import MAX_END_USER, MAX_TAG, MAX_TAGS, Labels, read_end_user, read_tags, split_tags
from bridge.conversation.request import MESSAGES, RESPONSES, Conversation, Native
from bridge.errors import InvalidRequest
from bridge.v1.labels import read_labels
from tests.dashboard.pages import sign_in
from tests.each_provider import PROVIDERS, UPSTREAM_IDS
from tests.factories import Factories, MadeKey
from tests.replay import BASES, replies
from tests.replies import Reply
from tests.upstream import ScriptedUpstream, says, starts

HELLO = [{"role": "user", "content": "Hello!"}]
ADA = "ada@example.com"
one_engine = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
values = st.text(
    st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp"), blacklist_characters=',"\\'), min_size=1
)


class Served:
    def __init__(self, app: Flask, make: Factories, upstream: ScriptedUpstream):
        self.app, self.make, self.upstream = app, make, upstream
        self.account = make.make_account()
        self.key = make.make_key(self.account)
        self.model = make.make_model()
        make.make_channel(upstream.base_url, self.model)

    def post(self, tags: str | None = None, key: MadeKey | None = None, **more: Any) -> Any:
        headers = {**(key or self.key).headers, **({} if tags is None else {"x-bridge-tags": tags})}
        body = {"model": self.model, "messages": HELLO, **more}
        answer = self.app.test_client().post("/v1/chat/completions", json=body, headers=headers)
        answer.get_data()  # all of a stream
        answer.close()
        return answer

    def receipt(self) -> dict[str, Any]:
        booked = self.make.list_usage(self.account.id)[-1]
        path = f"/v1/requests/{booked.request_id}"
        found: dict[str, Any] = self.app.test_client().get(path, headers=self.key.headers).json
        return found


@pytest.fixture
def served(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Served:
    return Served(app, make, upstream)


@pytest.mark.parametrize("stream", [False, True])
def test_whom_it_was_for_is_in_the_row_the_receipt_the_csv_and_the_log(
    served: Served, client: FlaskClient, capfd: pytest.CaptureFixture[str], stream: bool
):
    served.upstream.plays(says("Hi"))
    assert served.post("Project=search,\tenv=prod", user=ADA, stream=stream).status_code == 200
    booked = served.make.list_usage(served.account.id)[-1]
    assert (booked.end_user, booked.tags) == (ADA, '["env=prod","project=search"]')
    receipt = served.receipt()
    assert (receipt["end_user"], receipt["tags"]) == (ADA, {"env": "prod", "project": "search"})
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"event":"request"' in line]
    assert [(line["end_user"], line["tags"]) for line in lines] == [(ADA, ["env=prod", "project=search"])]
    sign_in(client, served.account.email, served.account.password)
    [row] = csv.DictReader(io.StringIO(client.get("/dashboard/usage.csv").text))
    assert (row["end_user"], row["tags"]) == (ADA, "env=prod, project=search")
    assert ADA in client.get(f"/dashboard/usage/{booked.request_id}").text


@one_engine
def test_what_the_sweeper_books_for_a_dead_worker_is_for_them_too(served: Served):
    served.upstream.plays(starts("Hi", then="pause"))
    body = {"model": served.model, "messages": HELLO, "stream": True, "user": ADA}
    headers = {**served.key.headers, "x-bridge-tags": "env=prod"}
    answer = served.app.test_client().post("/v1/chat/completions", json=body, headers=headers, buffered=False)
    [details] = served.make.list_hold_details(served.account.id)
    assert (json.loads(details)["end_user"], json.loads(details)["tags"]) == (ADA, '["env=prod"]')
    answer.close()


@one_engine
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fields", [("user",), ("safety_identifier",), ("user", "safety_identifier")])
def test_no_provider_reads_who_the_end_user_is(served: Served, provider: str, fields: tuple[str, ...]):
    make, upstream = served.make, served.upstream
    model = make.make_model()
    base = upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
    make.make_channel(base, provider=provider, models={model: UPSTREAM_IDS.get(provider, "theirs")})
    upstream.plays(*(replies(provider, Reply("Hi")) for _ in range(3)))
    named = dict.fromkeys(fields, ADA)
    for key in (served.key, served.key, make.make_key()):
        answer = served.post("env=prod-secret", key, model=model, **named)
        assert answer.status_code == 200, answer.data
    bodies = [request.body for request in upstream.requests]
    assert not any(b"ada@" in body or b"prod-secret" in body for body in bodies)
    first, again, another = (set(re.findall(rb'"([0-9a-f]{24})"', body)) for body in bodies)
    assert first == again
    if first:  # this provider has a field for it
        assert len(first) == 1
        assert not first & another
    assert make.list_usage(served.account.id)[-1].end_user == ADA


@one_engine
def test_of_two_names_the_safety_identifier_is_the_end_user(served: Served):
    served.upstream.plays(says("Hi"))
    served.post(user=ADA, safety_identifier="user-7")
    assert served.receipt()["end_user"] == "user-7"
    sent = served.upstream.requests[-1].json
    assert len({sent["user"], sent["safety_identifier"], ADA, "user-7"}) == 4


def read_as(native: Native, **options: Any) -> tuple[Labels, Conversation]:
    """Read what a client of this dialect sends."""
    request = Conversation(endpoint="messages", model="m", turns=(), options=options, native=native)
    visit: Any = SimpleNamespace(header=lambda _name: "", caller=SimpleNamespace(account_id=7))
    return read_labels(visit, request)


@one_engine
@pytest.mark.usefixtures("app")
def test_a_body_that_goes_on_as_it_is_has_the_hash_where_the_dialect_has_the_name():
    metadata = {"user_id": ADA, "more": 1}
    labels, hidden = read_as(Native(MESSAGES, {"metadata": metadata, "model": "m"}), user=ADA)
    assert labels.end_user == ADA
    assert hidden.native is not None
    name = hidden.options["user"]
    assert hidden.native.body == {"metadata": {"user_id": name, "more": 1}, "model": "m"}
    assert metadata["user_id"] == ADA  # nobody changes what the client sent
    labels, hidden = read_as(Native(RESPONSES, {"user": ADA, "metadata": {"user_id": "a job"}}), user=ADA)
    assert hidden.native is not None
    assert hidden.native.body == {"user": name, "metadata": {"user_id": "a job"}}
    with pytest.raises(InvalidRequest) as refused:
        read_as(Native(MESSAGES, {"metadata": {"user_id": "a\0"}}), user="a\0")
    assert refused.value.param == "metadata.user_id"


@one_engine
def test_a_request_that_names_nobody_is_for_nobody(served: Served):
    served.upstream.plays(says("Hi"), says("Hi"))
    for blank in ("", "  "):
        assert served.post("", user=blank).status_code == 200
        receipt = served.receipt()
        assert (receipt["end_user"], receipt["tags"], receipt["stop_at"]) == (None, {}, None)


@one_engine
@pytest.mark.parametrize(
    "header",
    [
        "prod",
        "=prod",
        "env=",
        "env=prod, env=dev",
        "Env=prod, env=prod",
        'env="prod"',
        "env=a\\b",
        "env name=prod",
        "env=" + "x" * 61,
        ", ".join(f"n{number}=1" for number in range(MAX_TAGS + 1)),
        "env=\x7f",
        "env=\xff",  # no UTF-8
    ],
)
def test_wrong_tags_are_400_and_name_the_header_and_the_remedy(served: Served, header: str):
    answer = served.post(header)
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "x-bridge-tags")
    assert re.search("project=search|Leave it out", answer.json["error"]["message"])
    assert served.upstream.requests == []


@one_engine
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"user": "a\0b"}, "user", "invalid_value"),
        ({"user": "a\nb"}, "user", "invalid_value"),
        ({"safety_identifier": "\u202eada"}, "safety_identifier", "invalid_value"),
        ({"safety_identifier": 7}, "safety_identifier", "invalid_type"),
        ({"user": "x" * (MAX_END_USER + 1)}, "user", "invalid_value"),
        ({"user": "x" * (MAX_END_USER + 1), "safety_identifier": "a"}, "user", "invalid_value"),
    ],
)
def test_a_wrong_end_user_is_400_and_names_the_field(served: Served, fields: dict[str, Any], param: str, code: str):
    answer = served.post(**fields)
    assert (answer.status_code, answer.json["error"]["param"]) == (400, param)
    assert answer.json["error"]["code"] == code
    assert served.upstream.requests == []


@one_engine
def test_the_longest_labels_fit(served: Served):
    served.upstream.plays(says("Hi"))
    tags = ", ".join(f"n{number}=" + "é" * (MAX_TAG - 3) for number in range(MAX_TAGS))
    answer = served.post(tags.encode().decode("latin-1"), user="😀" * MAX_END_USER)
    assert answer.status_code == 200, answer.data
    assert len(served.receipt()["tags"]) == MAX_TAGS


def read_or_refuse(read: Callable[[], Any]) -> tuple[Any, str | None]:
    """What was read, or the field that a refusal names."""
    try:
        return read(), None
    except InvalidRequest as refusal:
        return None, refusal.param


def as_header(text: str) -> str:
    """As a server hands it on."""
    return text.encode().decode("latin-1")


@given(
    st.dictionaries(names.map(str.lower), values, max_size=MAX_TAGS), st.randoms(), st.sampled_from([",", " , ", ",,"])
)
def test_tags_that_are_right_are_read_whatever_their_order_case_blanks_and_form(
    tags: dict[str, str], random: Any, comma: str
):
    tags = {name: unicodedata.normalize("NFC", value).strip() for name, value in tags.items()}
    tags = {name: value for name, value in tags.items() if value and len(f"{name}={value}") <= MAX_TAG}
    pairs = [f"{random.choice([name, name.upper()])} = {value}" for name, value in tags.items()]
    random.shuffle(pairs)
    written = comma.join(pairs)
    found = read_tags(as_header(random.choice([written, unicodedata.normalize("NFD", written)])))
    assert found == tuple(sorted(found))
    assert split_tags(json.dumps(found)) == tags


@given(st.one_of(st.text(), st.text('ab=,. "\\\t\0é-'), st.binary().map(lambda data: data.decode("latin-1"))))
def test_a_header_is_read_into_few_short_tags_or_refused(header: str):
    tags, refused = read_or_refuse(lambda: read_tags(header))
    assert refused in (None, "x-bridge-tags")
    assert len(tags or ()) <= MAX_TAGS
    assert all(len(tag) <= MAX_TAG and not set(tag) & set(',"\\\0\n') for tag in tags or ())
    assert len(split_tags(json.dumps(tags or ()))) == len(tags or ())
    assert refused or read_tags(as_header(", ".join(tags or ()))) == tags


@given(st.text(max_size=300))
def test_an_end_user_is_the_same_in_each_of_unicodes_forms(text: str):
    first, refused = read_or_refuse(lambda: read_end_user(text, "user"))
    assert refused in (None, "user")
    assert (first, refused) == read_or_refuse(lambda: read_end_user(unicodedata.normalize("NFD", text), "user"))
    assert first is None or 0 < len(first) <= MAX_END_USER
