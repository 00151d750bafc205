"""Reads whom a request is for, and keeps it from every provider: what goes upstream is a hash of ours."""

from collections.abc import Mapping

import msgspec

from bridge.conversation.labels import NO_LABELS, Labels, read_end_user, read_tags
from bridge.conversation.request import MESSAGES, Native, Request
from bridge.json_types import Json
from bridge.v1.visit import Visit
from bridge.vault import fingerprint

FIELDS = ("safety_identifier", "user")  # if a request has both, the first is its end user


def read_labels(visit: Visit, request: Request) -> tuple[Labels, Request]:
    """The end user and the tags, and the request without the end user's name. Raises InvalidRequest."""
    header, options = visit.header("HTTP_X_BRIDGE_TAGS"), request.options
    tags = read_tags(header) if header else ()
    if "user" not in options and "safety_identifier" not in options:
        return (Labels(None, tags) if tags else NO_LABELS), request
    named = _name_fields(request)
    given = {field: read_end_user(options[field], named[field]) for field in FIELDS if field in options}
    assert visit.caller is not None
    hidden = {field: hide_end_user(text, visit.caller.account_id) for field, text in given.items() if text}
    if not hidden:
        return (Labels(None, tags) if tags else NO_LABELS), request
    return Labels(next(text for text in given.values() if text), tags), _hide(request, hidden)


def hide_end_user(end_user: str, account_id: int) -> str:
    """A name that providers may have: the same for the same end user of the same account, for as long as the newest
    master key is the same, and nothing can be learnt from it without that key."""
    return fingerprint("end user", str(account_id), end_user)


def _name_fields(request: Request) -> Mapping[str, str]:
    """What the client calls each field."""
    if request.find_native(MESSAGES) is not None:
        return dict.fromkeys(FIELDS, "metadata.user_id")
    return {field: field for field in FIELDS}


def _hide(request: Request, hidden: Mapping[str, str]) -> Request:
    native = request.native
    return msgspec.structs.replace(
        request,
        options={**request.options, **hidden},
        native=None if native is None else _hide_within(native, hidden),
    )


def _hide_within(native: Native, hidden: Mapping[str, str]) -> Native:
    body = native.body
    changed: dict[str, Json] = {field: text for field, text in hidden.items() if field in body}
    metadata = body.get("metadata")
    if native.dialect == MESSAGES and isinstance(metadata, dict) and "user_id" in metadata:
        changed["metadata"] = {**metadata, "user_id": next(iter(hidden.values()))}
    return msgspec.structs.replace(native, body={**body, **changed})
