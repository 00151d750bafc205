"""POST /webhooks/stripe: Stripe's events about payments. Its guard is the signature over the raw body."""

import structlog
from flask import Blueprint, Flask, current_app, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import RequestEntityTooLarge

from bridge.config import Settings
from bridge.db import db
from bridge.extensions import anyone_may_enter, csrf, limiter
from bridge.payments.checkout import BadSignature, StripeAway, StripeRefused, read_event
from bridge.payments.events import apply_event

MAX_BYTES = 64 * 1024
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
Answer = tuple[str, int, dict[str, str]]
webhooks = Blueprint("webhooks", __name__)
log = structlog.get_logger()


def register(app: Flask, settings: Settings) -> None:
    """Add the route, if there is a secret to check signatures with: without one no event could be trusted."""
    if settings.stripe_webhook_secret:
        csrf.exempt(webhooks)
        app.register_blueprint(webhooks)


@webhooks.post("/webhooks/stripe")
@anyone_may_enter
@limiter.limit("1200 per minute")
def hear_stripe() -> Answer:
    """200 once the event is handled, or isn't ours; 5xx if Stripe should send it again."""
    settings: Settings = current_app.config["BRIDGE"]
    request.max_content_length = MAX_BYTES + 1  # a body without a length is cut there
    try:
        body = request.get_data(cache=False)
        if len(body) > MAX_BYTES:
            raise RequestEntityTooLarge
        event = read_event(settings, body, request.headers.get("Stripe-Signature", ""))
    except RequestEntityTooLarge:
        return "An event is never this large.", 413, TEXT
    except BadSignature:
        log.warning("webhook_refused", address=request.remote_addr)
        return "The signature does not fit this body, or is too old.", 400, TEXT
    try:
        done = apply_event(settings, event)
    except SQLAlchemyError as error:
        db.session.rollback()
        log.error("webhook_failed", event_id=event.id, event_type=event.type, error=type(error).__name__)
        return "The database does not answer. Send it again.", 503, TEXT
    except (StripeAway, StripeRefused) as error:
        log.error("webhook_failed", event_id=event.id, event_type=event.type, error=str(error))
        return "Stripe's API did not answer as expected. Send it again.", 503, TEXT
    log.info("webhook", event_id=event.id, event_type=event.type, done=done)
    return done, 200, TEXT
