"""Embeddings of both dialects against exchanges, our own and recorded, and what is made of vectors in either form."""

import base64
import json
import math
import struct
from typing import Any

import msgspec
import pytest

from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.usage import Counts
from bridge.dialects.embeddings.request import EmbeddingsRequest, read_embeddings
from bridge.inference.choices import join_vectors
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing
from tests.providers.recordings import list_exchanges

OPENAI, GEMINI = (PROVIDERS[name].translators["embeddings"] for name in ("openai", "gemini"))
EXCHANGES = [*list_exchanges("openai", "openai-embeddings"), *list_exchanges("gemini", "gemini-embed")]
# what our clients can't send: a picture, a form of vectors that nobody has, another method, and Google's own terms
UNASKED = ("embeds-an-image", "embeddings-bad-request", "embed-basic-b188bb57", "taskType", "role")
NAMES = {"output_dimensionality": "outputDimensionality"}  # Google takes either


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def is_asked(exchange: dict[str, Any]) -> bool:
    asked = json.dumps(exchange["request"])
    return not any(each in exchange["id"] or f'"{each}"' in asked for each in UNASKED)


def make_request(**body: Any) -> EmbeddingRequest:
    body = {"model": "m", "input": "Hello", **body}
    return read_embeddings(body, msgspec.convert(body, EmbeddingsRequest))


def request_of(exchange: dict[str, Any]) -> EmbeddingRequest:
    """The request of a client of ours that goes upstream as the recorded one did."""
    sent = exchange["request"]["json"]
    if exchange["provider"] == "openai":
        return make_request(**sent)
    requests = [{NAMES.get(name, name): value for name, value in each.items()} for each in sent["requests"]]
    texts = [each["content"]["parts"][0]["text"] for each in requests]
    dimensions = requests[0].get("outputDimensionality")
    return make_request(input=texts, **({"dimensions": dimensions} if dimensions else {}))


def write(exchange: dict[str, Any], request: EmbeddingRequest) -> Outgoing:
    sent = exchange["request"]["json"]
    upstream_id = sent["model"] if "model" in sent else sent["requests"][0]["model"].removeprefix("models/")
    return PROVIDERS[exchange["provider"]].translators["embeddings"].write_request(Order(request, upstream_id))


def numbers_of(vector: Any) -> list[float]:
    """A vector in either form."""
    value = json.loads(bytes(vector)) if isinstance(vector, msgspec.Raw) else vector
    if isinstance(value, list):
        return value
    packed = base64.b64decode(value, validate=True)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if is_asked(each)))
def test_what_is_written_is_what_was_sent(exchange: dict[str, Any]):
    outgoing = write(exchange, request_of(exchange))
    sent = json.loads(json.dumps(exchange["request"]["json"]))
    for each in sent.get("requests", ()):
        if "output_dimensionality" in each:
            each["outputDimensionality"] = each.pop("output_dimensionality")
    expected = {**sent, "encoding_format": "float"} if is_foreign(sent) else sent
    assert json.loads(outgoing.body) == expected
    assert outgoing.path in exchange["request"]["url_path"]
    assert (outgoing.dropped, outgoing.beside) == ((), ())


def is_foreign(sent: dict[str, Any]) -> bool:
    """Whether a server that may not know base64 was asked for it."""
    return sent.get("encoding_format") == "base64" and not sent["model"].startswith("text-embedding-")


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] == 200))
@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_an_answer_says_what_was_recorded_in_the_form_that_the_client_wants(exchange: dict[str, Any], encoding: Any):
    recorded = json.loads(exchange["response"]["body_text"])
    items = sorted(recorded["data"], key=lambda item: item["index"]) if "data" in recorded else recorded["embeddings"]
    vectors = [numbers_of(item.get("embedding", item.get("values"))) for item in items]
    request = make_request(input=["x"] * len(vectors), encoding_format=encoding, dimensions=len(vectors[0]))
    translator = PROVIDERS[exchange["provider"]].translators["embeddings"]
    outgoing = translator.write_request(Order(request, "gemini-embedding-2"))
    answer = translator.read_answer(exchange["response"]["body_text"].encode(), outgoing)
    said = [json.loads(bytes(vector)) for vector in answer.vectors]
    assert {type(each) for each in said} == {str if encoding == "base64" else list}
    for ours, theirs in zip(answer.vectors, vectors, strict=True):
        length = math.hypot(*theirs) if exchange["provider"] == "gemini" else 1.0
        found, expected = numbers_of(ours), [value / length for value in theirs]
        assert all(math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-6) for a, b in zip(found, expected, strict=True))
    usage = recorded.get("usage") or recorded.get("usageMetadata") or {}
    counted = usage.get("prompt_tokens", usage.get("promptTokenCount"))
    assert answer.usage == (None if counted is None else Counts(counted, 0))
    assert (answer.says_something, answer.text, answer.finish_reason) == (True, [], "stop")


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] != 200))
def test_an_error_body_is_never_an_answer(exchange: dict[str, Any]):
    translator = PROVIDERS[exchange["provider"]].translators["embeddings"]
    body = exchange["response"]["body_text"].encode()
    outgoing = translator.write_request(Order(make_request(), "gemini-embedding-2"))
    with pytest.raises(AttemptFailed) as failed:
        translator.read_answer(body, outgoing)
    meaning = PROVIDERS[exchange["provider"]].read_error(exchange["response"]["status"], {}, body)
    assert failed.value.blame in (meaning.blame, Blame.UPSTREAM, Blame.SETUP)


# what goes out


def test_only_openai_s_own_models_are_asked_for_base64():
    """Some servers refuse it, and others give numbers all the same."""
    own = OPENAI.write_request(Order(make_request(encoding_format="base64"), "text-embedding-3-small"))
    foreign = OPENAI.write_request(Order(make_request(encoding_format="base64"), "nomic-embed-text"))
    silent = OPENAI.write_request(Order(make_request(), "nomic-embed-text"))
    assert json.loads(own.body)["encoding_format"] == "base64"
    assert json.loads(foreign.body)["encoding_format"] == "float"
    assert "encoding_format" not in json.loads(silent.body)


def test_unknown_fields_are_named_and_those_that_the_operator_lets_through_go_out():
    request = make_request(user="u", input_type="query", truncate="END")
    plain = OPENAI.write_request(Order(request, "m"))
    assert plain.dropped == ("input_type", "truncate")
    assert json.loads(plain.body) == {"model": "m", "input": "Hello", "user": "u"}
    passing = OPENAI.write_request(Order(request, "m", passes=frozenset({"input_type"})))
    assert (passing.dropped, json.loads(passing.body)["input_type"]) == (("truncate",), "query")
    assert GEMINI.write_request(Order(request, "m")).dropped == ("user", "input_type", "truncate")


def test_gemini_gets_a_hundred_inputs_a_call_each_a_request_of_its_own_and_in_order():
    texts = [f"text {number}" for number in range(250)]
    first = GEMINI.write_request(Order(make_request(input=texts), "gemini-embedding-001"))
    parts = [json.loads(each.body)["requests"] for each in (first, *first.beside)]
    assert list(map(len, parts)) == [100, 100, 50]
    assert [each["content"]["parts"] for part in parts for each in part] == [[{"text": text}] for text in texts]


def test_the_parts_of_an_answer_are_joined_in_order_and_counted_only_if_all_were():
    def part(*values: float, tokens: int | None) -> Any:
        request = make_request(input=["x"] * len(values))
        usage = {} if tokens is None else {"usageMetadata": {"promptTokenCount": tokens}}
        body = json.dumps({"embeddings": [{"values": [value]} for value in values], **usage}).encode()
        return GEMINI.read_answer(body, GEMINI.write_request(Order(request, "m")))

    joined = join_vectors([part(1, 2, tokens=5), part(3, tokens=7)])
    assert [numbers_of(each) for each in joined.vectors] == [[1], [2], [3]]
    assert joined.usage == Counts(12, 0)
    assert join_vectors([part(1, tokens=5), part(3, tokens=None)]).usage is None


@pytest.mark.parametrize(
    ("given", "param"), [([1, 2, 3], "input"), ([[1, 2], [3]], "input[0]")], ids=["one", "several"]
)
def test_tokens_are_refused_by_gemini_whose_tokens_are_others(given: Any, param: str):
    with pytest.raises(AttemptFailed) as failed:
        GEMINI.write_request(Order(make_request(input=given), "gemini-embedding-2"))
    assert (failed.value.blame, failed.value.param) == (Blame.REQUEST, param)


# what is read


def answer(*vectors: Any, indices: Any = None, usage: Any = None) -> bytes:
    data = [{"embedding": vector} for vector in vectors]
    for item, index in zip(data, indices or (), strict=False):
        item["index"] = index
    return json.dumps({"data": data, "usage": usage}).encode()


def read(data: bytes, inputs: int = 1, **more: Any) -> Any:
    outgoing = OPENAI.write_request(Order(make_request(input=["x"] * inputs, **more), "m"))
    return OPENAI.read_answer(data, outgoing)


@pytest.mark.parametrize(
    ("data", "inputs"),
    [
        (answer(), 1),
        (answer([1.0]), 2),
        (answer([1.0], [2.0]), 1),
        (answer([1.0, 2.0], [1.0]), 2),
        (answer([]), 1),
        (answer([[1.0]]), 1),
        (answer(["1.0"]), 1),
        (answer({"a": 1}), 1),
        (answer(None), 1),
        (answer(1.0), 1),
        (answer(""), 1),
        (answer("AAA"), 1),
        (answer("no base64!"), 1),
        (answer(base64.b64encode(b"12345").decode()), 1),
        (b'{"data": "none"}', 1),
        (b'{"object": "list"}', 1),
        (b"[]", 1),
        (b"", 1),
        (b"rubbish", 1),
    ],
)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_what_is_no_vector_for_each_input_is_the_upstream_s_failure(data: bytes, inputs: int, encoding: str):
    with pytest.raises(AttemptFailed) as failed:
        read(data, inputs, encoding_format=encoding)
    assert failed.value.blame is Blame.UPSTREAM


def test_vectors_stand_in_the_order_of_their_inputs():
    ordered = read(answer([1.0], [2.0], [3.0], indices=(2, 0, 1)), 3)
    assert [numbers_of(each) for each in ordered.vectors] == [[2.0], [3.0], [1.0]]
    assert ordered.mended == frozenset()
    unnumbered = read(answer([1.0], [2.0]), 2)
    assert [numbers_of(each) for each in unnumbered.vectors] == [[1.0], [2.0]]
    assert unnumbered.mended == {"index of a vector"}


def test_numbers_pass_with_all_their_digits():
    written = "[0.1234567890123456789, -1e-7,\n 3]"
    data = b'{"data":[{"index":0,"embedding":%b}]}' % written.encode()
    assert bytes(read(data, encoding_format="float").vectors[0]).decode() == written


def test_another_length_than_was_asked_for_is_the_client_s_400():
    with pytest.raises(AttemptFailed) as failed:
        read(answer([1.0, 2.0]), dimensions=3)
    assert (failed.value.blame, failed.value.param) == (Blame.REQUEST, "dimensions")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, Counts(5, 0)),
        ({"prompt_tokens": 5, "total_tokens": 9}, Counts(5, 0)),
        ({"prompt_tokens": 0, "total_tokens": 0}, Counts(0, 0)),
        ({"total_tokens": 5}, Counts(5, 0)),
        ({}, None),
        (None, None),
        ("none", None),
    ],
)
def test_the_inputs_are_all_that_is_counted(usage: Any, counts: Counts | None):
    assert read(answer([1.0], usage=usage)).usage == counts


def test_what_gemini_has_shortened_is_of_length_1_as_openai_s_are():
    def ask(values: list[float], **more: Any) -> list[float]:
        outgoing = GEMINI.write_request(Order(make_request(**more), "gemini-embedding-001"))
        data = json.dumps({"embeddings": [{"values": values}]}).encode()
        return numbers_of(GEMINI.read_answer(data, outgoing).vectors[0])

    assert ask([3.0, 4.0], dimensions=2) == [0.6, 0.8]
    assert ask([3.0, 4.0]) == [3.0, 4.0]
    assert ask([0.0, 0.0], dimensions=2) == [0.0, 0.0]


@pytest.mark.parametrize("numbers", [[1e39], [float("inf")]])
def test_numbers_beyond_float32_are_no_vector(numbers: list[float]):
    from bridge.providers.vectors import write_vector

    with pytest.raises(AttemptFailed):
        write_vector(numbers, True)


@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_base64_passes_as_it_was_written_whatever_its_padding(count: int, escaped: bool):
    written = base64.b64encode(struct.pack(f"<{count}f", *[-1.5e-38] * count)).decode()
    text = json.dumps(written).replace("/", "\\/") if escaped else json.dumps(written)
    data = b'{"data":[{"index":0,"embedding":%b}]}' % text.encode()
    found = read(data, encoding_format="base64", dimensions=count)
    assert bytes(found.vectors[0]).decode() == text


@pytest.mark.parametrize("text", ["=AAAAAAA", "AAAA=AAA", "AAAAA===", "AAAAAA==A", "AAAAAAA", "AAAAAAAA"])
def test_letters_that_are_no_base64_of_whole_numbers_are_no_vector(text: str):
    with pytest.raises(AttemptFailed):
        read(answer(text), encoding_format="base64")
