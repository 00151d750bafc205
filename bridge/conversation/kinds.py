"""The kinds of requests, each with the endpoints that it comes by. A model takes one kind or several."""

from collections.abc import Collection, Iterable

CHAT = "chat"  # whatever dialect the conversation comes in
EMBEDDINGS = "embeddings"
COMPLETIONS = "completions"  # of a text, as before there were conversations
IMAGES = "images"  # drawn anew, or made of others
ENDPOINTS: dict[str, tuple[str, ...]] = {
    CHAT: ("/v1/chat/completions", "/v1/messages", "/v1/responses"),
    EMBEDDINGS: ("/v1/embeddings",),
    COMPLETIONS: ("/v1/completions",),
    IMAGES: ("/v1/images/generations", "/v1/images/edits"),
}
WITHOUT_OUTPUT = frozenset({EMBEDDINGS})  # whose answers are no tokens, and are not charged as such


def writes_tokens(kinds: Collection[str]) -> bool:
    """Whether a model that takes these kinds writes anything that output is charged for."""
    return not WITHOUT_OUTPUT.issuperset(kinds)


def list_endpoints(kinds: Iterable[str]) -> list[str]:
    """The paths by which these kinds of requests come."""
    return [path for kind in kinds for path in ENDPOINTS[kind]]
