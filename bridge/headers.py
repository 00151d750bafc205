"""Headers that every answer carries, and the headers of answers that our own code writes."""

from collections.abc import Callable, Iterable
from typing import Any

from bridge.config import Settings

YEAR_SECONDS = 365 * 24 * 3600
NO_STORE = ("Cache-Control", "no-store")
EXPOSED = ", ".join(
    ["x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry"]
    + [f"x-bridge-{name}" for name in ("cost", "attempts", "dropped", "clamped")]
    + ["idempotent-replayed"]
    + [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]
)
CORS = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED))
UNUSED_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class CommonHeaders:
    """Headers that many answers share: as `pairs`, and as the `text` of their lines, which is made once."""

    __slots__ = ("pairs", "text")

    def __init__(self, *pairs: tuple[str, str]):
        self.pairs = pairs
        self.text = "".join(f"{name}: {value}\r\n" for name, value in pairs)


class ReadyHeaders(list[tuple[str, str]]):
    """Headers whose names and values are known to be valid, so that the server doesn't check them: that takes longer
    than writing them. The common headers come last. `length` is the body's, in bytes; None for a stream."""

    def __init__(self, own: Iterable[tuple[str, str]], common: CommonHeaders, length: int | None = None):
        super().__init__(own)
        self.own_count = len(self)
        self.extend(common.pairs)
        self.common = common
        self.length = length


def guard_headers(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The headers that guard every answer: the browser guesses no type, grants no device, and stays with TLS."""
    features = ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES)
    found = [("X-Content-Type-Options", "nosniff"), ("Permissions-Policy", features)]
    if settings.tls_expected:
        found.append(("Strict-Transport-Security", f"max-age={YEAR_SECONDS}"))
    return tuple(found)


def api_headers(settings: Settings) -> CommonHeaders:
    """The headers of every API answer. Its JSON is no page and belongs in no frame."""
    policy = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return CommonHeaders(*CORS, *guard_headers(settings), policy)


def add_headers(app: Wsgi, headers: Iterable[tuple[str, str]]) -> Wsgi:
    """The app with each of these headers on every answer that has none of that name, whatever part of the app made
    it."""
    wanted = [(name.lower(), (name, value)) for name, value in headers]

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, found: list[tuple[str, str]], *error: Any) -> Any:
            there = {name.lower() for name, _ in found}
            return start_response(status, [*found, *(pair for name, pair in wanted if name not in there)], *error)

        return app(environ, start)

    return answer
