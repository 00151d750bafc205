"""GET /openapi.json: it describes what there is and nothing else, and what goes in and comes out is as it says."""

import copy
import os
import re

import jsonschema_rs
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source

from bridge.conversation.answer import Numbers
from bridge.dialects.chat.request import ChatRequest
from bridge.dialects.messages.request import check_request
from bridge.dialects.responses.frames import ResponseChoice
from bridge.dialects.responses.tools import ToolNames
from bridge.v1.openapi import build
from bridge.v1.openapi_response_events import EVENTS
from tests.upstream import whole

DOCUMENT = build("http://127.0.0.1:8000/v1")
# Names that a fuzz would never guess: answers, what can go wrong, and a model of the page.
COMPLETION_MODELS = ["deepseek-v4-flash", "deepseek-chat", "sandbox-echo"]
EMBEDDING_MODELS = ["text-embedding-3-small", "gemini-embedding-001", "sandbox-echo"]
IMAGE_MODELS = ["gpt-image-1-mini", "gpt-image-2", "sandbox-echo"]
MODELS = ["sandbox-echo", "sandbox-402", "sandbox-429", "sandbox-503", "sandbox-malformed", "gpt-4o"]
# Why a request that fits the schema may be refused all the same: it depends on the model, or no schema can say it.
BEYOND_SCHEMAS = ("writes at most", "takes no", "Not taken as sent", "more than 64 bits", "got float", "(integers)")
BEYOND_SCHEMAS += ("is no PNG", "must be a PNG", "holds no base64", "a stream draws one picture")
BEYOND_SCHEMAS += ("best_of", "echo is not streamed", "a field has no name", "is there twice")
BEYOND_SCHEMAS += (
    "No tool output found",
    "No tool call found",
    "is not kept here",
    "has no place here",
    "is not offered",
)
BEYOND_SCHEMAS += ("x-bridge-tags", "limit: Input should be", "holds no base64", "has a control character")
BEYOND_SCHEMAS += ("x-bridge-resume is for streams",)
BEYOND_SCHEMAS += (
    "is not the http(s) URL of a public host",
    "Send the picture as",
    "must be the file itself",
    "must be the sound",
)
OUR_FAULT = "Something broke on our side"
WHOLE = bool(os.environ.get("WHOLE_FUZZ"))  # every bound of every field too: thousands of requests, for ten minutes
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"at": {"type": "string"}}}}}
sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def describe_api() -> schemathesis.BaseSchema:
    """The document as the fuzz reads it: the models that it asks for exist."""
    document = copy.deepcopy(DOCUMENT)
    for request in ("ChatRequest", "MessagesRequest", "MessagesCountRequest", "ResponsesRequest"):
        document["components"]["schemas"][request]["properties"]["model"]["enum"] = MODELS
    document["components"]["schemas"]["EmbeddingsRequest"]["properties"]["model"]["enum"] = EMBEDDING_MODELS
    document["components"]["schemas"]["CompletionsRequest"]["properties"]["model"]["enum"] = COMPLETION_MODELS
    for request in ("ImagesRequest", "ImageEdit", "ImageEditForm"):
        document["components"]["schemas"][request]["properties"]["model"]["enum"] = IMAGE_MODELS
    for parameter in document["paths"]["/models"]["get"]["parameters"]:
        if parameter["name"] == "limit":  # without anthropic-version nobody reads it
            parameter["schema"] = {"type": "string"}
    config = {
        "seed": 1,
        "max-stream-events": 1000,  # each stream to its end
        "phases": {"coverage": {"enabled": WHOLE}},
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


def check_answer(case, ask):
    """Send what was made up, and see that the answer is one that the document tells of."""
    is_valid = case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if case.path.endswith("/count_tokens") and not is_valid:
        return  # what is only counted is looked at less closely than what is asked
    answer = ask(case)
    if is_valid and answer.status_code == 400:
        message = answer.json()["error"]["message"]
        # the blocks of messages, and the pairs of calls and results among them, are checked by hand
        by_hand = case.path.startswith("/messages") and re.match(r"[a-z_]+[\w.]*: ", message)
        assert by_hand or any(reason in message for reason in BEYOND_SCHEMAS), answer.text


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (path, method)
        for path, item in DOCUMENT["paths"].items()
        for method in ("get", "post", "delete")
        if method in item
    ],
)
def test_whatever_is_sent_the_answer_is_as_described(path, method, ask):
    # what `schema.parametrize()` does, but only when the test runs: there every process makes up all cases, for half a
    # minute, before its first test
    fuzz = build_operation_test(
        config=schema.config,
        operation=schema[path][method],
        test_func=check_answer,
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(schema)),
        explicit_settings=settings(
            max_examples=100 if WHOLE else 12, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        ),
    )
    fuzz(ask=ask)


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


def find_validator(name: str) -> jsonschema_rs.Validator:
    """What says whether a value is of this schema."""
    return jsonschema_rs.Draft202012Validator(
        {**DOCUMENT["components"]["schemas"][name], "components": DOCUMENT["components"]}
    )


def list_events(text: str) -> list[dict]:
    """The events of a stream, each of the kind that stands before it."""
    found = []
    for frame in text.split("\n\n")[:-1]:
        kind, data = frame.split("\n")
        found.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def is_told(schema: dict, event: dict) -> bool:
    """Whether an event's type has a description of its own, and no field that isn't in it."""
    for each in schema["anyOf"]:
        if "$ref" in each:
            each = DOCUMENT["components"]["schemas"][each["$ref"].rpartition("/")[2]]
        fields = each["properties"]
        if event["type"] in (fields["type"].get("const"), *fields["type"].get("enum", ())):
            return set(event) <= set(fields)
    return False


MESSAGES_TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
MESSAGES = [
    {},
    {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}},
    {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    {"max_tokens": 3},
]


@pytest.mark.parametrize("more", MESSAGES)
@pytest.mark.parametrize("stream", [False, True])
def test_messages_whole_and_streamed_are_as_described(ask, stream, more):
    body = {"model": "sandbox-echo", "stream": stream, "max_tokens": 99, **HELLO, **more}
    find_validator("MessagesRequest").validate(body)
    answer = ask(schema["/messages"]["POST"].Case(body=body, media_type="application/json"))
    assert answer.status_code == 200
    if not stream:
        find_validator("Message").validate(answer.json())
        return
    events = list_events(answer.text)
    assert events[-1]["type"] == "message_stop"
    for event in events:
        find_validator("MessageEvent").validate(event)
        assert is_told(DOCUMENT["components"]["schemas"]["MessageEvent"], event), event


def test_tokens_are_counted_as_described(ask):
    body = {"model": "sandbox-echo", **HELLO}
    find_validator("MessagesCountRequest").validate(body)
    assert not find_validator("MessagesRequest").is_valid(body)
    case = schema["/messages/count_tokens"]["POST"].Case(body=body, media_type="application/json")
    assert ask(case).json()["input_tokens"]
    body = {"model": "sandbox-echo", "input": "Hello!"}
    case = schema["/responses/input_tokens"]["POST"].Case(body=body, media_type="application/json")
    assert ask(case).json()["input_tokens"]


RESPONSES_TOOL = {"type": "function", "name": "look", "parameters": {"properties": {"at": {"type": "string"}}}}
RESPONSES = [
    {},
    {"tools": [RESPONSES_TOOL], "tool_choice": "required"},
    {"tools": [{"type": "custom", "name": "look"}], "tool_choice": "required"},
    {"reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"]},
    {"max_output_tokens": 3, "user": "customer-42", "metadata": {"a": "b"}},
]


@pytest.mark.parametrize("more", RESPONSES)
@pytest.mark.parametrize("stream", [False, True])
def test_responses_whole_and_streamed_are_as_described(ask, stream, more):
    body = {"model": "sandbox-echo", "stream": stream, "input": "Hello!", "store": False, **more}
    find_validator("ResponsesRequest").validate(body)
    answer = ask(schema["/responses"]["POST"].Case(body=body, media_type="application/json"))
    assert answer.status_code == 200
    if not stream:
        find_validator("Response").validate(answer.json())
        assert set(answer.json()) == set(DOCUMENT["components"]["schemas"]["Response"]["properties"])
        return
    events = list_events(answer.text)
    assert events[-1]["type"] in ("response.completed", "response.incomplete")
    for event in events:
        find_validator("ResponseEvent").validate(event)
        assert set(event) <= {"type", "sequence_number", *EVENTS[event["type"]]}


@pytest.mark.parametrize("path", ["/messages", "/responses"])
def test_a_broken_stream_ends_as_described(ask, path):
    body = {"model": "sandbox-cut", "stream": True, "max_tokens": 99, **HELLO}
    if path == "/responses":
        body = {"model": "sandbox-cut", "stream": True, "input": "Hello!"}
    answer = ask(schema[path]["POST"].Case(body=body, media_type="application/json"))
    last = list_events(answer.text)[-1]
    kind = {"/messages": "MessageEvent", "/responses": "ResponseEvent"}[path]
    find_validator(kind).validate(last)
    assert last["type"] in ("error", "response.failed")


@pytest.mark.parametrize(
    "said",
    [
        {"text": "Hello!", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}]},
        {"refusal": "No."},
        {"reasoning": "Hm.", "text": "Yes."},
    ],
)
def test_whatever_a_responses_writer_says_is_described(said):
    choice = ResponseChoice("0" * 32, ToolNames(), lambda _value: "ab1.", bytes, Numbers(), logprobs=False)
    frames = choice.reasoning(said["reasoning"]) if "reasoning" in said else b""
    frames += choice.text(said["text"]) if "text" in said else b""
    frames += choice.extras(said)
    frames += choice.refusal(said["refusal"]) if "refusal" in said else b""
    frames += choice.finish("stop")
    for event in list_events(frames.decode()):
        find_validator("ResponseEvent").validate(event)
        assert set(event) == {"type", "sequence_number", *EVENTS[event["type"]]}


@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2023-06-01"}])
def test_models_are_as_described_in_either_shape(ask, version):
    models = ask(schema["/models"]["GET"].Case(headers=version)).json()
    assert ("object" in models) is not bool(version)
    one = ask(schema["/models/{id}"]["GET"].Case(path_parameters={"id": "gpt-4o"}, headers=version)).json()
    assert one["id"] == "gpt-4o"


def test_a_page_of_models_is_as_described(ask):
    version = {"anthropic-version": "2023-06-01"}
    page = ask(schema["/models"]["GET"].Case(headers=version, query={"limit": 2})).json()
    assert (len(page["data"]), page["has_more"]) == (2, True)
    refused = ask(schema["/models"]["GET"].Case(headers=version, query={"limit": "many"}))
    assert refused.status_code == 400


def test_a_key_may_come_as_either_scheme_has_it(gateway):
    key = gateway.make.make_key()
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {next(iter(each)) for each in DOCUMENT["security"]} == set(schemes)
    for headers in ({"Authorization": f"Bearer {key.secret}"}, {schemes["x-api-key"]["name"]: key.secret}):
        assert requests.get(f"{gateway.base_url}/key", headers=headers, timeout=60).status_code == 200


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
        (path, method)
        for path, item in DOCUMENT["paths"].items()
        for method in item
        if method in ("get", "post", "delete")
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
    errors = {name: find_validator(name) for name in ("Error", "MessagesError")}
    for item in DOCUMENT["paths"].values():
        for operation in (item[method] for method in ("get", "post", "delete") if method in item):
            for status, answer in operation["responses"].items():
                if status != "200":
                    content = answer["content"]["application/json"]
                    one = content["schema"].get("$ref") or content["schema"]["anyOf"][0]["$ref"]
                    errors[one.rpartition("/")[2]].validate(content["example"])
    body = DOCUMENT["paths"]["/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        msgspec.convert(example["value"], ChatRequest)
    for path in (
        "/messages",
        "/messages/count_tokens",
        "/responses",
        "/responses/input_tokens",
        "/embeddings",
        "/completions",
        "/images/generations",
        "/images/edits",
    ):
        operation = DOCUMENT["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]
        for example in body["examples"].values():
            find_validator(body["schema"]["$ref"].rpartition("/")[2]).validate(example["value"])
            if path.startswith("/messages"):
                check_request(example["value"], counting=path.endswith("count_tokens"))
        whole_answer = operation["responses"]["200"]["content"]["application/json"]
        if "example" in whole_answer:
            find_validator(whole_answer["schema"]["$ref"].rpartition("/")[2]).validate(whole_answer["example"])


def test_what_every_inference_may_be_sent_is_told_of_each_of_them():
    ours = {
        "x-bridge-tags",
        "x-bridge-stop-at",
        "x-bridge-max-cost",
        "x-bridge-strict",
        "Idempotency-Key",
    }
    streams = {"x-bridge-resume"}
    for path, more in {
        "/chat/completions": streams,
        "/messages": {"anthropic-version", "anthropic-beta"} | streams,
        "/responses": streams,
        "/embeddings": set(),
        "/completions": streams,
        "/images/generations": streams,
        "/images/edits": streams,
    }.items():
        assert {each["name"] for each in DOCUMENT["paths"][path]["post"]["parameters"]} == ours | more


def test_each_refusal_of_a_chat_says_how_many_attempts_it_took_and_a_402_may_say_when_to_ask_again():
    answers = build("https://example.com/v1")["paths"]["/chat/completions"]["post"]["responses"]
    assert all("x-bridge-attempts" in answer["headers"] for answer in answers.values())
    assert answers["402"]["headers"]["retry-after"]["required"] is False
