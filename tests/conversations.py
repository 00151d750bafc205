"""Chat bodies as the plain values that the engine and the providers take."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Turn
from bridge.dialects.chat.read import read_conversation
from bridge.providers.base import NOTHING_KEPT, Order

NOTHING_PASSES: frozenset[str] = frozenset()


def converse(body: Mapping[str, Any]) -> Conversation:
    """The body's Conversation, with what no test has to say left out of it."""
    return read_conversation({"model": "m", "messages": [], **body})


def list_turns(messages: list[dict[str, Any]]) -> list[Turn]:
    return list(converse({"messages": messages}).turns)


def make_order(
    body: dict[str, Any],
    upstream_id: str,
    output_cap: int | None = None,
    encoded_messages: msgspec.Raw | None = None,
    kept: Mapping[str, Any] = NOTHING_KEPT,
    passes: frozenset[str] = NOTHING_PASSES,
    wire: str = "chat",
) -> Order:
    """What a provider is given for this body."""
    return Order(read_conversation(body, encoded_messages), upstream_id, output_cap, kept, passes, wire=wire)
