"""What all commands share: how they fail, and how they read amounts, names and moments."""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from bridge.catalogue.below_cost import BelowCost
from bridge.errors import BridgeError, InvalidRequest, MisconfiguredError
from bridge.money import parse_dollars, parse_percent


@contextlib.contextmanager
def one_line_failures() -> Iterator[None]:
    """An error inside ends the command with one line on stderr and status 1, never with a traceback."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        usage = f" {error.ctx.get_usage()}" if error.ctx else ""
        raise one_line(error.format_message() + usage) from None
    except BridgeError as error:
        raise one_line(f"{error.message} ({error.param})" if error.param else error.message) from None
    except MisconfiguredError as error:
        raise one_line(str(error)) from None
    except SQLAlchemyError as error:
        raise one_line(f"The database refused: {getattr(error, 'orig', None) or error}") from None


class Commands(AppGroup):
    """A group whose commands fail with one line."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_failures():
            return super().invoke(ctx)


class Command(click.Command):
    """A command outside groups that fails with one line."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with one_line_failures():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_failures():
            return super().invoke(ctx)


def one_line(message: str) -> click.ClickException:
    """The exception that click prints as `Error: message` on stderr before it exits with 1."""
    return click.ClickException(" ".join(message.split()))


def read_dollars(text: str, param: str) -> int:
    """Nano-dollars. Raises InvalidRequest."""
    try:
        return parse_dollars(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=param) from None


def read_percent(text: str, param: str) -> int:
    """Hundredths of a percent. Raises InvalidRequest."""
    try:
        return parse_percent(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=param) from None


def read_moment(text: str, param: str = "expires") -> datetime.datetime:
    """An ISO 8601 date or time; without an offset it is UTC. Raises InvalidRequest."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{text!r} is no ISO 8601 date or time.", param=param) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def read_list(text: str | None) -> list[str] | None:
    """`A,B` as a list; None stays None."""
    return [item.strip() for item in text.split(",") if item.strip()] if text is not None else None


def below_cost_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--below-cost`: the operator's confirmation of a price below cost."""
    return click.option("--below-cost", is_flag=True, help="Sell below cost, if you mean it.")(command)


@contextlib.contextmanager
def asks_below_cost() -> Iterator[None]:
    """Names the option that confirms a price below cost."""
    try:
        yield
    except BelowCost as error:
        raise InvalidRequest(f"{error.message} If you mean it, add --below-cost.") from None


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under their heading, in columns as wide as their content."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
