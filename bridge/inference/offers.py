"""Which models may serve a request, and what each can cost this account."""

from collections.abc import Iterable

from bridge.accounts.keys import Caller
from bridge.catalogue.routing import Catalogue
from bridge.conversation.request import Conversation
from bridge.errors import InvalidRequest, ModelNotAllowed, Unavailable
from bridge.inference.choices import count_calls
from bridge.inference.meter import measure
from bridge.inference.plan import Offer


def list_offers(
    catalogue: Catalogue,
    caller: Caller,
    request: Conversation,
    others: Iterable[str],
    body_bytes: int,
    *,
    hour_writes: bool,
) -> tuple[Offer, ...]:
    """The models that may serve this request, the one asked for before the `others`, each measured by itself. One
    without a price can't be sold, so it is passed over. Raises BridgeError for a model that nobody may have."""
    catalogue = catalogue.for_group(caller.group)
    found: dict[str, Offer | None] = {}
    for place, name in enumerate((request.model, *others)):
        param = f"models[{place - 1}]" if place else "model"
        model = catalogue.resolve(name, param)
        if model.id in found:
            continue
        if caller.models is not None and model.id not in caller.models:
            raise ModelNotAllowed(f"This API key may not use {name}.", param=param)
        found[model.id] = None
        if model.price is not None:
            calls = count_calls(request, model)
            bound = measure(request, model, body_bytes, calls, hour_writes=hour_writes)
            price = model.price.for_account(caller.markup_bps)
            found[model.id] = Offer(name, model, price, bound, request, calls)
    offers = tuple([offer for offer in found.values() if offer is not None])
    if not offers:
        raise Unavailable(f"{request.model} has no price yet, so it can't be sold.", retry_after_seconds=60)
    return offers


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
