"""POST /v1/embeddings."""

from flask import Response

from bridge.dialects.embeddings.request import EmbeddingsRequest, read_embeddings
from bridge.dialects.embeddings.writer import Embeddings
from bridge.inference.weigh_texts import weigh_inputs
from bridge.v1.body import convert, read_object
from bridge.v1.inference import Planned, answer_inference
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit


def create_embeddings(visit: Visit) -> Response:
    """A vector for each input."""
    return answer_inference(visit, _plan)


def _plan(visit: Visit, data: bytes) -> Planned:
    body, _ = read_object(data)
    request = read_embeddings(body, convert(body, EmbeddingsRequest))
    return plan_request(visit, request, (), len(data), weigh=weigh_inputs), Embeddings()
