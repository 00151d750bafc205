"""What a model of OpenAI's dialect thought aloud in a stream, for the providers that want it back."""

from bridge.json_types import JsonObject


class Thoughts:
    """What the model thought aloud before its first tool call, for each choice: its provider wants it back.

    The short way notes nothing here: whatever is said on it is a thought, if the chunk before it was one."""

    def __init__(self) -> None:
        self._said: dict[int, list[str]] = {}
        self._first_calls: dict[int, str] = {}
        self._index = 0
        self._from: int | None = None

    def note(self, index: int, text: str | None, call_id: str | None) -> None:
        if text:
            self._said.setdefault(index, []).append(text)
        if call_id:
            self._first_calls.setdefault(index, call_id)

    def follow(self, index: int, start: int | None) -> None:
        """From this place on, what is said is this choice's thought; None: it isn't."""
        self._index, self._from = index, start

    def catch_up(self, said: list[str]) -> None:
        """Take what the short way has said."""
        if self._from is not None:
            self._said.setdefault(self._index, []).extend(said[self._from :])
            self._from = None

    def kept(self, provider: str) -> JsonObject:
        """As in Completion: under the first call's id."""
        calls = [(call_id, "".join(self._said.get(index, ()))) for index, call_id in self._first_calls.items()]
        return {call_id: {"provider": provider, "reasoning": text} for call_id, text in calls if text}
