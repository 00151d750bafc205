"""The chunks of OpenAI's dialect to a client who speaks it too: their own bytes, with our names in place of theirs."""

import msgspec

from bridge.conversation.answer import Chunks
from bridge.json_types import JsonObject
from bridge.providers.odd_json import mend_texts
from bridge.providers.openai.shapes import SoundChunk, pick_top

Replacements = tuple[tuple[bytes, bytes], ...]


class Passing:
    """What a stream's reader found, as frames."""

    __slots__ = ("_names", "_replacements", "_their_id", "_their_model")

    def __init__(self, names: Chunks):
        self._names = names
        self._their_id: str | None = None
        self._their_model: str | None = None
        self._replacements: Replacements | None = None

    @property
    def created(self) -> int:
        """The time that the chunks have."""
        return self._names.created

    @created.setter
    def created(self, created: int) -> None:
        self._names.created = created

    def sound(self, event: bytes, chunk: SoundChunk) -> bytes:
        """Our id and model name in place of the upstream's. They are the same in every chunk, so the bytes to replace
        are found once; a chunk in which they aren't where they were, or with anything else unusual, is written anew."""
        names = self._names
        if self._replacements is None:
            self._their_id, self._their_model = chunk.id, chunk.model
            ours = (("id", chunk.id, names.answer_id), ("model", chunk.model, names.model))
            self._replacements = find_replacements(event, ours)
        written = None
        if chunk.id == self._their_id and chunk.model == self._their_model and chunk.usage is None:
            written = replace_names(event, self._replacements, names.with_usage)
        if written is None:  # some send the counts beside the last delta
            body = msgspec.json.decode(event)
            return self.mended(body, body["choices"])
        return b"data: " + written + b"\n\n"

    def mended(self, body: JsonObject, choices: list[JsonObject]) -> bytes:
        """A chunk with these choices, and what a client may see of the rest."""
        names, top = self._names, pick_top(body)
        top.pop("created", None)
        chunk: JsonObject = {
            "id": names.answer_id,
            "object": "chat.completion.chunk",
            "created": names.created,
            "model": names.model,
            **top,
            "choices": choices,
        }
        if names.with_usage:
            chunk["usage"] = None
        try:
            return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        except UnicodeError:
            return b"data: " + msgspec.json.encode(mend_texts(chunk)) + b"\n\n"


def find_replacements(event: bytes, ours: tuple[tuple[str, str, str], ...]) -> Replacements:
    """What to replace by what; nothing where the names can't be told from the rest by their bytes. `ours`: for each
    field the upstream's name and ours."""
    found = []
    for field, old, new in ours:
        value = msgspec.json.encode(old)
        for pattern in (f'"{field}":', f'"{field}": '):
            if old and event.count(pattern.encode() + value) == 1:
                found.append((pattern.encode() + value, pattern.encode() + msgspec.json.encode(new)))
                break
        else:
            return ()
    return tuple(found)


def replace_names(event: bytes, replacements: Replacements, include_usage: bool) -> bytes | None:
    """The event's bytes with our names, and with `usage` or without; None where that takes writing it anew."""
    no_usage = b'"usage":null' in event
    # a line break would break the frame
    if not replacements or b"\n" in event or (not no_usage and b'"usage"' in event):
        return None
    for old, new in replacements:
        if old not in event:
            return None
        event = event.replace(old, new, 1)
    if include_usage:
        return event if no_usage else event[:-1] + b',"usage":null}'
    return event.replace(b',"usage":null', b"", 1) if no_usage else event
