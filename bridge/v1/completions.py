"""POST /v1/completions, as OpenAI had it before there were conversations."""

from flask import Response

from bridge.dialects.completions.request import CompletionsRequest, read_completions
from bridge.dialects.completions.writer import Completions
from bridge.inference.weigh_texts import weigh_prompts
from bridge.v1.body import convert, read_object
from bridge.v1.inference import Planned, answer_inference
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit


def create_completion(visit: Visit) -> Response:
    """Completions of one prompt or several, whole or streamed."""
    return answer_inference(visit, _plan)


def _plan(visit: Visit, data: bytes) -> Planned:
    body, _ = read_object(data)
    asked = convert(body, CompletionsRequest)
    request = read_completions(body, asked)
    plan = plan_request(visit, request, asked.models or (), len(data), weigh=weigh_prompts)
    return plan, Completions(request.wants_usage)
