"""Reasoning as OpenAI wants it back: encrypted items, each before what it led to."""

import re
from collections.abc import Iterable

from bridge.json_types import Json, JsonObject

PROVIDER = "openai"
MOST_ID = 64
_ID = re.compile(r"[a-z]{2,4}_[A-Za-z0-9_-]+")
# What an answer is made of, in order: a reasoning item, a text, a call by its id and its item's.
Spoken = tuple[str, JsonObject | tuple[str, str] | None]
THOUGHT, TEXT, CALL = "thought", "text", "call"


def is_id(value: Json, prefix: str) -> bool:
    """Whether OpenAI takes it as the id of an item of the kind that this prefix names."""
    return isinstance(value, str) and value.startswith(prefix) and len(value) <= MOST_ID and bool(_ID.fullmatch(value))


def pick_thought(item: JsonObject) -> JsonObject | None:
    """A reasoning item with what belongs in a request; None where nothing of it is encrypted."""
    encrypted, item_id = item.get("encrypted_content"), item.get("id")
    if not isinstance(encrypted, str) or not encrypted:
        return None
    summary = item.get("summary")
    picked: JsonObject = {"type": "reasoning", "summary": summary if isinstance(summary, list) else []}
    if is_id(item_id, "rs_"):
        picked["id"] = item_id
    return {**picked, "encrypted_content": encrypted}


def seal_thought(item: JsonObject) -> JsonObject:
    """A picked item as the value that clients carry."""
    return {"provider": PROVIDER, **item}


def keep_thoughts(spoken: Iterable[Spoken]) -> JsonObject:
    """As in Completion: what was thought right before a call (`items`) or before the text in front of it (`lead`), by
    the call's id. With the call's own item id, since OpenAI knows the two as a pair."""
    kept: JsonObject = {}
    lead: list[Json] = []
    near: list[Json] = []
    for kind, value in spoken:
        if kind == THOUGHT:
            near.append(value)
        elif kind == TEXT:
            lead, near = lead + near, []
        elif isinstance(value, tuple):
            call_id, item_id = value
            if lead or near:
                kept[call_id] = {"provider": PROVIDER, "items": near, "lead": lead, "item_id": item_id}
            lead, near = [], []
    return kept


def read_thoughts(value: Json, field: str = "items") -> list[JsonObject]:
    """The items of a kept value, or the one that a sealed value is; none of another provider's."""
    if not isinstance(value, dict) or value.get("provider") != PROVIDER:
        return []
    items = [value] if "encrypted_content" in value and field == "items" else value.get(field)
    picked = [pick_thought(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [item for item in picked if item is not None]


def drop_loose(items: list[JsonObject]) -> list[JsonObject]:
    """The items of one turn without the reasoning that nothing follows: OpenAI refuses it."""
    end = len(items)
    while end and items[end - 1].get("type") == "reasoning":
        end -= 1
    return items[:end]
