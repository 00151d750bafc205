"""A provider without a network: deterministic answers, labelled as such, for trying things out in development.

It speaks OpenAI's dialect to the relay, as bytes, so that everything but the socket is the real path. Its models
`sandbox-429`, `-402`, `-500`, `-503`, `-slow`, `-cut`, `-stall` and `-malformed` rehearse what can go wrong."""

import re
import time
from collections.abc import Iterator

import gevent
import msgspec

from bridge.errors import InsufficientBalance, RateLimitExceeded, UpstreamError
from bridge.json_types import Json, JsonObject
from bridge.providers import faults as drill
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.made_up_pictures import draw_pieces
from bridge.providers.made_up_vectors import answer_embeddings
from bridge.providers.openai.completions import PATH as COMPLETIONS_PATH
from bridge.providers.openai.embeddings import PATH as EMBEDDINGS_PATH
from bridge.providers.openai.images import EDITS_PATH, read_written
from bridge.providers.openai.images import PATH as IMAGES_PATH
from bridge.providers.openai.provider import OpenAI, OpenAICompatible
from bridge.providers.wire.http import Timeouts

LABEL = "[sandbox]"
CONTINUED = f" {LABEL} These words were made up on this machine; no model went on with the text."
THOUGHT = f"{LABEL} Nobody thinks here; a model would do so before its answer."
MAX_SAMPLE_DEPTH = 8
SLOW_SECONDS = 0.25
_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\S+\s*")


class Sandbox(OpenAICompatible):
    """Answers by itself; says so in the first word."""

    name: str = "sandbox"
    label: str = "Sandbox"
    base_url: str = "http://sandbox.invalid/v1"
    stands_in: bool = True
    translators = OpenAI.translators
    trial_model: str | None = "sandbox-echo"  # the others rehearse what can go wrong

    def open_upstream(self) -> "SandboxUpstream":
        return SandboxUpstream()


class SandboxUpstream:
    """Stands where a pooled connection to a provider would."""

    def send(self, outgoing: Outgoing, *, timeouts: Timeouts) -> "SandboxAnswer | drill.DrillAnswer":
        """The answer to a request of any kind. Raises the error that the client is to see for the error models."""
        body = read_written(outgoing)
        model = body["model"]
        if model.startswith(drill.PREFIX):
            return drill.play(model.removeprefix(drill.PREFIX), outgoing, timeouts)
        if model == "sandbox-429":
            raise RateLimitExceeded("Rate limit exceeded: 10 RPM (rehearsed by the sandbox)", retry_after_seconds=1)
        if model == "sandbox-402":
            raise InsufficientBalance("Your balance is too low (rehearsed by the sandbox).")
        if model == "sandbox-503":
            raise UpstreamError("The service is unavailable (rehearsed by the sandbox).")
        if model == "sandbox-500":
            raise AttemptFailed(Blame.UPSTREAM, "500 (rehearsed by the sandbox)")
        return SandboxAnswer(model, ANSWERS.get(outgoing.path, answer_pieces)(body))

    def close(self) -> None:
        """Nothing to give back."""


class SandboxAnswer:
    """An answer in OpenAI's bytes, piece by piece, as if read from a socket."""

    def __init__(self, model: str, pieces: Iterator[bytes]):
        self.status = 200
        self.headers: dict[str, str] = {}
        self._model = model
        self._pieces = pieces

    def read_some(self, timeout_seconds: float) -> bytes | None:
        if self._model == "sandbox-stall":
            gevent.sleep(timeout_seconds)
            return None
        piece = next(self._pieces, b"")
        if not piece and self._model == "sandbox-cut":
            raise AttemptFailed(Blame.UPSTREAM, "the answer was cut")
        if self._model == "sandbox-slow":
            gevent.sleep(min(SLOW_SECONDS, timeout_seconds))
        return piece

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        data = b""
        while piece := self.read_some(timeout_seconds):
            data += piece
        if self._model == "sandbox-stall":
            raise AttemptFailed(Blame.UPSTREAM, "no answer in time")
        return data

    def close(self) -> None:
        self._pieces = iter(())


def answer_pieces(body: JsonObject) -> Iterator[bytes]:
    """The bytes of the answer to this request, whole or as a stream; the cut model stops halfway."""
    if body["model"] == "sandbox-malformed":
        yield b"data: {this is no chunk\n\n"
        return
    message, finish = _message(body)
    prompt_tokens = sum(_count(_text_of(item.get("content"))) + 3 for item in body["messages"])
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    thought_tokens = _think(body, message, cap)
    if cap and message["content"]:
        message["content"], finish = _cut_to(message["content"], cap - thought_tokens, finish)
    said_tokens = max(1, _count(message["content"] or msgspec.json.encode(message["tool_calls"]).decode()))
    completion_tokens = thought_tokens + said_tokens
    usage: JsonObject = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": thought_tokens},
    }
    head = {"id": "chatcmpl-sandbox", "created": int(time.time()), "model": body["model"]}
    if body.get("stream"):
        yield from _stream(head, message, finish, usage, cut=body["model"] == "sandbox-cut")
        return
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    data = msgspec.json.encode({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    yield data[: len(data) // 2] if body["model"] == "sandbox-cut" else data


def _stream(head: JsonObject, message: JsonObject, finish: str, usage: JsonObject, cut: bool) -> Iterator[bytes]:
    def frame(choices: list[Json], usage: JsonObject | None = None) -> bytes:
        chunk = {**head, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def delta(value: JsonObject, finish_reason: str | None = None) -> bytes:
        return frame([{"index": 0, "delta": value, "finish_reason": finish_reason, "logprobs": None}])

    yield delta({"role": "assistant", "content": ""})
    if "reasoning_content" in message:
        yield delta({"reasoning_content": message["reasoning_content"]})
    pieces = _PIECE.findall(message["content"] or "")
    for piece in pieces[: len(pieces) // 2] if cut else pieces:
        yield delta({"content": piece})
    if cut:
        return
    for index, call in enumerate(message.get("tool_calls") or []):
        yield delta({"tool_calls": [{"index": index, **call}]})
    yield delta({}, finish)
    yield frame([], usage)
    yield b"data: [DONE]\n\n"


def _message(body: JsonObject) -> tuple[JsonObject, str]:
    """What the sandbox says: an echo of the last question, an instance of the schema, or the call that was demanded."""
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    tool = _demanded_tool(body)
    if tool:
        arguments = msgspec.json.encode(sample(tool.get("parameters") or {})).decode()
        function = {"name": tool["name"], "arguments": arguments}
        message["tool_calls"] = [{"id": "call_sandbox0001", "type": "function", "function": function}]
        return message, "tool_calls"
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema") or {}
        message["content"] = msgspec.json.encode(sample(schema)).decode()
    elif response_format.get("type") == "json_object":
        message["content"] = msgspec.json.encode({"sandbox": True}).decode()
    else:
        asked = _text_of(body["messages"][-1].get("content"))[:400]
        message["content"] = (
            f"{LABEL} This answer was made up on this machine; no model was asked. You said: {asked} "
            "Connect a provider to get real answers."
        )
    return message, "stop"


def _think(body: JsonObject, message: JsonObject, cap: int | None) -> int:
    """Think aloud where the request asks for it and its cap leaves room for an answer too. The tokens of it."""
    thinking = body.get("thinking")
    asked = thinking.get("type") not in (None, "disabled") if isinstance(thinking, dict) else False
    if body.get("reasoning_effort", "none") in (None, "none") and not asked:
        return 0
    tokens = _count(THOUGHT)
    if cap and cap <= tokens:
        return 0
    message["reasoning_content"] = THOUGHT
    return tokens


def _demanded_tool(body: JsonObject) -> JsonObject | None:
    functions: list[JsonObject] = [tool["function"] for tool in body.get("tools") or [] if tool.get("function")]
    choice = body.get("tool_choice")
    if choice == "required" and functions:
        return functions[0]
    if isinstance(choice, dict):
        named = choice.get("function")
        name = named.get("name") if isinstance(named, dict) else None
        return next((function for function in functions if function["name"] == name), None)
    return None


def sample(schema: Json, depth: int = 0) -> Json:
    """The plainest value that fits a JSON schema, or nearly: enough to rehearse with. The schema may be anything."""
    if not isinstance(schema, dict) or depth > MAX_SAMPLE_DEPTH:
        return {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return sample(schema[key][0], depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties")
        found = properties.items() if isinstance(properties, dict) else ()
        return {name: sample(inner, depth + 1) for name, inner in found}
    if kind == "array":
        return [sample(schema.get("items") or {}, depth + 1)]
    plain = {"integer": 1, "number": 1.0, "boolean": True, "null": None}
    return plain.get(kind, "sandbox") if isinstance(kind, str) else "sandbox"


def _text_of(content: Json) -> str:
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return content or ""


def _count(text: str) -> int:
    return len(_TOKEN.findall(text))


def _cut_to(text: str, cap: int, finish: str) -> tuple[str, str]:
    tokens = list(_TOKEN.finditer(text))
    return (text[: tokens[cap - 1].end()], "length") if len(tokens) > cap else (text, finish)


def complete_pieces(body: JsonObject) -> Iterator[bytes]:
    """The answer to plain completions, whole or as a stream: each prompt is gone on with in the same words."""
    given = body["prompt"]
    prompts = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    cap, n = body["max_tokens"], body.get("n") or 1
    texts = [(prompt, *_cut_to(CONTINUED, cap, "stop")) for prompt in prompts for _ in range(n)] if cap else []
    texts = texts or [(prompt, "", "length") for prompt in prompts for _ in range(n)]
    read = sum(len(prompt) if isinstance(prompt, list) else _count(prompt) for prompt in prompts)
    said = sum(_count(text) for _, text, _ in texts)
    usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
    head = {"id": "cmpl-sandbox", "object": "text_completion", "created": int(time.time()), "model": body["model"]}
    choices = [
        {"text": _echo(prompt, body) + text, "index": place, "logprobs": None, "finish_reason": finish}
        for place, (prompt, text, finish) in enumerate(texts)
    ]
    if not body.get("stream"):
        yield msgspec.json.encode({**head, "choices": choices, "usage": usage})
        return
    for choice in choices:
        for piece in _PIECE.findall(str(choice["text"])):
            one = {**choice, "text": piece, "finish_reason": None}
            yield b"data: " + msgspec.json.encode({**head, "choices": [one]}) + b"\n\n"
        yield b"data: " + msgspec.json.encode({**head, "choices": [{**choice, "text": ""}]}) + b"\n\n"
    yield b"data: " + msgspec.json.encode({**head, "choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n"


def _echo(prompt: Json, body: JsonObject) -> str:
    return prompt if body.get("echo") and isinstance(prompt, str) else ""


def embed_pieces(body: JsonObject) -> Iterator[bytes]:
    """The answer to embeddings."""
    yield answer_embeddings(body)


# By the path that is asked; any other is for conversations.
ANSWERS = {
    EMBEDDINGS_PATH: embed_pieces,
    COMPLETIONS_PATH: complete_pieces,
    IMAGES_PATH: draw_pieces,
    EDITS_PATH: draw_pieces,
}
