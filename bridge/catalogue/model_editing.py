"""How an operator changes models, prices and aliases, in pages and commands alike."""

from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from bridge.catalogue.connect import LOCAL_PROVIDER, MODEL_ID
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.seed import DEFAULT_OUTPUT_TOKENS, load_seed
from bridge.catalogue.tables import Alias, Model, Price
from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.providers import PROVIDERS
from bridge.versions import bump, wait_until_seen

MAX_PRICE_NANOS = 10**15  # a million dollars per million tokens: above it is a slip of the pen
MAX_TOKENS = 10**9
DEFAULT_MAX_OUTPUT_TOKENS = 16_384


def find_model(id_: str) -> Model:
    """By its id, not by an alias. Raises NotFound."""
    model = db.session.get(Model, id_)
    if model is None:
        raise NotFound(f"There is no model named {id_!r}.", param="model")
    return model


def add_model(
    id_: str,
    *,
    provider: str,
    input_price_nanos: int,
    output_price_nanos: int,
    cached_price_nanos: int | None = None,
    cache_write_price_nanos: int | None = None,
    cache_write_hour_price_nanos: int | None = None,
    context_tokens: int,
    max_output_tokens: int | None = None,
    name: str | None = None,
) -> Model:
    """Offer a model under a new public name; prices are nano-dollars per million tokens. Unless said otherwise, what
    is cached or written to a cache costs the input's price, and for an hour what it costs for minutes. Raises
    InvalidRequest naming the field."""
    if not MODEL_ID.fullmatch(id_):
        raise InvalidRequest("Use letters, digits and . _ : / @ + -, up to 128, no space.", param="id")
    if provider not in {*PROVIDERS, *load_seed(), LOCAL_PROVIDER}:
        raise InvalidRequest(f"There is no provider named {provider!r}.", param="provider")
    _check_tokens("context_tokens", context_tokens, MAX_TOKENS)
    if max_output_tokens is None:
        max_output_tokens = min(context_tokens, DEFAULT_MAX_OUTPUT_TOKENS)
    _check_tokens("max_output_tokens", max_output_tokens, context_tokens)
    with transaction() as session:
        _require_free(session, id_, "id")
        model = Model(
            id=id_,
            name=(name or id_)[:128],
            provider=provider,
            upstream_id=id_,
            context_tokens=context_tokens,
            max_output_tokens=max_output_tokens,
            default_output_tokens=min(DEFAULT_OUTPUT_TOKENS, max_output_tokens),
        )
        session.add(model)
        session.flush()  # the price refers to it
        cached = input_price_nanos if cached_price_nanos is None else cached_price_nanos
        written = cache_write_price_nanos, cache_write_hour_price_nanos
        session.add(_price(id_, input_price_nanos, cached, written, output_price_nanos, "operator"))
        bump("catalogue")
    return model


def set_price(
    model_id: str,
    *,
    input_nanos: int,
    cached_nanos: int,
    output_nanos: int,
    cache_write_nanos: int | None = None,
    cache_write_hour_nanos: int | None = None,
    source: str = "operator",
) -> Price:
    """A new price from now on, in nano-dollars per million tokens; running requests keep theirs. Without a price of
    its own, what is written to a cache costs what input does, and for an hour what it costs for minutes. Raises
    NotFound or InvalidRequest."""
    with transaction() as session:
        find_model(model_id)
        written = cache_write_nanos, cache_write_hour_nanos
        price = _price(model_id, input_nanos, cached_nanos, written, output_nanos, source)
        session.add(price)
        bump("catalogue")
    return price


def add_alias(name: str, model_id: str) -> Alias:
    """Another public name for a model. Raises NotFound or InvalidRequest."""
    if not MODEL_ID.fullmatch(name):
        raise InvalidRequest("Use letters, digits and . _ : / @ + -, up to 128, no space.", param="name")
    with transaction() as session:
        find_model(model_id)
        _require_free(session, name, "name")
        alias = Alias(name=name, model_id=model_id)
        session.add(alias)
        bump("catalogue")
    return alias


def remove_alias(name: str) -> None:
    """When this returns, every worker refuses the name. Raises NotFound."""
    with transaction() as session:
        alias = session.get(Alias, name)
        if alias is None:
            raise NotFound(f"There is no alias named {name!r}.", param="name")
        session.delete(alias)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def retire_model(id_: str) -> Model:
    """Refuse a model from now on; it stays listed as retired. Raises NotFound."""
    return _set_status(id_, "retired")


def restore_model(id_: str) -> Model:
    """Serve a retired model again. Raises NotFound."""
    return _set_status(id_, "live")


def _set_status(id_: str, status: str) -> Model:
    with transaction():
        model = find_model(id_)
        model.status = status
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])
    return model


def _price(
    model_id: str,
    input_nanos: int,
    cached_nanos: int,
    written_nanos: tuple[int | None, int | None],
    output_nanos: int,
    source: str,
) -> Price:
    write = input_nanos if written_nanos[0] is None else written_nanos[0]
    write_hour = write if written_nanos[1] is None else written_nanos[1]
    figures = dict(zip(PRICE_CLASSES, (input_nanos, cached_nanos, write, write_hour, output_nanos), strict=True))
    for what, nanos in figures.items():
        if type(nanos) is not int or not 0 <= nanos <= MAX_PRICE_NANOS:
            raise InvalidRequest("A price is from 0 to 1,000,000 dollars per million tokens.", param=f"{what}_price")
    fields: dict[str, Any] = {f"{what}_nanos_per_mtok": nanos for what, nanos in figures.items()}
    return Price(model_id=model_id, source=source[:200], **fields)


def _check_tokens(field: str, tokens: int, most: int) -> None:
    if type(tokens) is not int or not 1 <= tokens <= most:
        raise InvalidRequest(f"Must be a whole number from 1 to {most}.", param=field)


def _require_free(session: Session, name: str, param: str) -> None:
    if session.get(Model, name) or session.get(Alias, name):
        raise InvalidRequest(f"{name!r} is a model or an alias already.", param=param)
