"""How an operator changes models, prices and aliases, in pages and commands alike."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from flask import current_app
from sqlalchemy import delete
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.catalogue.below_cost import find_costs, require_margin, require_margin_at
from bridge.catalogue.connect import LOCAL_PROVIDER
from bridge.catalogue.model_fields import (
    MAX_TOKENS,
    check_columns,
    check_kinds,
    check_sizes,
    check_tokens,
    find_modalities,
    find_most_output,
)
from bridge.catalogue.price_file import MODEL_ID
from bridge.catalogue.price_rows import make_price, tiers_of
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, make_rates
from bridge.catalogue.seed import load_seed
from bridge.catalogue.tables import Alias, Model, Price
from bridge.conversation.kinds import CHAT
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.money import check_markup, format_dollars, format_percent
from bridge.providers import PROVIDERS
from bridge.versions import bump, wait_until_seen

MAX_PRICE_NANOS = 10**15  # a million dollars per million tokens: anything above is a typing error
MAX_PATIENCE_SECONDS = 3600
ROUTE_ORDERS = ("weight", "cost", "latency")


def find_model(id_: str) -> Model:
    """The model with this id; aliases don't count. Raises NotFound."""
    model = db.session.get(Model, id_)
    if model is None:
        raise NotFound(f"There is no model named {id_!r}.", param="model")
    return model


def add_model(  # noqa: PLR0913 - the columns of a row
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
    kinds: Sequence[str] = (CHAT,),
    below_cost: bool | None = None,
    actor: Actor = COMMAND,
    **further: Any,
) -> Model:
    """Add a model under a new public name; prices are nano-dollars per million tokens. By default, cached tokens and
    cache writes cost the input's price, and writes for an hour cost what writes for minutes do. `kinds` are those of
    the requests that it takes. `further` has fields of `edit_model`; without them it takes text alone and doesn't
    think. Raises InvalidRequest naming the field, and BelowCost unless `below_cost` confirms it; None skips that
    check."""
    if not MODEL_ID.fullmatch(id_):
        raise InvalidRequest("Use letters, digits and . _ : / @ + -, up to 128, no space.", param="id")
    if provider not in {*PROVIDERS, *load_seed(), LOCAL_PROVIDER}:
        raise InvalidRequest(f"There is no provider named {provider!r}.", param="provider")
    check_tokens("context_tokens", context_tokens, MAX_TOKENS)
    kinds = check_kinds(kinds)
    max_output_tokens = find_most_output(kinds, max_output_tokens, context_tokens)
    columns = check_columns({"upstream_id": id_, **further})
    check_sizes(context_tokens, columns)
    with transaction() as session:
        _require_free(session, id_, "id")
        model = Model(
            id=id_,
            name=(name or id_)[:128],
            provider=provider,
            context_tokens=context_tokens,
            max_output_tokens=max_output_tokens,
            kinds=kinds,
            **columns | {"input_modalities": find_modalities(kinds, columns.get("input_modalities", ("text",)))},
        )
        session.add(model)
        session.flush()  # the price refers to it
        prices = {
            "input": input_price_nanos,
            "cached": cached_price_nanos,
            "cache_write": cache_write_price_nanos,
            "cache_write_hour": cache_write_hour_price_nanos,
            "output": output_price_nanos,
        }
        tiers = [check_rates(prices)]
        costs = _confirm(model, tiers, None, below_cost, now_utc())
        session.add(make_price(id_, tiers, costs, source="operator"))
        record_act(session, None, "model_added", actor, f"{id_}, {provider}: {describe_price(tiers)}")
        bump("catalogue")
    return model


def set_price(  # noqa: PLR0913 - the columns of a row
    model_id: str,
    *,
    input_nanos: int,
    cached_nanos: int,
    output_nanos: int,
    cache_write_nanos: int | None = None,
    cache_write_hour_nanos: int | None = None,
    source: str = "operator",
    below_cost: bool | None = None,
) -> Price:
    """Set a new price from now on, in nano-dollars per million tokens; running requests keep theirs. By default, cache
    writes cost what input does, and writes for an hour what writes for minutes do. Raises NotFound or
    InvalidRequest."""
    prices = {
        "input": input_nanos,
        "cached": cached_nanos,
        "cache_write": cache_write_nanos,
        "cache_write_hour": cache_write_hour_nanos,
        "output": output_nanos,
    }
    return enter_price(model_id, [check_rates(prices)], source=source, below_cost=below_cost)


def enter_price(
    model_id: str,
    tiers: Sequence[Rates],
    *,
    costs: Sequence[Rates] | None = None,
    effective_at: datetime.datetime | None = None,
    source: str = "operator",
    below_cost: bool | None = None,
    actor: Actor = COMMAND,
) -> Price:
    """Set a new price by tiers, ordinary prompts first, and what the provider charges where that differs. It applies
    from now on or from a given moment. Raises NotFound or InvalidRequest, and BelowCost unless `below_cost` confirms
    it; None skips that check."""
    for several in (tiers, costs or ()):
        thresholds = [rates.above_tokens for rates in several]
        if thresholds and (thresholds[0] != 0 or sorted(set(thresholds)) != thresholds):
            raise InvalidRequest("What the provider takes begins with ordinary prompts, and tiers go up.")
    if effective_at is not None and effective_at <= now_utc():
        raise InvalidRequest("That moment has passed. Leave it empty for a price from now on.", param="effective_at")
    with transaction() as session:
        costs = _confirm(find_model(model_id), tiers, costs, below_cost, effective_at or now_utc())
        price = make_price(model_id, tiers, costs, effective_at=effective_at, source=source[:200])
        session.add(price)
        since = f" from {effective_at:%Y-%m-%d %H:%M} UTC" if effective_at else ""
        record_act(session, None, "price", actor, f"{model_id}: {describe_price(tiers)}{since}")
        bump("catalogue")
    return price


def withdraw_price(price_id: int, actor: Actor = COMMAND) -> Price:
    """Remove a price before its day: then what is in effect goes on. Every price of that model and moment goes with it.
    Raises NotFound, and InvalidRequest for a price that is or was in effect, since requests were charged by it."""
    with transaction() as session:
        price = session.get(Price, price_id)
        if price is None:
            raise NotFound(f"There is no price {price_id}.", param="price")
        if price.effective_at is None or price.effective_at <= now_utc():
            raise InvalidRequest("This price has begun: enter another one instead.", param="price")
        when = f"{price.effective_at:%Y-%m-%d %H:%M} UTC"
        detail = f"{price.model_id}: {describe_price(tiers_of(price))} from {when} is withdrawn"
        same = delete(Price).where(Price.model_id == price.model_id, Price.effective_at == price.effective_at)
        session.expunge(price)
        session.execute(same, execution_options={"synchronize_session": False})
        record_act(session, None, "price", actor, detail)
        bump("catalogue")
    return price


def describe_price(tiers: Sequence[Rates]) -> str:
    """What an ordinary prompt and its answer cost, for the audit log; all of it is in the price's own row."""
    ordinary = tiers[0]
    figures = (f"${format_dollars(nanos, 2)}" for nanos in (ordinary.input, ordinary.output))
    return " in, ".join(figures) + " out a million" + (f", {len(tiers)} tiers" if len(tiers) > 1 else "")


def _confirm(
    model: Model,
    tiers: Sequence[Rates],
    costs: Sequence[Rates] | None,
    below_cost: bool | None,
    since: datetime.datetime,
) -> Sequence[Rates] | None:
    """The costs to store with a price: the entered ones, otherwise the price list's of the day from which it applies,
    so that margins and later markups use them. Raises BelowCost for a price below cost, unless that is confirmed."""
    if below_cost is None:
        return costs
    known = find_costs(model, costs, since.astimezone(datetime.UTC).date())
    if not below_cost:
        require_margin(model, tiers, known)
    return known


def set_markup(model_id: str, basis_points: int, *, below_cost: bool | None = None, actor: Actor = COMMAND) -> None:
    """Set a model's markup on its prices, in hundredths of a percent, from the next request on. Raises NotFound or
    InvalidRequest, and BelowCost unless `below_cost` confirms it; None skips that check."""
    check_markup(basis_points)
    with transaction() as session:
        model = find_model(model_id)
        if below_cost is False:
            require_margin_at(basis_points, [model])
        figures = (f"{format_percent(points)}%" for points in (model.markup_bps, basis_points))
        record_act(session, None, "price", actor, f"{model_id}: {write_change('markup', *figures)}")
        model.markup_bps = basis_points
        bump("catalogue")


def set_route_order(model_id: str, order: str, actor: Actor = COMMAND) -> None:
    """Set how channels of one priority are ordered: by "weight", "cost" or "latency", from the next request on. Raises
    NotFound or InvalidRequest."""
    if order not in ROUTE_ORDERS:
        raise InvalidRequest(f"Channels are chosen by {', '.join(ROUTE_ORDERS)}.", param="route_order")
    _change_model(model_id, {"route_order": order}, actor)


def edit_model(model_id: str, actor: Actor = COMMAND, **fields: Any) -> Model:
    """Change any of a model's `name`, `upstream_id` (its name at its provider), `note` (what customers should know; ""
    is none), `context_tokens`, `max_output_tokens`, `input_modalities` (of INPUT_KINDS, text among them),
    `image_tokens` (the dearest picture; 0 is the whole window), `thinks`, `added_tokens` (the most that its upstream
    adds to a prompt: holds cover them, and provider counts are believed up to them) and `openai_wire` ("auto" goes by
    its name there). A field that isn't given stays. It counts from the next request on. Raises NotFound, or
    InvalidRequest naming the field."""
    model = find_model(model_id)
    if "context_tokens" in fields:
        check_tokens("context_tokens", fields["context_tokens"], MAX_TOKENS)
    sizes = {field: fields.get(field, getattr(model, field)) for field in ("context_tokens", "max_output_tokens")}
    own = {field: value for field, value in fields.items() if field not in sizes}
    columns = check_columns(own)
    sizes["max_output_tokens"] = find_most_output(model.kinds, sizes["max_output_tokens"], sizes["context_tokens"])
    kept = {"image_tokens": model.image_tokens, "added_tokens": model.added_tokens}
    check_sizes(sizes["context_tokens"], {**kept, **columns})
    _change_model(model_id, {**{field: sizes[field] for field in sizes if field in fields}, **columns}, actor)
    return model


def set_openai_wire(model_id: str, wire: str, actor: Actor = COMMAND) -> None:
    """Set by which of its dialects OpenAI is asked for this model: "chat", "responses", "responses_with_tools" (where
    the request offers tools), or "auto", which goes by the name of the model there. From the next request on. Raises
    NotFound or InvalidRequest."""
    edit_model(model_id, actor, openai_wire=wire)


def set_kinds(model_id: str, kinds: Sequence[str], actor: Actor = COMMAND) -> None:
    """Set which kinds of requests this model takes, from the next request on: those of `kinds.ENDPOINTS`. Raises
    NotFound or InvalidRequest."""
    kinds, model = check_kinds(kinds), find_model(model_id)
    most = find_most_output(kinds, model.max_output_tokens or None, model.context_tokens)
    modalities = find_modalities(kinds, model.input_modalities)
    _change_model(model_id, {"kinds": kinds, "max_output_tokens": most, "input_modalities": modalities}, actor)


def set_added_tokens(model_id: str, tokens: int, actor: Actor = COMMAND) -> None:
    """Set the most tokens that the model's upstream adds to a prompt, by its template or a system prompt. From the next
    request on, holds cover them, and provider counts are believed up to them. Raises NotFound or InvalidRequest."""
    edit_model(model_id, actor, added_tokens=tokens)


def set_patience(model_id: str, seconds: int | None, actor: Actor = COMMAND) -> None:
    """Set how long this model's first content or whole answer may take, from the next request on; None is the setting's
    value. The time limit of a whole request stays. Raises NotFound or InvalidRequest."""
    if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= MAX_PATIENCE_SECONDS):
        message = f"Give a whole number of seconds from 1 to {MAX_PATIENCE_SECONDS}."
        raise InvalidRequest(message, param="patience")
    _change_model(model_id, {"first_content_timeout_seconds": seconds}, actor)


def _change_model(model_id: str, columns: Mapping[str, Any], actor: Actor) -> None:
    with transaction() as session:
        model = find_model(model_id)
        changes = "; ".join(write_change(name, getattr(model, name), value) for name, value in columns.items())
        record_act(session, None, "model_changed", actor, f"{model_id}: {changes}")
        for name, value in columns.items():
            setattr(model, name, value)
        bump("catalogue")


def check_rates(prices: Mapping[str, int | None], above_tokens: int = 0, param: str = "{}_price") -> Rates:
    """The rates of these prices by class. Raises InvalidRequest naming the field; `param` is the pattern of its
    name."""
    for name in (*PRICE_CLASSES, *FURTHER_CLASSES):
        nanos = prices.get(name)
        if nanos is None and name not in ("input", "output"):
            continue
        if type(nanos) is not int or not 0 <= nanos <= MAX_PRICE_NANOS:
            raise InvalidRequest("A price is from 0 to 1,000,000 dollars per million tokens.", param=param.format(name))
    return make_rates(prices, above_tokens)


def add_alias(name: str, model_id: str, actor: Actor = COMMAND) -> Alias:
    """Add another public name for a model. Raises NotFound or InvalidRequest."""
    if not MODEL_ID.fullmatch(name):
        raise InvalidRequest("Use letters, digits and . _ : / @ + -, up to 128, no space.", param="name")
    with transaction() as session:
        find_model(model_id)
        _require_free(session, name, "name")
        alias = Alias(name=name, model_id=model_id)
        session.add(alias)
        record_act(session, None, "alias_added", actor, f"{name} for {model_id}")
        bump("catalogue")
    return alias


def remove_alias(name: str, actor: Actor = COMMAND) -> None:
    """Remove an alias. When this returns, every worker refuses the name. Raises NotFound."""
    with transaction() as session:
        alias = session.get(Alias, name)
        if alias is None:
            raise NotFound(f"There is no alias named {name!r}.", param="name")
        record_act(session, None, "alias_removed", actor, f"{name} for {alias.model_id}")
        session.delete(alias)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def retire_model(id_: str, actor: Actor = COMMAND) -> Model:
    """Refuse a model from now on; it stays listed as retired. Raises NotFound."""
    return _set_status(id_, "retired", "model_retired", actor)


def restore_model(id_: str, actor: Actor = COMMAND) -> Model:
    """Serve a retired model again. Raises NotFound."""
    return _set_status(id_, "live", "model_restored", actor)


def _set_status(id_: str, status: str, what: str, actor: Actor) -> Model:
    with transaction() as session:
        model = find_model(id_)
        record_act(session, None, what, actor, id_)
        model.status = status
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])
    return model


def _require_free(session: Session, name: str, param: str) -> None:
    if session.get(Model, name) or session.get(Alias, name):
        raise InvalidRequest(f"{name!r} is a model or an alias already.", param=param)
