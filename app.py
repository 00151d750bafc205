"""create_app(): the roof. It puts settings, database, doors and commands together; only wsgi.py imports it."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import admin, dashboard, v1, vault, versions, webhooks
from bridge.body_time import limit_body_time
from bridge.config import Settings, read_settings
from bridge.cookies import session_cookie
from bridge.counters.memory import end_timer
from bridge.counters.redis import storage_options
from bridge.db import db, engine_options, prepare_engine
from bridge.extensions import csrf, limiter, login_manager, migrate
from bridge.odd_values import refuse_in_fields, refuse_in_paths
from bridge.ops import commands, health, metrics
from bridge.providers import COMPANIES
from bridge.shared_redis import SharedRedis


def create_app(settings: Settings | None = None) -> Flask:
    """The whole product as one WSGI app: this Flask app serves the pages, and a leaner second one serves /v1.

    Raises MisconfiguredError naming every setting that is missing or wrong."""
    settings = settings or read_settings(COMPANIES)
    vault.open_vault(settings.fernet_key_list)
    versions.watch_versions(settings)
    app = Flask(__name__)
    configure(app, settings)
    shared = app.extensions["bridge_redis"] = SharedRedis(settings) if settings.redis_url else None
    app.config.update(storage_options(shared, settings.lease_seconds))
    limit_body_time(app, settings)
    refuse_in_fields(app)
    csrf.init_app(app)
    limiter.init_app(app)
    end_timer(limiter._fallback_storage)
    migrate.init_app(app, db)
    login_manager.init_app(app)
    dashboard.register(app)
    admin.register(app)
    health.register(app)
    metrics.register(app)
    webhooks.register(app, settings)
    commands.register(app)

    api = Flask("bridge.v1", static_folder=None, template_folder=None)
    configure(api, settings)
    services = app.extensions["bridge_services"] = v1.register(api, settings, limiter.storage, shared)
    app.extensions["bridge_api"] = api
    app.wsgi_app = v1.dispatch(app.wsgi_app, api, services)  # type: ignore[assignment, method-assign]
    if settings.trust_proxy:
        hops = settings.trust_proxy
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    return app


def list_commands_alone() -> Flask:
    """The commands alone, for their help texts. Needs no settings."""
    app = Flask(__name__)
    migrate.init_app(app, db)
    commands.register(app)
    return app


def configure(app: Flask, settings: Settings) -> None:
    """What both Flask apps share: settings and database."""
    app.config.update(
        BRIDGE=settings,
        DEBUG=False,  # with FLASK_DEBUG an error only closes the connection, also in production
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
        **session_cookie(settings),
    )
    refuse_in_paths(app)
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine)
