"""Anthropic's messages as answers: what is written of one, whole or streamed, whoever gave it."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from bridge.conversation.answer import Choice, Chunks, Completion, Sealed, TokenCounter, parse_arguments
from bridge.conversation.request import MESSAGES
from bridge.conversation.usage import Usage, describe_counts
from bridge.dialects import answer_id
from bridge.dialects.envelope import seal_value
from bridge.dialects.messages.errors import describe_error
from bridge.dialects.messages.frames import (
    STOP_REASONS,
    MessageChoice,
    cut_frames,
    list_own_blocks,
    seal_thoughts,
    write_event,
)
from bridge.errors import BridgeError
from bridge.json_types import Json, JsonObject

_encode = msgspec.json.encode


class MessagesWriter:
    """See AnswerWriter. `prompt_tokens` is our estimate, which a stream begins with."""

    __slots__ = ("_account_id", "_choice", "_prompt_tokens", "chunks")

    def __init__(self, own_id: str, model: str, created: int, account_id: int, prompt_tokens: int):
        self.chunks = Chunks(own_id, model, created, with_usage=True, dialect=MESSAGES)
        self._account_id = account_id
        self._prompt_tokens = prompt_tokens
        self._choice: MessageChoice | None = None

    def choice(self, index: int) -> MessageChoice:
        """What writes the message: there is one."""
        usage = write_usage(Usage(self._prompt_tokens, 0))
        message = {**self._head(), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        start: JsonObject = {"type": "message_start", "message": message}
        self._choice = MessageChoice(start, self.chunks, self._account_id)
        return self._choice

    def tail(self, usage: Usage, cost: str) -> bytes:
        """Why it ended, what it took, and the end. Anthropic's own last event has more to say than ours."""
        ending = self.chunks.ending
        if ending is None:
            reason = self._choice.stop_reason if self._choice is not None else None
            ending = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}}
        last = {**ending, "usage": write_usage(usage, cost, ending.get("usage"))}
        return write_event(last) + write_event({"type": "message_stop"})

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """The events of which all is within so many tokens, and what of the next one is."""
        return cut_frames(frames, most_tokens, counter, self.chunks)

    def list_unwritten(self) -> Iterable[str]:
        """What waits for a call's end."""
        return () if self._choice is None else self._choice.list_unwritten()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The open block ends, then the error is the stream's last event. A call does not end: some clients take
        what came of it for the whole call as soon as it does, and go on with that."""
        place, self.chunks.open_block = self.chunks.open_block, None
        ends = place is not None and place not in self.chunks.call_blocks
        closed = write_event({"type": "content_block_stop", "index": place}) if ends else b""
        return closed + write_event(describe_error(error))

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body. One of Anthropic's own is as it came, but for our names and what was charged."""
        native = completion.native
        if native is not None and native.dialect == MESSAGES:
            counted = write_usage(usage, cost, native.body.get("usage"))
            return _encode({**native.body, **self._head(), "usage": counted})
        choice = completion.choices[0]
        content = _list_blocks(choice, self._account_id)
        reason = "refusal" if choice.refusal else STOP_REASONS.get(choice.finish_reason, "end_turn")
        ending = {"stop_reason": reason, "stop_sequence": None}
        return _encode({**self._head(), "content": content, **ending, "usage": write_usage(usage, cost)})

    def _head(self) -> JsonObject:
        names = self.chunks
        return {"id": names.answer_id, "type": "message", "role": "assistant", "model": names.model}


class Messages(msgspec.Struct, frozen=True):
    """The client of one request speaks Messages. `account_id` is whose envelopes it carries, `prompt_tokens` our
    estimate of its prompt."""

    keepalive: ClassVar[bytes] = write_event({"type": "ping"})
    reads_arguments: ClassVar[bool] = True
    account_id: int
    prompt_tokens: int = 0

    def open_writer(self, request_id: str, model: str, created: int) -> MessagesWriter:
        """See Dialect."""
        own_id = answer_id(MESSAGES, request_id)
        return MessagesWriter(own_id, model, created, self.account_id, self.prompt_tokens)

    def opening(self, request_id: str) -> bytes:
        """See Dialect: a ping tells nothing."""
        return b""


def _list_blocks(choice: Choice, account_id: int) -> list[JsonObject]:
    """The content: thoughts, what was said, and the calls, each behind what its provider wants back with it."""
    blocks = _list_thoughts(choice, account_id)
    blocks += [{"type": "text", "text": text} for text in (choice.text, choice.refusal) if text]
    for call in choice.calls:
        if (given := parse_arguments(call.arguments)) is None:
            continue  # a cap has cut it in two, as the stop reason says: nobody could carry it out
        blocks += [_write_sealed(one, account_id) for one in choice.sealed if one.call_id and one.call_id == call.id]
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def _list_thoughts(choice: Choice, account_id: int) -> list[JsonObject]:
    sealed = [one for one in choice.sealed if not one.call_id]
    own = [block for one in sealed for block in list_own_blocks(one)]
    if own:
        return own
    if not sealed:
        sign = seal_value({}, account_id)
        return [{"type": "thinking", "thinking": choice.reasoning, "signature": sign}] if choice.reasoning else []
    first, *others = sealed
    before = {**_write_sealed(first, account_id), "thinking": choice.reasoning}
    return [before, *(_write_sealed(one, account_id) for one in others)]


def _write_sealed(sealed: Sealed, account_id: int) -> JsonObject:
    return {"type": "thinking", "thinking": "", "signature": seal_thoughts(sealed, account_id)}


def write_usage(usage: Usage, cost: str = "", theirs: Json = None) -> JsonObject:
    """Usage as charged, every class of it, beneath it what else the provider said, and what it cost in dollars."""
    written, hour = usage.cache_write_tokens, usage.cache_write_hour_tokens
    found = dict(theirs) if isinstance(theirs, dict) else {}
    found |= {
        "input_tokens": max(0, usage.prompt_tokens - usage.cached_tokens - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": max(0, written - hour), "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
    if usage.altered is not None:
        found["provider_counts"] = describe_counts(usage.altered.said)
    return {**found, "cost": msgspec.Raw(cost.encode())} if cost else found
