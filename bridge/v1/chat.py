"""POST /v1/chat/completions."""

from flask import Response

from bridge.dialects.chat.writer import Chat
from bridge.v1.chat_body import plan_chat
from bridge.v1.inference import Planned, answer_inference
from bridge.v1.visit import Visit


def create_chat_completion(visit: Visit) -> Response:
    """One chat completion, whole or streamed."""
    return answer_inference(visit, _plan)


def _plan(visit: Visit, data: bytes) -> Planned:
    plan = plan_chat(visit, data)
    return plan, Chat(plan.request.wants_usage)
