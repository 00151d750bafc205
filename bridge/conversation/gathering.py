"""A listener that writes nothing: it gathers what is said, piece by piece, as the choices of a whole answer."""

from collections.abc import Mapping

from bridge.conversation.answer import REASONING, REFUSAL, TEXT, Call, Channel, Choice, Chunks, Sealed
from bridge.json_types import Json, JsonObject


class _Call:
    """A call, as far as it was said."""

    def __init__(self, call: Call):
        self.begun = call
        self.pieces = [call.arguments]
        self.extras = [call.extra]

    def end(self) -> Call:
        begun = self.begun
        return Call(begun.id, begun.name, "".join(self.pieces), begun.kind, _join(self.extras))


class GatheredChoice:
    """A ChoiceWriter without a word of its own."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {TEXT: [], REASONING: [], REFUSAL: []}
        self._calls: list[_Call] = []
        self._logprobs: list[Json] = []
        self._extras: dict[str, list[Json]] = {}
        self._sealed: list[Sealed] = []
        self._reason = ""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """Nothing; so are all the others."""
        self._texts[TEXT].append(text)
        self._logprobs.append(logprobs)
        return b""

    def reasoning(self, text: str) -> bytes:
        self._texts[REASONING].append(text)
        return b""

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        self._texts[REFUSAL].append(text)
        self._logprobs.append(logprobs)
        return b""

    def call(self, call: Call) -> bytes:
        self._calls.append(_Call(call))
        return b""

    def arguments(self, place: int, text: str) -> bytes:
        self._calls[place].pieces.append(text)
        return b""

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        self._calls[place].extras.append(extra)
        return b""

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        gathered = self._calls[channel].pieces if isinstance(channel, int) else self._texts[channel]
        gathered += said
        return b""

    def extras(self, values: Mapping[str, Json]) -> bytes:
        for name, value in values.items():
            self._extras.setdefault(name, []).append(value)
        return b""

    def seal(self, sealed: Sealed) -> bytes:
        self._sealed.append(sealed)
        return b""

    def finish(self, reason: str) -> bytes:
        self._reason = reason
        return b""

    def end(self, index: int) -> Choice:
        """What was said, in one."""
        text, reasoning, refusal = ("".join(self._texts[channel]) for channel in (TEXT, REASONING, REFUSAL))
        return Choice(
            self._reason,
            text,
            reasoning,
            refusal or None,
            [call.end() for call in self._calls],
            _join([one for one in self._logprobs if one]),
            {name: _join(values) for name, values in self._extras.items()},
            index,
            sealed=self._sealed,
        )


class Gathered:
    """The choices of an answer, gathered. A Listener that has nothing to send."""

    chunks: Chunks | None = None

    def __init__(self) -> None:
        self._choices: dict[int, GatheredChoice] = {}

    def choice(self, index: int) -> GatheredChoice:
        """The listener to one choice."""
        return self._choices.setdefault(index, GatheredChoice())

    def end(self) -> list[Choice]:
        """The choices, in order."""
        return [self._choices[index].end(index) for index in sorted(self._choices)]


def _join(pieces: list[Json]) -> Json:
    """The pieces of one value: texts grow, lists too, and what is said once stays. Joined once: a text that grows piece
    by piece is copied with each."""
    pieces = [piece for piece in pieces if piece is not None]
    if not pieces:
        return None
    if all(isinstance(piece, dict) for piece in pieces):
        grouped: dict[str, list[Json]] = {}
        for piece in pieces:
            for name, value in piece.items():
                grouped.setdefault(name, []).append(value)
        return {name: values[-1] if name == "type" else _join(values) for name, values in grouped.items()}
    if all(isinstance(piece, list) for piece in pieces):
        return [value for piece in pieces for value in piece]
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return pieces[-1]
