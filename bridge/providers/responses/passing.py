"""The events of OpenAI's Responses to a client that speaks it too: as they came, with our names in place of theirs."""

import msgspec

from bridge.conversation.answer import Chunks, Sealed
from bridge.json_types import Json, JsonObject
from bridge.providers.responses.template import Template
from bridge.providers.responses.thoughts import pick_thought, seal_thought

# What a response says of itself that its client may read: what it asked for, and how the answer is.
FIELDS = frozenset(
    {"id", "object", "created_at", "completed_at", "status", "error", "incomplete_details", "instructions", "output"}
    | {"max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id", "reasoning"}
    | {"prompt_cache_key", "safety_identifier", "service_tier", "store", "temperature", "text", "tool_choice", "tools"}
    | {"top_logprobs", "top_p", "truncation", "usage", "user", "background", "model"}
)
OPENING = frozenset({"response.created", "response.in_progress", "response.queued"})
DONE = "response.output_item.done"
ITEMS = frozenset({"response.output_item.added", DONE})


class Passing:
    """Writes the events of one stream anew where they have names, and passes the others."""

    def __init__(self, chunks: Chunks):
        self._chunks = chunks

    def frame(self, kind: str, event: bytes) -> bytes:
        """An event that says no name."""
        if self._chunks.items is None:
            self._chunks.items = []
        if b"\n" in event:  # which would break the frame
            event = msgspec.json.encode(msgspec.json.decode(event))
        return b"event: " + kind.encode() + b"\ndata: " + event + b"\n\n"

    def frame_run(self, template: Template, run: bytes, separator: bytes) -> bytes:
        """Events that the template has just read: with our numbers, where theirs are others by now."""
        numbers = self._chunks.numbers
        if numbers is None or template.number is None:
            return run
        if template.number == numbers.next:
            return numbers.note_run(run, len(template.rests))
        return numbers.write_run(template.before, template.first, template.after + separator, template.rests)

    def rewrite(self, kind: str, event: JsonObject) -> bytes:
        """An event with a response in it, or an item."""
        if kind in OPENING:
            event = {**event, "response": self._name(event.get("response"))}
        elif kind in ITEMS:
            event = {**event, "item": self._seal(event.get("item"), kind)}
        frame = self.frame(kind, msgspec.json.encode(event))
        if kind == DONE and self._chunks.items is not None and isinstance(event["item"], dict):
            self._chunks.items.append(event["item"])
        return frame

    def keep_ending(self, event: JsonObject) -> None:
        """The last event, which the client's dialect writes: it has our counts in it."""
        response = event.get("response")
        output = response.get("output") if isinstance(response, dict) else None
        if isinstance(response, dict):
            items = [self._seal(item, DONE) for item in output] if isinstance(output, list) else []
            items = items or [*(self._chunks.items or ())]  # some servers leave out what they have said already
            event = {**event, "response": {**self._name(response), "output": items}}
        self._chunks.ending = event

    def _name(self, response: Json) -> JsonObject:
        """What a client may see of a response, with our id and the name that it asked for."""
        given: JsonObject = response if isinstance(response, dict) else {}
        picked = {field: value for field, value in given.items() if field in FIELDS}
        return {**picked, "id": self._chunks.answer_id, "model": self._chunks.model}

    def _seal(self, item: Json, kind: str) -> Json:
        """An item as clients carry it: encrypted reasoning is sealed for this account, once it is complete."""
        if not isinstance(item, dict) or "encrypted_content" not in item:
            return item
        seal, picked = self._chunks.seal, pick_thought(item)
        plain = {field: value for field, value in item.items() if field != "encrypted_content"}
        if seal is None or picked is None or kind != DONE:
            return plain
        return {**plain, "encrypted_content": seal(Sealed(seal_thought(picked)))}
