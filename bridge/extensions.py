"""Flask's extensions: sign-in, form protection and page limits. They are made here, and app.py binds them to the
app."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flask import request
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

from bridge.addresses import name_network


def _name_caller() -> str:
    """The client that the page limits count: all addresses of one subscriber."""
    return name_network(request.remote_addr or "")


csrf = CSRFProtect()
login_manager = LoginManager()
migrate = Migrate(directory=str(Path(__file__).parents[1] / "migrations"), compare_type=True)
limiter = Limiter(
    key_func=_name_caller,
    strategy="sliding-window-counter",
    headers_enabled=False,
    in_memory_fallback_enabled=True,
)
View = TypeVar("View", bound=Callable[..., Any])


def anyone_may_enter(view: View) -> View:
    """Mark a view as open to everyone, on purpose."""
    view.anyone_may_enter = True  # type: ignore[attr-defined]
    return view


def needs_proof(view: View) -> View:
    """Mark a view that opens only for a member who has lately proved who they are: money, keys, security."""
    view.needs_proof = True  # type: ignore[attr-defined]
    return view
