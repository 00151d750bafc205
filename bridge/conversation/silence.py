"""Says nothing: the ChoiceWriter of an answer whose own events go on to the client."""

from collections.abc import Mapping

from bridge.conversation.answer import Call, Channel, Sealed
from bridge.json_types import Json, JsonObject


class Silence:
    """See ChoiceWriter."""

    def begin(self) -> bytes:
        """Nothing; so do all the others."""
        return b""

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        return b""

    def reasoning(self, text: str) -> bytes:
        return b""

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        return b""

    def call(self, call: Call) -> bytes:
        return b""

    def arguments(self, place: int, text: str) -> bytes:
        return b""

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        return b""

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        return b""

    def extras(self, values: Mapping[str, Json]) -> bytes:
        return b""

    def seal(self, sealed: Sealed) -> bytes:
        return b""

    def finish(self, reason: str) -> bytes:
        return b""
