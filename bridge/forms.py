"""Reads a page's form: text to numbers, dollars, moments and lists. Errors are kept beside the fields' names."""

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bridge.errors import InvalidRequest
from bridge.money import parse_dollars, parse_percent

MAX_DIGITS = 12


class FormReader:
    """The fields as they came (`values`), and what is wrong with each (`errors`; "" is the form as a whole)."""

    def __init__(self, values: Mapping[str, str]):
        self.values = values
        self.errors: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The field without spaces around it; "" if it is absent."""
        return self.values.get(name, "").strip()

    def number(self, name: str) -> int | None:
        """A whole number, or None for an empty field. Commas and spaces between digits are allowed."""
        text = self.text(name).replace(",", "").replace(" ", "")
        if not text:
            return None
        if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
            return int(text)
        self.errors[name] = "Give a whole number, such as 60."
        return None

    def dollars(self, name: str) -> int | None:
        """Nano-dollars, or None for an empty field."""
        text = self.text(name).replace(",", "")
        if not text:
            return None
        try:
            return parse_dollars(text.replace("−", "-"))
        except ValueError:
            self.errors[name] = "Give dollars, such as 12.50, with at most nine decimals."
            return None

    def percent(self, name: str) -> int | None:
        """Hundredths of a percent, or None for an empty field."""
        text = self.text(name).replace(",", "").replace("−", "-").removeprefix("+").removesuffix("%").strip()
        if not text:
            return None
        try:
            return parse_percent(text)
        except ValueError:
            self.errors[name] = "Give a percentage, such as 12.5, with at most two decimals."
            return None

    def names(self, name: str) -> list[str]:
        """The names in the field, separated by commas, spaces or line ends."""
        return self.text(name).replace(",", " ").split()

    def moment(self, name: str) -> datetime.datetime | None:
        """A date and time of day in UTC, or None for an empty field."""
        text = self.text(name)
        if not text:
            return None
        try:
            return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
        except ValueError:
            self.errors[name] = "Give a date and a time, such as 2026-12-31 23:59."
            return None

    def require(self, name: str, message: str) -> str:
        """The field's text, which must not be empty."""
        text = self.text(name)
        if not text:
            self.errors.setdefault(name, message)
        return text

    @contextmanager
    def collect_errors(self, **renamed: str) -> Iterator[None]:
        """Keep a room's InvalidRequest as the error of the field that it names. `renamed`: the room's name of a field =
        the form's."""
        try:
            yield
        except InvalidRequest as error:
            name = renamed.get(error.param or "", error.param or "")
            self.errors[name if name in self.values else ""] = error.message
