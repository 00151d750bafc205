"""OpenAI's chat completions as answers: what is written of one, whole or streamed, whoever gave it."""

from typing import ClassVar

import msgspec

from bridge.conversation.answer import Choice, Chunks, Completion, TokenCounter
from bridge.conversation.usage import Usage, describe_counts
from bridge.dialects import answer_id
from bridge.dialects.chat.frames import ChatChoice, cut_frames, write_call
from bridge.errors import BridgeError
from bridge.json_types import JsonObject

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.encode


class ChatWriter:
    """See AnswerWriter. `with_usage`: each chunk of the stream has a `usage`, which is null but in the last."""

    __slots__ = ("chunks",)

    def __init__(self, own_id: str, model: str, created: int, with_usage: bool):
        self.chunks = Chunks(own_id, model, created, with_usage)

    def choice(self, index: int) -> ChatChoice:
        """What writes this choice's chunks."""
        before = b"data: " + _encode(self._head("chat.completion.chunk"))[:-1]
        end = b'],"usage":null}\n\n' if self.chunks.with_usage else b"]}\n\n"
        return ChatChoice(before + b',"choices":[{"index":%d,"delta":' % index, end)

    def tail(self, usage: Usage, cost: str) -> bytes:
        """The usage, if it was asked for, and the end mark."""
        if not self.chunks.with_usage:
            return DONE
        chunk = {**self._head("chat.completion.chunk"), "choices": [], "usage": write_usage(usage, cost)}
        return b"data: " + _encode(chunk) + b"\n\n" + DONE

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """The chunks of which all is within so many tokens, and what of the next one is."""
        return cut_frames(frames, most_tokens, counter)

    def list_unwritten(self) -> tuple[str, ...]:
        """Nothing: all is written as it is told."""
        return ()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The error as the stream's last frame: no end mark follows."""
        return b"data: " + error.body() + b"\n\n"

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body. Of an answer that came in this dialect it has the time too."""
        head, choices = self._head("chat.completion"), [write_choice(choice) for choice in completion.choices]
        created = completion.top.get("created", self.chunks.created)
        ours = {**head, "created": created}
        return _encode({**ours, **completion.top, "choices": choices, "usage": write_usage(usage, cost)})

    def _head(self, kind: str) -> JsonObject:
        names = self.chunks
        return {"id": names.answer_id, "object": kind, "created": names.created, "model": names.model}


def write_chat_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter."""
    return error.status, error.body()


class Chat(msgspec.Struct, frozen=True):
    """The client of one request speaks chat. `with_usage`: it asked for the counts at a stream's end."""

    keepalive: ClassVar[bytes] = b": keep-alive\n\n"
    reads_arguments: ClassVar[bool] = False
    with_usage: bool = False

    def open_writer(self, request_id: str, model: str, created: int) -> ChatWriter:
        """See Dialect."""
        return ChatWriter(answer_id("chat", request_id), model, created, self.with_usage)

    def opening(self, request_id: str) -> bytes:
        """See Dialect: a comment tells nothing."""
        return b""


def write_choice(choice: Choice) -> JsonObject:
    """A whole choice: `content` is null beside calls where nothing was said."""
    if choice.chat is not None:
        return choice.chat if choice.chat["index"] == choice.index else {**choice.chat, "index": choice.index}
    message: JsonObject = {
        "role": "assistant",
        "content": choice.text or (None if choice.calls or choice.refusal else ""),
        "refusal": choice.refusal,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    for call in choice.calls:
        if call.id:
            message.setdefault("tool_calls", []).append(write_call(call))
        else:
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
    message.update(choice.extras)
    ending = {"logprobs": choice.logprobs, "finish_reason": choice.finish_reason}
    return {"index": choice.index, "message": message, **ending}


def write_usage(usage: Usage, cost: str) -> JsonObject:
    """Usage as the client reads it, with what was charged in dollars, and what the provider said where it differs."""
    heard = usage.audio_tokens + usage.cached_audio_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            **({"audio_tokens": heard} if heard else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **({"provider_counts": describe_counts(usage.altered.said)} if usage.altered else {}),
        "cost": msgspec.Raw(cost.encode()),  # a number, with its exact digits
    }
