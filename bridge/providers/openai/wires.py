"""By which of its two dialects OpenAI is asked for a model: chat completions or Responses."""

import functools

from bridge.conversation.request import Conversation
from bridge.providers.openai.models import find_family

BY_CHAT, BY_RESPONSES, BY_RESPONSES_WITH_TOOLS = "chat", "responses", "responses_with_tools"
WIRES = (BY_CHAT, BY_RESPONSES, BY_RESPONSES_WITH_TOOLS)
ONLY_BY_RESPONSES = ("-pro", "-codex", "codex-", "deep-research", "computer-use")  # in the names of OpenAI's own
REFUSES_THOUGHTFUL_TOOLS = (5, 4)  # from this generation on, chat completions take no tools of a model that thinks


@functools.lru_cache(maxsize=1024)
def find_wire(upstream_id: str) -> str:
    """The wire of a model for which operators chose none."""
    family, name = find_family(upstream_id), upstream_id.removeprefix("ft:")
    if family is None and not name.startswith(("codex-mini", "computer-use")):
        return BY_CHAT
    newer = family is not None and family.generation >= REFUSES_THOUGHTFUL_TOOLS
    return BY_RESPONSES if newer or any(part in name for part in ONLY_BY_RESPONSES) else BY_CHAT


def may_ask_responses(upstream_id: str, wire: str) -> bool:
    """Whether some requests for the model go by Responses. `wire` is "" where nobody has said it."""
    return (wire or find_wire(upstream_id)) != BY_CHAT


def asks_responses(upstream_id: str, wire: str, conversation: Conversation) -> bool:
    """Whether this request goes by Responses."""
    chosen = wire or find_wire(upstream_id)
    return chosen == BY_RESPONSES or (chosen == BY_RESPONSES_WITH_TOOLS and bool(conversation.tools))
