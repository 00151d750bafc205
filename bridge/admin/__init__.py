"""The operator's pages: channels, models, customers, codes, usage, drills, system. register() gives the app their
door."""

from flask import Flask

from bridge.admin import channels, codes, customers, door, drill, models, system, usage

ROOMS = (channels, codes, customers, drill, models, system, usage)  # imported so that their pages stand behind the door


def register(app: Flask) -> None:
    """Bind the operator's pages to the app."""
    app.register_blueprint(door.admin)
