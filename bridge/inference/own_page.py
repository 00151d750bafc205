"""Asks the API in this process for a page of ours, by a key of the account that is signed in. It goes through the same
door as a program's request: body, limits, hold, attempts and ledger are those of the key."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import WSGIEnvironment

from bridge.accounts.keys import Caller
from bridge.headers import Wsgi

# In the environ, where no header of a client's request can put it:
CALLER = "bridge.caller"  # who calls, for the page has let them in
CLIENT = "bridge.client"  # the environ of the browser's request, whose connection it is
NOT_PASSED_ON = ("HTTP_", "werkzeug.", "flask.")  # cookies, keys and headers that change a request


def ask_api(
    app: Wsgi, environ: WSGIEnvironment, path: str, caller: Caller
) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
    """POST the body of the browser's request to a path of the API. Returns status, headers and the answer's bytes,
    which somebody must close if they can be closed. The body must not have been read yet."""
    heard: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _failure: object = None) -> Callable[[bytes], None]:
        heard[:] = status, headers
        return lambda _: None  # as WSGI has it; the gateway never writes this way

    inner: dict[str, Any] = {name: value for name, value in environ.items() if not name.startswith(NOT_PASSED_ON)}
    inner |= {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": ""}
    inner |= {CALLER: caller, CLIENT: environ}
    pieces = app(inner, start)
    status, headers = heard
    return status, headers, pieces
