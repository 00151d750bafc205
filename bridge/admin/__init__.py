"""The operators' pages, a file each. register() binds them to the app."""

from flask import Flask

from bridge.admin import (
    approvals,
    audit,
    bulk_prices,
    channel_bulk,
    channel_keys,
    channel_models,
    channel_pages,
    channels,
    codes,
    customer_list,
    customer_new,
    customer_page,
    customer_people,
    customer_terms,
    customer_view,
    customers,
    door,
    drill,
    home,
    incidents,
    models,
    operators,
    payments,
    plans,
    prices,
    receipts,
    requests,
    setup,
    system,
    usage,
)

# imported so that their pages are on the blueprint
ROOMS = (
    *(approvals, audit, bulk_prices, channel_bulk, channel_keys, channel_models, channel_pages),
    *(channels, codes, customer_list, customer_new, customer_page, customer_people, customer_terms),
    *(customer_view, customers, drill, home, incidents, models, operators, payments, plans),
    *(prices, receipts, requests, setup, system, usage),
)


def register(app: Flask) -> None:
    """Bind the operator's pages to the app. Raises RuntimeError if one of them doesn't say which right it asks for."""
    app.register_blueprint(door.admin)
    door.require_rights(app)
    app.add_template_global(door.may, "may")
