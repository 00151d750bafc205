"""Embeddings in Gemini's own dialect (`batchEmbedContents`)."""

import math

import msgspec
from msgspec import Raw, Struct

from bridge.conversation.answer import Completion
from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import list_dropped
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing, StreamOrder, StreamReader, refuse
from bridge.providers.blame.errors import find_refusal
from bridge.providers.gemini.errors import read_gemini_error
from bridge.providers.gemini.paths import write_path
from bridge.providers.openai.answer import read_body
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.tally import Tally
from bridge.providers.vectors import VECTOR_BYTES, Wanted, finish_vectors, write_vector

MOST_AT_ONCE = 100
NOTHING_TAKEN: frozenset[str] = frozenset()
UNIT_TOLERANCE = 1e-3


class _Embedding(Struct):
    values: list[float]


class _Answer(Struct, rename="camel"):
    embeddings: list[_Embedding]
    usage_metadata: Json = None


_decode = msgspec.json.Decoder(_Answer).decode


class GeminiEmbeddings:
    """See Translator. More than a hundred inputs are several calls: all answer, or none."""

    def write_request(self, order: Order) -> Outgoing:
        """A request for each input, a hundred a call. Raises AttemptFailed for tokens: they are another model's."""
        request = order.request
        assert isinstance(request, EmbeddingRequest)
        model = f"models/{order.upstream_id.removeprefix('models/')}"
        terms: JsonObject = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        terms |= take_passed(request.options, order.passes, terms)
        written: list[JsonObject] = []
        for place, text in enumerate(request.inputs):
            if not isinstance(text, str):
                param = "input" if len(request.inputs) == 1 else f"input[{place}]"
                raise refuse(param, f"{param}: this model reads text only. Send strings instead of tokens.")
            written.append({"model": model, "content": {"parts": [{"text": text}]}, **terms})
        path = write_path(order.upstream_id, "batchEmbedContents")
        dropped = tuple(list_dropped(request.options, order.passes or NOTHING_TAKEN))
        first, *others = [
            Outgoing(
                path,
                msgspec.json.encode({"requests": part}),
                dropped=dropped,
                reading=Wanted.by(request, len(part)),
                answer_bytes=len(part) * VECTOR_BYTES,
            )
            for part in _split(written)
        ]
        return msgspec.structs.replace(first, beside=tuple(others)) if others else first

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """The vectors, in their order. Raises AttemptFailed."""
        wanted = outgoing.reading
        assert isinstance(wanted, Wanted)
        try:
            answer = _decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _explain(data) from None
        lengths = {len(embedding.values) for embedding in answer.embeddings}
        vectors = [_write(embedding.values, wanted) for embedding in answer.embeddings]
        return finish_vectors(vectors, lengths, wanted, _read_usage(answer.usage_metadata), odd=False)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        """There are no streams of them. Raises AttemptFailed."""
        raise AttemptFailed(Blame.UPSTREAM, "the answer is a stream")


def _split(requests: list[JsonObject]) -> list[list[JsonObject]]:
    return [requests[start : start + MOST_AT_ONCE] for start in range(0, len(requests), MOST_AT_ONCE)]


def _write(values: list[float], wanted: Wanted) -> Raw:
    """A vector in the client's form. One that Google has shortened may be shorter than 1, while those of OpenAI's
    dialect never are: it is brought to that length."""
    if wanted.dimensions is not None:
        length = math.hypot(*values)
        if math.isfinite(length) and length and abs(length - 1) > UNIT_TOLERANCE:
            values = [value / length for value in values]
    return write_vector(values, wanted.base64)


def _explain(data: bytes) -> AttemptFailed:
    """What an answer is that has no vectors."""
    body = read_body(data)
    if isinstance(body, dict) and body.get("error"):
        return read_gemini_error(200, {}, data)
    return find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no vectors")


def _read_usage(usage: Json) -> Counts | None:
    """None where it says nothing: older models count nothing."""
    tally = Tally()
    prompt = tally.first(usage, "promptTokenCount") if isinstance(usage, dict) else None
    return None if prompt is None and not tally.odd else Counts(prompt, 0, odd=tally.odd)
