"""Writes an answer of embeddings, and what refuses one."""

from typing import ClassVar

import msgspec

from bridge.conversation.answer import Completion
from bridge.conversation.kinds import EMBEDDINGS
from bridge.conversation.usage import Usage, describe_counts
from bridge.dialects import answer_id
from bridge.dialects.whole_only import WholeOnly
from bridge.errors import BridgeError, error_body
from bridge.json_types import JsonObject

_encode = msgspec.json.encode


class EmbeddingsWriter(WholeOnly):
    """See AnswerWriter."""

    __slots__ = ("_id", "_model")

    def __init__(self, own_id: str, model: str):
        self._id, self._model = own_id, model

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body. The vectors are JSON already, as long as they may be."""
        items = [b'{"object":"embedding","index":%d,"embedding":%b}' % each for each in enumerate(completion.vectors)]
        counts: JsonObject = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
        if usage.altered:
            counts["provider_counts"] = describe_counts(usage.altered.said)
        counts["cost"] = msgspec.Raw(cost.encode())  # a number, with its exact digits
        parts = _encode(self._id), b",".join(items), _encode(self._model), _encode(counts)
        return b'{"id":%b,"object":"list","data":[%b],"model":%b,"usage":%b}' % parts


class Embeddings(msgspec.Struct, frozen=True):
    """The client of one request wants vectors."""

    keepalive: ClassVar[bytes] = b""
    reads_arguments: ClassVar[bool] = False

    def open_writer(self, request_id: str, model: str, created: int) -> EmbeddingsWriter:
        """See Dialect."""
        return EmbeddingsWriter(answer_id(EMBEDDINGS, request_id), model)

    def opening(self, request_id: str) -> bytes:
        """See Dialect."""
        return b""


def write_embeddings_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter. What a provider's side calls by chat's name is the input here."""
    param = error.param
    if param != "messages":
        return error.status, error.body()
    return error.status, error_body(error.message.replace("messages", "input", 1), error.type, error.code, "input")
