"""OpenAI, and the base of every upstream that speaks its dialect: requests and answers pass almost as they are."""

from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame, Completion, Outgoing, Usage
from bridge.providers.errors import read_openai_error
from bridge.providers.sse import EventSplitter

MAX_TOKENS_COUNTED = 2**31
# What would choose a model, a host, a price or stored state at an upstream that knows these fields.
NEVER_FORWARDED = ("models", "provider", "route", "plugins", "transforms", "background")


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _UsageStruct(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _UsageStruct | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class OpenAICompatible:
    """Any upstream of OpenAI's dialect. Subclasses say what is different about them."""

    name: str
    label: str
    base_url: str
    chat_path: str = "/chat/completions"

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def cap_field(self, upstream_id: str) -> str:
        """The name of the output cap for this model, where the client gave none."""
        return "max_tokens"

    def write_chat(self, body: dict[str, Any], upstream_id: str, output_cap: int | None) -> Outgoing:
        """The client's body with the upstream's model name, our cap where it gave none, and usage asked for."""
        out = dict(body)
        dropped = [field for field in NEVER_FORWARDED if out.pop(field, None) is not None]
        if out.get("store"):
            dropped.append("store")
            del out["store"]
            if out.pop("metadata", None) is not None:
                dropped.append("metadata")
        out["model"] = upstream_id
        if output_cap is not None:
            for field in ("max_tokens", "max_completion_tokens"):
                out.pop(field, None)
            out[self.cap_field(upstream_id)] = output_cap
        if out.get("stream"):
            options = out.get("stream_options") or {}
            out["stream_options"] = {**options, "include_usage": True}
        return Outgoing(self.chat_path, msgspec.json.encode(out), dropped=tuple(dropped))

    def read_usage(self, usage: _UsageStruct | None) -> Usage | None:
        """The upstream's counts, or None when a count is missing: zero is a value."""
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        prompt, cached = usage.prompt_tokens_details, 0
        if prompt and prompt.cached_tokens:
            cached = prompt.cached_tokens
        completion, reasoning = usage.completion_tokens_details, 0
        if completion and completion.reasoning_tokens:
            reasoning = completion.reasoning_tokens
        return clamp_usage(usage.prompt_tokens, usage.completion_tokens, cached, reasoning)

    def read_answer(self, data: bytes) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AttemptFailed(Blame.UPSTREAM, "the answer is not JSON") from None
        if isinstance(body, dict) and body.get("error"):
            raise self.read_error(200, {}, data)
        choices = body.get("choices") if isinstance(body, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            raise AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
        text: list[str] = []
        for choice in choices:
            message = choice.setdefault("message", {"role": "assistant", "content": None})
            if not isinstance(message, dict):
                raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice without a message")
            message.setdefault("role", "assistant")
            message.setdefault("content", None)
            message.setdefault("refusal", None)
            choice.setdefault("logprobs", None)
            choice["finish_reason"] = choice.get("finish_reason") or "stop"
            text.extend(_said(message))
        try:
            usage = self.read_usage(msgspec.convert(body.get("usage"), _UsageStruct | None))
        except msgspec.ValidationError:
            usage = None  # counts that are no counts are missing counts
        return Completion(body, usage, str(choices[0]["finish_reason"]), text)

    def open_reader(self, answer_id: str, model: str, include_usage: bool, max_event_bytes: int) -> "OpenAIReader":
        return OpenAIReader(self, answer_id, model, include_usage, max_event_bytes)

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_openai_error(status, headers, data)


def clamp_usage(prompt: int, completion: int, cached: int, reasoning: int) -> Usage:
    """Counts within sane bounds: none negative, none absurd, parts no larger than their whole."""
    prompt = min(max(0, prompt), MAX_TOKENS_COUNTED)
    completion = min(max(0, completion), MAX_TOKENS_COUNTED)
    return Usage(prompt, completion, min(max(0, cached), prompt), min(max(0, reasoning), completion))


def _said(message: dict[str, Any]) -> list[str]:
    """Everything the model wrote in a message, for our own count."""
    said = [message.get("content"), message.get("refusal"), message.get("reasoning_content")]
    calls = [call.get("function") for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    for function in [*calls, message.get("function_call")]:
        if isinstance(function, dict):
            said += [function.get("name"), function.get("arguments")]
    return [text for text in said if isinstance(text, str) and text]


class OpenAIReader:
    """Passes a stream's own bytes on, each event decoded and found sound, with our id and the public model name."""

    __slots__ = (
        "_answer_id",
        "_include_usage",
        "_model",
        "_provider",
        "_replacements",
        "_splitter",
        "finish_reason",
        "finished",
        "started",
        "text",
        "usage",
    )

    def __init__(
        self, provider: OpenAICompatible, answer_id: str, model: str, include_usage: bool, max_event_bytes: int
    ):
        self._provider = provider
        self._answer_id = answer_id
        self._model = model
        self._include_usage = include_usage
        self._splitter = EventSplitter(max_event_bytes)
        self._replacements: tuple[tuple[bytes, bytes], ...] | None = None
        self.started = False
        self.finished = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.text: list[str] = []

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for usage and [DONE]. Raises AttemptFailed (see StreamReader)."""
        frames = []
        for event in self._splitter.feed(data):
            if event == b"[DONE]":
                self.finished = True
                continue
            if self.finished:
                break
            frame = self._read(event)
            if frame:
                frames.append(frame)
        return b"".join(frames)

    def _read(self, event: bytes) -> bytes:
        try:
            chunk = _decode_chunk(event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk") from None
        if chunk.error:
            raise self._provider.read_error(200, {}, event)
        if chunk.usage is not None:
            self.usage = self._provider.read_usage(chunk.usage) or self.usage
        if not chunk.choices:
            return b""  # the usage chunk, which the relay writes itself, or a prologue without choices
        for choice in chunk.choices:
            if choice.delta is not None:
                self._note(choice.delta)
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
        return b"data: " + self._rewrite(event, chunk) + b"\n\n"

    def _note(self, delta: _Delta) -> None:
        said = [delta.content, delta.reasoning_content or delta.reasoning, delta.refusal]
        if delta.tool_calls or delta.function_call:
            calls = [call.function for call in delta.tool_calls or ()]
            for function in (*calls, delta.function_call):
                if function is not None:
                    said += [function.name, function.arguments]
        for text in said:
            if text:
                self.text.append(text)
                self.started = True

    def _rewrite(self, event: bytes, chunk: _Chunk) -> bytes:
        """Our id and model name in place of the upstream's. They are the same in every chunk, so the bytes to replace
        are found once; a chunk in which they aren't where they were is written anew."""
        if self._replacements is None:
            self._replacements = self._find_replacements(event, chunk)
        for old, new in self._replacements:
            if old not in event:
                return self._write_anew(event)
            event = event.replace(old, new, 1)
        if chunk.usage is not None:  # some send the counts beside the last delta
            return self._write_anew(event)
        if self._include_usage:
            if b'"usage":null' not in event:
                event = event[:-1].rstrip() + b',"usage":null}'
        elif b',"usage":null' in event:
            event = event.replace(b',"usage":null', b"", 1)
        return event

    def _find_replacements(self, event: bytes, chunk: _Chunk) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        for field, old, new in (("id", chunk.id, self._answer_id), ("model", chunk.model, self._model)):
            value = msgspec.json.encode(old)
            for pattern in (f'"{field}":', f'"{field}": '):
                if old is not None and event.count(pattern.encode() + value) == 1:
                    found.append((pattern.encode() + value, pattern.encode() + msgspec.json.encode(new)))
                    break
            else:
                return ((b"\x00", b""),)  # never in an event: each one is written anew
        return tuple(found)

    def _write_anew(self, event: bytes) -> bytes:
        body = msgspec.json.decode(event)
        body["id"], body["model"] = self._answer_id, self._model
        body.setdefault("object", "chat.completion.chunk")
        body.pop("usage", None)
        if self._include_usage:
            body["usage"] = None
        return msgspec.json.encode(body)


class OpenAI(OpenAICompatible):
    """OpenAI itself, and whatever an operator reaches by its dialect: Ollama, llama.cpp, vLLM, OpenRouter."""

    name = "openai"
    label = "OpenAI"
    base_url = "https://api.openai.com/v1"

    def cap_field(self, upstream_id: str) -> str:
        """The thinking models refuse `max_tokens`; servers of the same dialect may know no other name."""
        return "max_completion_tokens" if upstream_id.startswith(("o1", "o3", "o4", "gpt-5")) else "max_tokens"
