"""Embeddings in OpenAI's dialect."""

import msgspec
from msgspec import Raw, Struct

from bridge.conversation.answer import Completion
from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import list_dropped
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing, StreamOrder, StreamReader
from bridge.providers.blame.errors import find_refusal, read_openai_error
from bridge.providers.openai.answer import read_body
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.openai.usage import read_openai_usage
from bridge.providers.vectors import VECTOR_BYTES, Wanted, finish_vectors, read_vector

PATH = "/embeddings"
TAKEN = frozenset({"user"})
OWN_MODELS = "text-embedding-"  # OpenAI's: of servers of its dialect some refuse base64


class _Item(Struct):
    embedding: Raw
    index: Json = None


class _Answer(Struct):
    data: list[_Item]
    usage: Json = None


_decode = msgspec.json.Decoder(_Answer).decode


class OpenAIEmbeddings:
    """See Translator."""

    def write_request(self, order: Order) -> Outgoing:
        """The inputs as the client wrote them. Numbers are asked for where base64 may not be known: it is written here
        then."""
        request = order.request
        assert isinstance(request, EmbeddingRequest)
        out: JsonObject = {"model": order.upstream_id, "input": request.written}
        if request.encoding is not None:
            own = order.upstream_id.startswith(OWN_MODELS)
            out["encoding_format"] = request.encoding if own else "float"
        if request.dimensions is not None:
            out["dimensions"] = request.dimensions
        out |= take_passed(request.options, TAKEN | order.passes, out)
        count = len(request.inputs)
        return Outgoing(
            PATH,
            msgspec.json.encode(out),
            dropped=tuple(list_dropped(request.options, TAKEN | order.passes)),
            reading=Wanted.by(request, count),
            answer_bytes=count * VECTOR_BYTES,
        )

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """The vectors, by their indices. Raises AttemptFailed."""
        wanted = outgoing.reading
        assert isinstance(wanted, Wanted)
        try:
            answer = _decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _explain(data) from None
        found = [read_vector(item.embedding, wanted) for item in answer.data]
        places, indices = list(range(len(found))), [item.index for item in answer.data]
        odd = indices != places
        if odd and sorted(index for index in indices if type(index) is int) == places:
            found = [vector for _, vector in sorted(zip(indices, found, strict=True))]
            odd = False
        lengths = {length for _, length in found}
        return finish_vectors([vector for vector, _ in found], lengths, wanted, _read_usage(answer.usage), odd)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        """There are no streams of them. Raises AttemptFailed."""
        raise AttemptFailed(Blame.UPSTREAM, "the answer is a stream")


def _explain(data: bytes) -> AttemptFailed:
    """What an answer is that has no vectors."""
    body = read_body(data)
    if isinstance(body, dict) and body.get("error"):
        return read_openai_error(200, {}, data)
    return find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no vectors")


def _read_usage(usage: Json) -> Counts | None:
    """Tokens of the inputs alone: there is no output, whatever a total may say beside them."""
    if not isinstance(usage, dict) or not usage:
        return None
    counts = read_openai_usage({**usage, "completion_tokens": 0})
    return None if counts is None else Counts(counts.prompt_tokens, 0, odd=counts.odd)
