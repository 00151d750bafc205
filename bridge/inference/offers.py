"""Which models may serve a request, and what each can cost this account."""

import dataclasses
from collections.abc import Callable, Iterable

from bridge.accounts.keys import Caller
from bridge.catalogue.routing import Catalogue, ServedModel
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, IMAGES, list_endpoints
from bridge.conversation.request import Request
from bridge.errors import InvalidRequest, ModelNotAllowed, ModelNotFound, Unavailable
from bridge.inference.choices import count_calls
from bridge.inference.meter import Measure, measure
from bridge.inference.plan import Offer
from bridge.providers import PROVIDERS

Weigh = Callable[..., Measure]  # as `measure`, of another kind of request
_WORDS = {
    CHAT: "conversations",
    EMBEDDINGS: "requests for embeddings",
    COMPLETIONS: "plain completions",
    IMAGES: "requests for pictures",
}


def list_offers(
    catalogue: Catalogue,
    caller: Caller,
    request: Request,
    others: Iterable[str],
    body_bytes: int,
    *,
    hour_writes: bool,
    weigh: Weigh = measure,
) -> tuple[Offer, ...]:
    """The models that may serve this request, the one asked for before the `others`, each measured by itself, as
    `weigh` measures this kind. One without a price can't be sold, so it is passed over. Raises BridgeError for a model
    that nobody may have, or that takes no such request."""
    catalogue = catalogue.for_group(caller.group)
    found: dict[str, Offer | None] = {}
    for place, name in enumerate((request.model, *others)):
        param = f"models[{place - 1}]" if place else "model"
        model = catalogue.resolve(name, param)
        if model.id in found:
            continue
        if caller.models is not None and model.id not in caller.models:
            raise ModelNotAllowed(f"This API key may not use {name}.", param=param)
        if request.kind not in model.kinds:
            raise ModelNotFound(_name_right_door(name, model, request.kind), param=param)
        found[model.id] = None
        if model.price is not None:
            price = caller.price_terms.price(model.id, model.price)
            if request.kind != CHAT:
                model = _narrow(model, request.kind)
            calls = count_calls(request, model)
            bound = weigh(request, model, body_bytes, calls, hour_writes=hour_writes)
            found[model.id] = Offer(name, model, price, bound, request, calls)
    offers = tuple([offer for offer in found.values() if offer is not None])
    if not offers:
        raise Unavailable(f"{request.model} has no price yet, so it can't be sold.", retry_after_seconds=60)
    return offers


def _narrow(model: ServedModel, kind: str) -> ServedModel:
    """The model with those of its channels whose providers take this kind of request at all."""
    routes = tuple([route for route in model.routes if kind in PROVIDERS[route.provider].translators])
    return model if len(routes) == len(model.routes) else dataclasses.replace(model, routes=routes)


def _name_right_door(name: str, model: ServedModel, kind: str) -> str:
    """What the client of a wrong endpoint is told."""
    right = list_endpoints(each for each in ENDPOINTS if each in model.kinds)
    return f"{name} takes no {_WORDS[kind]}: ask it by {' or '.join(right)}."


def refuse_lowered_cap(offer: Offer) -> None:
    """Raises InvalidRequest for a cap above the model's own: the client wants all taken as sent or nothing."""
    field, cap = offer.request.sent_cap or ("", 0)
    if field and cap > offer.most_cap_tokens:
        raise InvalidRequest(
            f"{field} is too large: {cap}. {offer.model.id} writes at most {offer.most_cap_tokens} tokens here. Lower "
            "it, or drop x-bridge-strict.",
            param=field,
            code="unsupported_parameter",
        )
