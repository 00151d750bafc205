"""The operators' pages: channels, models, customers, payments, codes, usage, drills, system. register() binds them to
the app."""

from flask import Flask

from bridge.admin import channels, codes, customers, door, drill, models, payments, system, usage

# imported so that their pages are on the blueprint
ROOMS = (channels, codes, customers, drill, models, payments, system, usage)


def register(app: Flask) -> None:
    """Bind the operator's pages to the app."""
    app.register_blueprint(door.admin)
