"""OpenAI's Responses as answers: what is written of one, whole or streamed, whoever gave it."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

from bridge.conversation.answer import Chunks, Completion, Numbers, Sealed, TokenCounter
from bridge.conversation.request import RESPONSES
from bridge.conversation.usage import Usage, describe_counts
from bridge.dialects import answer_id
from bridge.dialects.envelope import seal_value
from bridge.dialects.responses.frames import REASONS, ResponseChoice, cut_events
from bridge.dialects.responses.items import COMPLETED, INCOMPLETE, Seal, write_event
from bridge.dialects.responses.read import Asked
from bridge.errors import BridgeError
from bridge.json_types import Json, JsonObject
from bridge.telemetry import created_at_of

FAILED, IN_PROGRESS = "failed", "in_progress"
# Codes of a failed answer that clients know. What is wrong with a request stays wrong: they ask no second time.
_CODES = {"context_length_exceeded": "context_length_exceeded", "rate_limit_exceeded": "rate_limit_exceeded"}
_FIRST_SERVER_STATUS = 500
ASK_NO_MORE = "invalid_prompt"
_encode = msgspec.json.encode


class Head(Struct, frozen=True):
    """What all of an answer's own events say of it, and where their numbers stand."""

    answer_id: str
    model: str
    created: int
    fields: JsonObject
    numbers: Numbers

    def describe(self, status: str, output: list[JsonObject], usage: JsonObject | None, **more: Json) -> JsonObject:
        """The answer as a whole, as far as it goes."""
        return {
            "id": self.answer_id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "max_tool_calls": None,
            "model": self.model,
            "output": output,
            "previous_response_id": None,
            "service_tier": "default",
            "store": False,
            "truncation": "disabled",
            "usage": usage,
            **self.fields,
            **more,
        }

    def open(self) -> bytes:
        """The stream's first events."""
        response = self.describe(IN_PROGRESS, [], None)
        return write_event("response.created", response=response) + self.go_on()

    def go_on(self) -> bytes:
        """Nothing new: a client that waits counts the time since the last event, and comments are none."""
        return write_event("response.in_progress", response=self.describe(IN_PROGRESS, [], None))

    def fail(self, failure: JsonObject) -> bytes:
        """The last event, with its number, of a stream whose output is not known here."""
        response = self.describe(FAILED, [], None, error=failure)
        return write_event("response.failed", sequence_number=self.numbers.next, response=response)


class Kept(Struct):
    """The output of the answer, once it is complete, for whoever is to keep it."""

    items: list[JsonObject] = []


class ResponsesWriter:
    """See AnswerWriter."""

    def __init__(self, head: Head, asked: Asked, account_id: int, kept: Kept):
        self._head, self._asked, self._account_id, self._kept = head, asked, account_id, kept
        seal = self._seal_one if asked.seals else None
        self.chunks = Chunks(
            head.answer_id, head.model, head.created, True, dialect=RESPONSES, seal=seal, numbers=head.numbers
        )
        self._choice: ResponseChoice | None = None
        self._was_cut = False

    def choice(self, index: int) -> ResponseChoice:
        """What writes the answer's items; what opens the stream comes before them."""
        self._choice = self._open_choice(self._head.open)
        return self._choice

    def tail(self, usage: Usage, cost: str) -> bytes:
        """The last event, with the whole answer."""
        written = write_usage(usage, cost)
        if self.chunks.ending is not None:
            return self._pass_ending(self.chunks.ending, written)
        choice = self._choice or self._open_choice()
        response = self._end(choice, written)
        opened = b"" if choice.items else self._head.open()
        return opened + write_event(f"response.{response['status']}", response=response)

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """The events of which all is within so many tokens, and what of the next one is."""
        self._was_cut = True
        return cut_events(frames, most_tokens, counter, self._choice)

    def list_unwritten(self) -> Iterable[str]:
        """What waits for the end of a custom call."""
        return () if self._choice is None else self._choice.list_unwritten()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The answer as far as it came, failed. Of one that went beyond its cap another would cost as much: clients are
        told in a way that they ask no second time."""
        choice, passed = self._choice or self._open_choice(), self.chunks.items
        opened = b"" if choice.items or passed is not None else self._head.open()
        failure = {"code": find_code(error), "message": error.message}
        if self._was_cut:
            failure = {"code": ASK_NO_MORE, "message": "The answer went beyond its cap of tokens, and was ended there."}
        output = choice.describe() if passed is None else passed
        counted = None if usage is None else write_usage(usage, cost)
        response = self._head.describe(FAILED, output, counted, error=failure)
        return opened + write_event("response.failed", response=response)

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body."""
        native, written = completion.native, write_usage(usage, cost)
        if native is not None and native.dialect == RESPONSES:
            return _encode(self._rename(self._seal_items(native.body, completion.choices[0].sealed), written))
        choice = self._open_choice()
        choice.tell(completion.choices[0])
        return _encode(self._end(choice, written))

    def _open_choice(self, begin: Callable[[], bytes] = bytes) -> ResponseChoice:
        own_id, asked = self._head.answer_id.partition("_")[2], self._asked
        seal = self._seal() if asked.seals else None
        return ResponseChoice(own_id, asked.names, seal, begin, self._head.numbers, logprobs=asked.logprobs)

    def _seal_one(self, sealed: Sealed) -> str:
        """What a provider wants back, as this account's client carries it."""
        return seal_value({"value": sealed.value}, self._account_id)

    def _seal_items(self, body: JsonObject, sealed: Sequence[Sealed]) -> JsonObject:
        """An upstream's own body, whose encrypted reasoning is `sealed`, in order: sealed, or left out."""
        waiting, output = iter(sealed), []
        for item in body.get("output") or ():
            if isinstance(item, dict) and item.get("encrypted_content"):
                found = next(waiting, None)
                item = {field: value for field, value in item.items() if field != "encrypted_content"}
                if found is not None and self._asked.seals:
                    item["encrypted_content"] = self._seal_one(found)
            output.append(item)
        return {**body, "output": output}

    def _seal(self) -> Seal:
        account_id = self._account_id
        return lambda value: seal_value(value, account_id)

    def _end(self, choice: ResponseChoice, usage: JsonObject) -> JsonObject:
        """The answer as it ended."""
        reason = REASONS.get(choice.reason)
        details = {"incomplete_details": {"reason": reason}} if reason else {"completed_at": self._head.created}
        self._kept.items = choice.describe()
        return self._head.describe(INCOMPLETE if reason else COMPLETED, self._kept.items, usage, **details)

    def _pass_ending(self, ending: JsonObject, usage: JsonObject) -> bytes:
        """An upstream's own last event, with our names."""
        kind = ending.get("type") or "response.completed"
        theirs = ending.get("response")
        response = self._rename(theirs if isinstance(theirs, dict) else {}, usage)
        return write_event(kind, response=response)

    def _rename(self, theirs: JsonObject, usage: JsonObject) -> JsonObject:
        head = self._head
        ours = {"id": head.answer_id, "object": "response", "model": head.model, "store": False, "usage": usage}
        output: Json = theirs.get("output")
        self._kept.items = output if isinstance(output, list) else []
        given = {field: value for field, value in head.fields.items() if value is not None}
        blank = head.describe(COMPLETED, [], usage)
        return {**blank, **theirs, **given, "previous_response_id": None, "background": False, **ours}


def find_code(error: BridgeError) -> str:
    """The code of a failed answer, of those that clients know: `server_error` is worth another try."""
    if error.code in _CODES:
        return _CODES[error.code]
    return "server_error" if error.status >= _FIRST_SERVER_STATUS else ASK_NO_MORE


class Responses(Struct, frozen=True):
    """The client of one request speaks Responses. `asked` is what it asked for; `kept` gets the answer's output. What a
    stream says while there is nothing to be said becomes an event as it goes out (`numbers.py`)."""

    keepalive: ClassVar[bytes] = b": keep-alive\n\n"
    reads_arguments: ClassVar[bool] = False
    asked: Asked
    account_id: int
    kept: Kept
    numbers: Numbers = msgspec.field(default_factory=Numbers)

    def open_writer(self, request_id: str, model: str, created: int) -> ResponsesWriter:
        """See Dialect."""
        head = Head(answer_id(RESPONSES, request_id), model, created, self.asked.fields, self.numbers)
        return ResponsesWriter(head, self.asked, self.account_id, self.kept)

    def opening(self, request_id: str) -> bytes:
        """See Dialect: what opens the stream."""
        return self.head(request_id).open()

    def head(self, request_id: str) -> Head:
        """What is said of the answer before anybody gives it."""
        created = int(created_at_of(request_id).timestamp())
        own_id, model = answer_id(RESPONSES, request_id), self.asked.conversation.model
        return Head(own_id, model, created, self.asked.fields, self.numbers)


def write_usage(usage: Usage, cost: str) -> JsonObject:
    """Usage as the client reads it: all counts, always, for some take none that lacks one."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        **({"provider_counts": describe_counts(usage.altered.said)} if usage.altered else {}),
        "cost": msgspec.Raw(cost.encode()),  # a number, with its exact digits
    }
