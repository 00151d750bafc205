"""Chooses which of several equal channels serves a conversation: always the same one, so that its provider's prompt
cache knows it.

This is rendezvous hashing: each channel gets a number for the conversation. When a channel is out, only its own
conversations move."""

import struct
from hashlib import blake2b

from bridge.catalogue.routing import Route
from bridge.conversation.request import Request

OPENING_CHARACTERS = 2048  # of each message: beyond them conversations hardly ever differ for the first time
NUMBERS_OF_A_HASH = 8
_unpack_numbers = struct.Struct("<8Q").unpack


class Affinity:
    """Gives `order_routes` the numbers to order channels by. It hashes nothing before the first one is asked for: a
    channel that is alone needs none."""

    __slots__ = ("_request", "_account_id", "_digest", "_numbers")

    def __init__(self, request: Request, account_id: int):
        self._request = request
        self._account_id = account_id
        self._digest = b""
        self._numbers: dict[int, tuple[int, ...]] = {}

    def __call__(self, route: Route) -> float:
        """A number of (0, 1], even over conversations, always the same for this one and this channel."""
        block, place = divmod(route.channel_id, NUMBERS_OF_A_HASH)
        numbers = self._numbers.get(block) or self._hash(block)
        return (numbers[place] + 1) / 2**64

    def _hash(self, block: int) -> tuple[int, ...]:
        """The numbers of several channels in a row, from one hash: there may be dozens to choose from."""
        if not self._digest:
            self._digest = digest_conversation(self._request, self._account_id)
        data = self._digest + block.to_bytes(8, "little")
        self._numbers[block] = numbers = _unpack_numbers(blake2b(data).digest())
        return numbers


def digest_conversation(request: Request, account_id: int) -> bytes:
    """64 bits that stay the same as a conversation grows: of its account and `prompt_cache_key`, or of its session, or
    without one of what it begins with, up to the first thing that its user said."""
    cache_key = request.options.get("prompt_cache_key")
    if cache_key and isinstance(cache_key, str):  # only a chat's body says that it is
        opening = "key", cache_key[:OPENING_CHARACTERS]
    elif request.session:
        opening = "session", request.session[:OPENING_CHARACTERS]
    else:
        opening = "messages", request.read_opening(OPENING_CHARACTERS)
    data = f"{account_id}\0{opening[0]}\0{opening[1]}".encode(errors="surrogatepass")
    return blake2b(data, digest_size=8).digest()
