"""Which of several equal channels a conversation goes to: always the same, so that its provider's prompt cache knows
it. By rendezvous hashing: each channel gets a number for the conversation, so when one is out only its conversations
move."""

from hashlib import blake2b
from typing import Any

from bridge.catalogue.routing import Route
from bridge.v1.chat_request import ChatRequest, UserMessage

OPENING_CHARACTERS = 2048  # of each message: beyond them conversations hardly ever differ for the first time
OPENING_MESSAGES = 4  # with the first that a user wrote, or without
_MASK = 2**64 - 1


class Affinity:
    """What `order_routes` draws with. Nothing is hashed before the first draw: one channel alone needs none."""

    __slots__ = ("_request", "_account_id", "_digest")

    def __init__(self, request: ChatRequest, account_id: int):
        self._request = request
        self._account_id = account_id
        self._digest: int | None = None

    def __call__(self, route: Route) -> float:
        """A number of (0, 1], even over conversations, always the same for this one and this channel."""
        if self._digest is None:
            self._digest = digest_conversation(self._request, self._account_id)
        # the finish of splitmix64: a bit that differs in either changes half of all bits
        mixed = (self._digest + route.channel_id * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ mixed >> 31) + 1) / 2**64


def digest_conversation(request: ChatRequest, account_id: int) -> int:
    """64 bits that stay the same as a conversation grows: of its account and `prompt_cache_key`, or without one of what
    it begins with, up to the first thing that its user said."""
    if request.prompt_cache_key:
        opening = "key", request.prompt_cache_key[:OPENING_CHARACTERS]
    else:
        opening = "messages", _read_opening(request)
    data = f"{account_id}\0{opening[0]}\0{opening[1]}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _read_opening(request: ChatRequest) -> str:
    found = []
    for message in request.messages:
        content: Any = message.content
        if isinstance(content, list):
            content = next((said for part in content if (said := _read_part(part))), "")
        found.append((content or "")[:OPENING_CHARACTERS])
        if isinstance(message, UserMessage) or len(found) == OPENING_MESSAGES:
            break
    return "\0".join(found)


def _read_part(part: Any) -> str:
    image = getattr(part, "image_url", None)
    said: str = image.url if image is not None else getattr(part, "text", "")
    return said
