"""The body of a Responses request, checked, with its references resolved, and planned."""

from typing import TypeVar

import msgspec

from bridge.dialects.responses.read import Asked, count_added, read_responses
from bridge.dialects.responses.request import (
    CountRequest,
    ResponsesRequest,
    list_references,
    refuse_foreign,
    refuse_reference,
    refuse_state,
)
from bridge.inference.meter import CACHE_FOR_AN_HOUR
from bridge.inference.plan import Plan
from bridge.json_types import JsonObject
from bridge.reasoning.items import recall_items
from bridge.turns import by_size
from bridge.v1.body import convert, explain, read_object
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit

T = TypeVar("T", ResponsesRequest, CountRequest)


def plan_response(visit: Visit, data: bytes) -> tuple[Plan, Asked]:
    """Check the body and measure what it can cost. Raises what is wrong with it; nothing was counted or held yet."""
    body, speaks_of_an_hour = read_object(data, CACHE_FOR_AN_HOUR)
    request, body, more_bytes = _check(visit, body, ResponsesRequest)
    asked = read_body(visit, body, request, len(data) + more_bytes)
    most_bytes = len(data) + more_bytes + asked.added_bytes
    plan = plan_request(visit, asked.conversation, request.models or (), most_bytes, hour_writes=speaks_of_an_hour)
    return plan, asked


def read_to_count(visit: Visit, data: bytes) -> tuple[CountRequest, Asked]:
    """Check a body that is only to be counted."""
    body, _ = read_object(data)
    request, body, more_bytes = _check(visit, body, CountRequest)
    fields = {name: getattr(request, name) for name in CountRequest.__struct_fields__}
    whole = ResponsesRequest(**{**fields, "model": request.model or "any"})
    return request, read_body(visit, body, whole, len(data) + more_bytes)


def read_body(visit: Visit, body: JsonObject, request: ResponsesRequest, size: int) -> Asked:
    """The conversation. Raises InvalidRequest."""
    assert visit.caller is not None
    try:
        return by_size(size, read_responses, body, request, visit.caller.account_id)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None


def _check(visit: Visit, body: JsonObject, type_: type[T]) -> tuple[T, JsonObject, int]:
    """The request, its body with the items in the place of references to them, and how many bytes those have."""
    refuse_state(body)
    refuse_foreign(body)
    request = convert(body, type_)
    body.pop("models", None)  # ours alone
    try:
        references = list(list_references(body))
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None
    if not references:
        return request, body, 0
    assert visit.caller is not None
    with visit.services.app.app_context():
        found = recall_items(visit.caller.account_id, [item_id for _, item_id in references])
    items = list(body["input"])
    for place, item_id in references:
        if item_id not in found:
            raise refuse_reference(place, item_id)
        items[place] = found[item_id]
    return request, {**body, "input": items}, count_added(found)
