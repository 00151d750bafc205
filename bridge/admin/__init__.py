"""The operator's pages: channels, models, customers. register() gives the app their door."""

from flask import Flask

from bridge.admin import channels, customers, door, models

ROOMS = (channels, customers, models)  # imported so that their pages stand behind the door


def register(app: Flask) -> None:
    """Bind the operator's pages to the app."""
    app.register_blueprint(door.admin)
