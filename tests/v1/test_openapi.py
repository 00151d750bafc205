"""GET /openapi.json: it describes what there is and nothing else, and what goes in and comes out is as it says."""

import copy
import re

import jsonschema_rs
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from bridge.dialects.chat.request import ChatRequest
from bridge.dialects.messages.request import check_request
from bridge.v1.openapi import build
from tests.upstream import whole

DOCUMENT = build("http://127.0.0.1:8000/v1")
# Names that a fuzz would never guess: answers, what can go wrong, and a model of the page.
MODELS = ["sandbox-echo", "sandbox-402", "sandbox-429", "sandbox-503", "sandbox-malformed", "gpt-4o"]
# Why a request that fits the schema may be refused all the same: it depends on the model, or no schema can say it.
BEYOND_SCHEMAS = ("writes at most", "takes no", "Not taken as sent", "more than 64 bits", "got float")
BEYOND_SCHEMAS += (
    "No tool output found",
    "No tool call found",
    "is not kept here",
    "has no place here",
    "is not offered",
)
BEYOND_SCHEMAS += ("x-bridge-tags",)
BEYOND_SCHEMAS += ("Send the picture as", "must be the file itself", "must be the sound")
OUR_FAULT = "Something broke on our side"
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"at": {"type": "string"}}}}}
sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def describe_api() -> schemathesis.BaseSchema:
    """The document as the fuzz reads it: the models that it asks for exist."""
    document = copy.deepcopy(DOCUMENT)
    for request in ("ChatRequest", "MessagesRequest", "ResponsesRequest"):
        document["components"]["schemas"][request]["properties"]["model"]["enum"] = MODELS
    config = {
        "seed": 1,
        "max-stream-events": 1000,  # each stream to its end
        "generation": {"deterministic": True, "database": "none", "with-security-parameters": False},
        "checks": {
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "402", "404", "409", "422", "429", "503"]},
        },
    }
    return schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(config))


schema = describe_api()


@pytest.fixture(scope="module")
def gateway(gateways):
    """The shared gateway on SQLite: a description is the same on both databases."""
    return gateways("sqlite")


@pytest.fixture(scope="module")
def ask(gateway):
    """`ask(case)` sends it with a key that can pay and has no limits, and checks the answer against the document."""
    key = gateway.make.make_key(gateway.make.make_account(10**15), rpm=0, tpm=0, concurrency=0)
    with requests.Session() as session:
        session.trust_env = False

        def send(case: schemathesis.Case) -> schemathesis.Response:
            answer = case.call(base_url=gateway.base_url, session=session, headers=key.headers)
            case.validate_response(answer, transport_kwargs={"session": session})
            assert OUR_FAULT not in answer.text
            return answer

        yield send


@schema.parametrize()
@settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_answer_is_as_described(case, ask):
    answer = ask(case)
    if case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE and answer.status_code == 400:
        message = answer.json()["error"]["message"]
        # the blocks of messages, and the pairs of calls and results among them, are checked by hand
        by_hand = case.path.startswith("/messages") and re.match(r"[a-z_]+[\w.]*: ", message)
        assert by_hand or any(reason in message for reason in BEYOND_SCHEMAS), answer.text


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
        {"max_tokens": 3, "n": 1},
        {"stream_options": {"include_usage": True}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_answers_whole_and_streamed_are_as_described(ask, stream, more):
    case = schema["/chat/completions"]["POST"].Case(
        body={"model": "sandbox-echo", "stream": stream, **HELLO, **more}, media_type="application/json"
    )
    answer = ask(case)
    assert answer.status_code == 200
    kind = "text/event-stream" if stream else "application/json"
    assert answer.headers["content-type"][0].startswith(kind)
    assert answer.text.endswith("data: [DONE]\n\n") == stream


@pytest.mark.parametrize("stream", [False, True])
def test_messages_whole_and_streamed_are_as_described(ask, stream):
    body = {"model": "sandbox-echo", "stream": stream, "max_tokens": 99, **HELLO}
    answer = ask(schema["/messages"]["POST"].Case(body=body, media_type="application/json"))
    assert answer.status_code == 200
    kind = "text/event-stream" if stream else "application/json"
    assert answer.headers["content-type"][0].startswith(kind)
    assert ask(schema["/messages/count_tokens"]["POST"].Case(body=body, media_type="application/json")).json()[
        "input_tokens"
    ]


@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2023-06-01"}])
def test_models_are_as_described_in_either_shape(ask, version):
    models = ask(schema["/models"]["GET"].Case(headers=version)).json()
    assert ("object" in models) is not bool(version)
    one = ask(schema["/models/{id}"]["GET"].Case(path_parameters={"id": "gpt-4o"}, headers=version)).json()
    assert one["id"] == "gpt-4o"


def test_a_receipt_and_a_broken_stream_are_as_described(ask):
    body = {"model": "sandbox-cut", "stream": True, **HELLO}
    answer = ask(schema["/chat/completions"]["POST"].Case(body=body, media_type="application/json"))
    assert '"error"' in answer.text
    assert "[DONE]" not in answer.text
    request_id = answer.headers["x-request-id"][0]
    receipt = ask(schema["/requests/{id}"]["GET"].Case(path_parameters={"id": request_id})).json()
    assert receipt["outcome"] == "cut"


def test_an_upstreams_careless_answer_is_put_in_shape(ask, gateway, upstream):
    model = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    careless = {"id": None, "object": "text", "created": None, "choices": [{"message": {"content": "Hello"}}]}
    upstream.plays(lambda _request: [whole(msgspec.json.encode(careless))])
    answer = ask(
        schema["/chat/completions"]["POST"].Case(body={"model": model, **HELLO}, media_type="application/json")
    )
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"


@sqlite
def test_every_route_is_described_and_nothing_else(app):
    rules = app.extensions["bridge_api"].url_map.iter_rules()
    there = {
        (re.sub(r"<[^>]*>", "{id}", rule.rule.removeprefix("/v1")), method.lower())
        for rule in rules
        if rule.rule != "/openapi.json"  # the document itself
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {
        (path, method) for path, item in DOCUMENT["paths"].items() for method in item if method in ("get", "post")
    }
    assert described == there


@sqlite
def test_the_document_is_served_to_everyone_with_this_sites_address(client, settings):
    answer = client.get("/openapi.json")
    assert answer.json == build(f"http://127.0.0.1:{settings.port}/v1")
    assert answer.content_type == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_document_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for each in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**each, "components": DOCUMENT["components"]})


def test_examples_are_what_they_are_examples_of():
    errors = {
        name: jsonschema_rs.Draft202012Validator(
            {**DOCUMENT["components"]["schemas"][name], "components": DOCUMENT["components"]}
        )
        for name in ("Error", "MessagesError")
    }
    for item in DOCUMENT["paths"].values():
        for operation in (item[method] for method in ("get", "post") if method in item):
            for status, answer in operation["responses"].items():
                if status != "200":
                    content = answer["content"]["application/json"]
                    one = content["schema"].get("$ref") or content["schema"]["anyOf"][0]["$ref"]
                    errors[one.rpartition("/")[2]].validate(content["example"])
    body = DOCUMENT["paths"]["/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        msgspec.convert(example["value"], ChatRequest)
    body = DOCUMENT["paths"]["/messages"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        check_request(example["value"])


def test_each_refusal_of_a_chat_says_how_many_attempts_it_took_and_a_402_may_say_when_to_ask_again():
    answers = build("https://example.com/v1")["paths"]["/chat/completions"]["post"]["responses"]
    assert all("x-bridge-attempts" in answer["headers"] for answer in answers.values())
    assert answers["402"]["headers"]["retry-after"]["required"] is False
