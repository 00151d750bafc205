"""The body of a chat completion, checked and planned: for the endpoint, and for the one that tells what it would
cost."""

from bridge.dialects.chat.read import read_conversation
from bridge.dialects.chat.request import ChatRequest
from bridge.dialects.chat.unpriced import refuse_unpriced
from bridge.inference.meter import CACHE_FOR_AN_HOUR
from bridge.inference.plan import Plan
from bridge.v1.body import convert, find_messages, read_object
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit


def plan_chat(visit: Visit, data: bytes) -> Plan:
    """Check the body and measure what it can cost. Raises what is wrong with it; nothing was counted or held yet."""
    body, speaks_of_an_hour = read_object(data, CACHE_FOR_AN_HOUR)
    request = convert(body, ChatRequest)
    refuse_unpriced(request)
    body.pop("models", None)  # ours alone
    conversation = read_conversation(body, find_messages(data))
    return plan_request(visit, conversation, request.models or (), len(data), hour_writes=speaks_of_an_hour)
