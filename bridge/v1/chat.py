"""POST /v1/chat/completions: checks the shape of the request, puts it to the limits, and opens the relay."""

from typing import Any

from flask import Response

from bridge.accounts.keys import Caller
from bridge.catalogue.routing import Catalogue
from bridge.errors import (
    BridgeError,
    InvalidRequest,
    ModelNotAllowed,
    ServiceUnavailable,
)
from bridge.money import parse_dollars
from bridge.v1.body import convert, find_messages, read_object
from bridge.v1.chat_request import ChatRequest
from bridge.v1.choices import count_calls
from bridge.v1.door import count, read_body
from bridge.v1.idempotency import find_answer, read_claim
from bridge.v1.media import check_media
from bridge.v1.meter import CACHE_FOR_AN_HOUR, measure
from bridge.v1.plan import Offer, Plan
from bridge.v1.relay import Relay
from bridge.v1.stream import answer_stream
from bridge.v1.visit import Visit
from bridge.v1.whole import answer_whole

FREE_SERVICE_TIERS = (None, "auto", "default")
CLIENT_TOOLS = ("function", "custom")  # which the client runs; a provider bills for those that it runs itself


def create_chat_completion(visit: Visit) -> Response:
    """One chat completion, whole or streamed. A request that is wrong counts against the limits all the same."""
    data = read_body(visit)
    plan, fault = None, None
    try:
        plan = plan_chat(visit, data)
    except BridgeError as error:
        fault = error
    settings = visit.services.settings
    count(
        visit,
        requests=1,
        tokens=plan.reserved_tokens if plan else 0,
        lease_seconds=settings.total_timeout_seconds + settings.hold_grace_seconds if plan else 0,
    )
    if plan is None:
        assert fault is not None
        raise fault
    claim = read_claim(visit)
    if claim is not None:
        kept = find_answer(visit, claim, data, stream=bool(plan.request.stream))
        if kept is not None:
            return kept
    relay = Relay(visit, plan, claim)
    try:
        relay.place_hold()
    except Exception:  # whatever it is, nothing was paid: the key is not to stay taken
        relay.free_key()
        raise
    visit.services.keys_used[relay.caller.key_id] = relay.created_at
    return answer_stream(relay) if plan.request.stream else answer_whole(relay)


def plan_chat(visit: Visit, data: bytes) -> Plan:
    """Check the body and measure what it can cost. Raises what is wrong with it; nothing was counted or held yet."""
    body, speaks_of_an_hour = read_object(data, CACHE_FOR_AN_HOUR)
    request = convert(body, ChatRequest)
    _refuse_unpriced(request)
    check_media(request.messages)
    max_cost_nanos = _read_max_cost(visit.environ.get("HTTP_X_BRIDGE_MAX_COST"))
    assert visit.caller is not None
    body.pop("models", None)  # ours alone
    offers = _list_offers(visit.services.catalogue, visit.caller, request, body, len(data), speaks_of_an_hour)
    strict = visit.header("HTTP_X_BRIDGE_STRICT").strip().lower() in ("true", "1")
    if strict:
        _refuse_lowered_cap(offers[0])
    return Plan(request, body, find_messages(data), offers, max_cost_nanos, strict)


def _list_offers(
    catalogue: Catalogue, caller: Caller, request: ChatRequest, body: dict[str, Any], body_bytes: int, hour_writes: bool
) -> tuple[Offer, ...]:
    """The models that may serve this request, the one asked for first, each measured by itself. One without a price
    can't be sold, so it is passed over."""
    catalogue = catalogue.for_group(caller.group)
    found: dict[str, Offer | None] = {}
    for place, name in enumerate((request.model, *(request.models or ()))):
        param = f"models[{place - 1}]" if place else "model"
        model = catalogue.resolve(name, param)
        if model.id in found:
            continue
        if caller.models is not None and model.id not in caller.models:
            raise ModelNotAllowed(f"This API key may not use {name}.", param=param)
        found[model.id] = None
        if model.price is not None:
            calls = count_calls(body, request.choices, model)
            bound = measure(request, model, body_bytes, calls, hour_writes=hour_writes)
            price = model.price.for_account(caller.markup_bps)
            found[model.id] = Offer(name, model, price, bound, request, calls)
    offers = tuple(offer for offer in found.values() if offer is not None)
    if not offers:
        raise ServiceUnavailable(f"{request.model} has no price yet, so it can't be sold.", retry_after_seconds=60)
    return offers


def _refuse_lowered_cap(offer: Offer) -> None:
    """A cap above the model's own, where the client wants all taken as sent or nothing."""
    field, cap = offer.request.sent_cap or ("", 0)
    if field and cap > offer.most_cap_tokens:
        raise InvalidRequest(
            f"{field} is too large: {cap}. {offer.model.id} writes at most {offer.most_cap_tokens} tokens here. Lower "
            "it, or drop x-bridge-strict.",
            param=field,
            code="unsupported_parameter",
        )


def _refuse_unpriced(request: ChatRequest) -> None:
    """What a provider bills apart, and the catalogue has no price for."""
    found: tuple[str, Any] | None = None
    if request.service_tier not in FREE_SERVICE_TIERS:
        found = ("service_tier", "Only auto and default are offered.")
    elif request.web_search_options is not None:
        found = ("web_search_options", "Web search is not offered.")
    elif "audio" in (request.modalities or ()) or request.audio is not None:
        found = ("modalities" if request.modalities else "audio", "Audio output is not offered.")
    for place, tool in enumerate(request.tools or ()):
        if tool.type not in CLIENT_TOOLS:
            found = (f"tools[{place}].type", f"Only {' and '.join(CLIENT_TOOLS)} are offered.")
    if found:
        raise InvalidRequest(f"{found[0]}: {found[1]}", param=found[0], code="unsupported_parameter")


def _read_max_cost(text: str | None) -> int | None:
    if text is None:  # an empty one is refused: whoever means to cap the cost is not to go without
        return None
    try:
        nanos = parse_dollars(text)
    except ValueError:
        nanos = -1
    if nanos < 0:
        raise InvalidRequest("x-bridge-max-cost must be dollars, such as 0.05.", param="x-bridge-max-cost")
    return nanos
