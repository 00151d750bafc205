"""Reads the lists of models that upstreams give: OpenAI's dialect, Anthropic's and Gemini's, page by page."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame, FoundModel, ModelPage
from bridge.providers.odd_json import RUBBISH, decode_odd
from bridge.providers.tally import Tally

MAX_ID_CHARACTERS = 128
MAX_CURSOR_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 128
PAGE_MODELS = 1000  # as many as Anthropic and Gemini give at once
PER_MTOK = Decimal(10**15)  # dollars a token -> nano-dollars a million tokens
MAX_PRICE_NANOS = 10**15


def write_list_path(after: str) -> str:
    """Where OpenAI's dialect lists models: most servers give all at once, and `after` is for those that don't."""
    return f"/models?after={quote(after, safe='')}" if after else "/models"


def read_list(data: bytes) -> ModelPage:
    """A page of OpenAI's dialect, with what OpenRouter and other gateways tell beside ids. Raises AttemptFailed."""
    body = _read_object(data, "data")
    models = _read_items(body["data"], _read_one)
    after = body.get("last_id") or (models[-1].id if models else "")
    return ModelPage(models, _cursor(after) if body.get("has_more") is True else "")


def write_anthropic_path(after: str) -> str:
    """Where Anthropic lists models."""
    return f"/v1/models?limit={PAGE_MODELS}" + (f"&after_id={quote(after, safe='')}" if after else "")


def write_gemini_path(after: str) -> str:
    """Where Gemini lists models."""
    return f"/v1beta/models?pageSize={PAGE_MODELS}" + (f"&pageToken={quote(after, safe='')}" if after else "")


def read_gemini_list(data: bytes) -> ModelPage:
    """A page of Gemini's. Raises AttemptFailed."""
    body = _read_object(data, "models", optional=True)
    return ModelPage(_read_items(body.get("models"), _read_gemini), _cursor(body.get("nextPageToken")))


def _read_object(data: bytes, field: str, optional: bool = False) -> JsonObject:
    try:
        body = decode_odd(data)
    except RUBBISH:
        body = None
    if isinstance(body, list) and not optional:  # Together gives the list itself
        body = {field: body}
    if not isinstance(body, dict) or not isinstance(body.get(field, [] if optional else None), list):
        raise AttemptFailed(Blame.UPSTREAM, "what answers there is no list of models", status=200)
    return body


def _read_items(items: Json, read: Callable[[JsonObject], FoundModel]) -> tuple[FoundModel, ...]:
    """The models of a page whose ids can be used; whatever else stands there is left out."""
    found = [read(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return tuple(model for model in found if model.id)


def _read_one(item: JsonObject) -> FoundModel:
    provider = item.get("top_provider")
    places = {**(provider if isinstance(provider, dict) else {}), **item}
    pricing = item.get("pricing")
    prices = pricing if isinstance(pricing, dict) else {}
    return FoundModel(
        _id(item.get("id")),
        _name(item.get("display_name") or item.get("name")),
        _count(places, "context_length", "max_input_tokens", "context_window", "max_model_len"),
        _count(places, "max_output_tokens", "max_completion_tokens", "max_tokens"),
        _price(prices.get("prompt")),
        _price(prices.get("completion")),
    )


def _read_gemini(item: JsonObject) -> FoundModel:
    id_ = item.get("name")
    return FoundModel(
        _id(id_.removeprefix("models/")) if isinstance(id_, str) else "",
        _name(item.get("displayName")),
        _count(item, "inputTokenLimit"),
        _count(item, "outputTokenLimit"),
    )


def _id(value: Json) -> str:
    """The id, "" for one that can't be asked for."""
    sound = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    return str(value) if sound and len(str(value)) <= MAX_ID_CHARACTERS else ""


def _name(value: Json) -> str:
    return value[:MAX_NAME_CHARACTERS] if isinstance(value, str) and value.isprintable() else ""


def _cursor(value: Json) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_CURSOR_CHARACTERS else ""


def _count(places: JsonObject, *names: str) -> int | None:
    found = Tally().first(places, *names)
    return found if found and found > 0 else None


def _price(value: Json) -> int | None:
    """Nano-dollars a million tokens, from dollars a token as text; None where it is none. OpenRouter's -1 is "it
    depends"."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        nanos = Decimal(value) * PER_MTOK
    except InvalidOperation:
        return None
    return int(nanos.to_integral_value()) if nanos.is_finite() and 0 <= nanos <= MAX_PRICE_NANOS else None
