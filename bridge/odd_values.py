"""Refuses NUL at the door of each app, since PostgreSQL stores it in no text. So no room has to handle it."""

from typing import Any

from flask import Flask, request
from werkzeug.exceptions import BadRequest
from werkzeug.routing import PathConverter, UnicodeConverter


class Text(UnicodeConverter):
    """A part of a path, without NUL: with it there is no such page."""

    part_isolating = True

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.regex = self.regex.replace("[^/]", r"[^/\0]")


class Path(PathConverter):
    """The same over several parts."""

    regex = r"[^/\0][^\0]*?"


def refuse_in_paths(app: Flask) -> None:
    """Let no route match NUL in a variable part. Call this before adding routes."""
    app.url_map.converters.update(default=Text, string=Text, path=Path)


def refuse_in_fields(app: Flask) -> None:
    """Refuse URLs and forms with NUL in a field. Call this after the hook that reads the body in its time is added."""

    @app.before_request
    def refuse_nul() -> None:
        for fields in (request.args, request.form):
            for name, value in fields.items(multi=True):
                if "\0" in name or "\0" in value:
                    raise BadRequest
