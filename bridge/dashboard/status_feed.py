"""The status as JSON, and its incidents as an Atom feed. Neither names a channel."""

import datetime
from typing import Any
from xml.etree import ElementTree as XML

import msgspec

from bridge.catalogue.incidents import EFFECTS, Told
from bridge.dashboard.status_snapshot import Row, Status
from bridge.ledger.model_days import BAD, OK, TROUBLED

ATOM = "http://www.w3.org/2005/Atom"
DAY_WORDS = {OK: "good", TROUBLED: "troubled", BAD: "bad"}
OVERALL = {"bad": "outage", "warn": "degraded", "": "operational", "off": "unknown"}
BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def write_json(status: Status) -> bytes:
    """Everything that the page tells."""
    return msgspec.json.encode(
        {
            "status": OVERALL[status.kind],
            "description": f"{status.title} {status.text}".strip(),
            "models": [_describe_model(row) for row in status.rows],
            "incidents": [_describe_incident(one) for one in (*status.open, *status.earlier)],
        }
    )


def _describe_model(row: Row) -> dict[str, Any]:
    calls = row.calls
    return {
        "id": row.state.id,
        "provider": row.state.provider,
        "status": row.state.status,
        "state": row.state.code,
        "answered_90d": round(calls.answered / calls.calls, 6) if calls.calls else None,
        "first_token_p50_ms": row.first_p50_ms,
        "first_token_p95_ms": row.first_p95_ms,
        "days": [DAY_WORDS.get(letter) for letter in calls.days],
    }


def _describe_incident(one: Told) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "effect": one.effect,
        "state": one.state,
        "models": one.models,
        "opened_at": one.opened_at,
        "ended_at": one.ended_at,
        "updates": [
            {"at": update.at, "state": update.state, "text": update.text, "corrected_at": update.corrected_at}
            for update in one.updates
        ],
    }


def write_feed(status: Status, site_url: str) -> bytes:
    """An entry for each incident, with its updates, the latest changed first."""
    told = sorted((*status.open, *status.earlier), key=_find_changed, reverse=True)
    feed = XML.Element("feed", xmlns=ATOM)
    _add(feed, "title", "AI Bridge: status")
    _add(feed, "id", f"{site_url}/status")
    XML.SubElement(feed, "link", rel="self", href=f"{site_url}/status.atom")
    XML.SubElement(feed, "link", rel="alternate", href=f"{site_url}/status")
    _add(feed, "updated", (_find_changed(told[0]) if told else BEGINNING).isoformat())
    _add(XML.SubElement(feed, "author"), "name", "AI Bridge")
    for one in told:
        entry = XML.SubElement(feed, "entry")
        address = f"{site_url}/status#incident-{one.id}"
        _add(entry, "title", one.title)
        _add(entry, "id", address)
        XML.SubElement(entry, "link", rel="alternate", href=address)
        _add(entry, "published", one.opened_at.isoformat())
        _add(entry, "updated", _find_changed(one).isoformat())
        lines = [f"{update.at:%Y-%m-%d %H:%M} UTC, {update.word.lower()}: {update.text}" for update in one.updates]
        _add(entry, "content", "\n\n".join([f"Effect: {EFFECTS[one.effect].lower()}.", *lines]))
    written: bytes = XML.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add(parent: XML.Element, tag: str, text: str) -> None:
    XML.SubElement(parent, tag).text = "".join(letter for letter in text if letter >= " " or letter in "\n\t")


def _find_changed(one: Told) -> datetime.datetime:
    """When anything was last said or corrected of it."""
    return max((one.opened_at, *(update.corrected_at or update.at for update in one.updates)))
