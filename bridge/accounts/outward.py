"""The calls that concern people and leave this process: to sign-in services and to a bot check. They go by the checked
code that calls providers: resolved addresses checked, no redirects, bounded in time and size."""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from bridge.config import Settings
from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Outgoing
from bridge.providers.wire.http import Answer, Timeouts, open_upstream

TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=10, idle_seconds=10)
MAX_ANSWER_BYTES = 2**20
OK = 200


class ServiceAway(Exception):
    """The service could not be asked, or its answer makes no sense; the text is for operators."""


def post_form(settings: Settings, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Json:
    """POST a form; the answer's JSON, whatever its status. Raises ServiceAway."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
    body = urlencode(fields).encode()
    return _call(settings, url, lambda path: Outgoing(path, body, tuple(sent.items())))


def get_json(settings: Settings, url: str, headers: Mapping[str, str] | None = None) -> Json:
    """GET the URL; the answer's JSON. Raises ServiceAway, also for a status other than 200."""
    return _call(settings, url, None, {"Accept": "application/json", **(headers or {})})


def _call(
    settings: Settings, url: str, write: Callable[[str], Outgoing] | None, headers: Mapping[str, str] | None = None
) -> Json:
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    upstream = open_upstream(
        f"{parts.scheme}://{parts.netloc}",
        dict(headers or {}),
        TIMEOUTS,
        private_allowed=settings.private_upstreams_allowed,
        proxy=settings.upstream_proxy,
    )
    try:
        answer = upstream.send(write(path)) if write else upstream.get(path)
        return _read(answer, any_status=write is not None)
    except AttemptFailed as error:
        raise ServiceAway(f"{parts.hostname}: {error.reason}") from None
    finally:
        upstream.close()


def _read(answer: Answer, *, any_status: bool) -> Json:
    try:
        body = answer.read_all(MAX_ANSWER_BYTES, TIMEOUTS.idle_seconds)
    finally:
        answer.close()
    if answer.status != OK and not any_status:
        raise ServiceAway(f"it answered {answer.status}")
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ServiceAway(f"it answered {answer.status} without JSON") from None
