"""What a provider's answer becomes for a client of OpenAI's dialect, without the engine in between."""

from typing import Any

from bridge.conversation.answer import Completion
from bridge.dialects.chat.writer import ChatWriter, write_choice
from bridge.providers.base import StreamOrder


def chat_order(
    own_id: str, model: str, created: int, include_usage: bool, max_event_bytes: int, index: int = 0, **more: Any
) -> StreamOrder:
    """A stream that is written with these names."""
    return StreamOrder(ChatWriter(own_id, model, created, include_usage), max_event_bytes, index, **more)


def body_of(completion: Completion) -> dict[str, Any]:
    """The body of a whole answer, but for its names and its usage."""
    return {**completion.top, "choices": [write_choice(choice) for choice in completion.choices]}
