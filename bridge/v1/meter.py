"""The worst case before, and the usage (or our own count) after: what is held and what is charged follow from here."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from gevent.threadpool import ThreadPool

from bridge.catalogue.routing import ServedModel
from bridge.errors import InvalidRequest
from bridge.providers.base import Usage
from bridge.v1.chat_request import AudioPart, ChatRequest, FilePart, ImagePart, Message

VOCABULARY = Path(__file__).parent.parent / "data"
LEAST_OUTPUT_TOKENS = 256
DEFAULT_RESERVED_TOKENS = 256
# What a provider adds around the conversation: its template, and the instructions that go with tools.
TEMPLATE_TOKENS = 16
TOOLS_TOKENS = 700
BYTES_PER_TOKEN = 3  # deliberately low, so that an estimate counts too much
TOKENS_PER_MESSAGE = 4
PIECE_CHARACTERS = 20_000  # the tokenizer takes long, or breaks, over very long runs of one character
KINDS: dict[Any, str] = {ImagePart: "image", AudioPart: "audio", FilePart: "file"}


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """What a request can cost at the most, in tokens. `cap_tokens` is per choice; None where the client gave none.
    `predicted_tokens` are billed as output beside it: what of a prediction the model rejects."""

    prompt_bound_tokens: int
    reserved_tokens: int
    cap_tokens: int | None
    predicted_tokens: int = 0
    most_prompt_tokens: int = 0  # no true count of the prompt is above it, whatever window the catalogue believes in
    hour_writes: bool = True  # the provider can be made to write to its cache for an hour


def measure(request: ChatRequest, model: ServedModel, body_bytes: int, *, hour_writes: bool = True) -> Measure:
    """Bounds without counting a token: each token of a text is at least one byte of it, and JSON only adds bytes.

    Raises InvalidRequest for a cap beyond the model's, and for content that the model can't take."""
    cap = request.output_cap_tokens
    if cap is not None and cap > model.max_output_tokens:
        param = "max_completion_tokens" if request.max_completion_tokens == cap else "max_tokens"
        raise InvalidRequest(
            f"{param} is too large: {cap}. {model.id} writes at most {model.max_output_tokens} tokens.",
            param=param,
            code="invalid_value",
        )
    window = model.context_tokens
    bound = body_bytes + TEMPLATE_TOKENS + (TOOLS_TOKENS if request.tools or request.functions else 0)
    for place, part in _media(request.messages):
        bound += _media_bound(place, part, model)
    reserved = min(bound // BYTES_PER_TOKEN, window) + (cap or DEFAULT_RESERVED_TOKENS) * request.choices
    predicted = 0 if request.prediction is None else len(msgspec.json.encode(request.prediction))
    return Measure(min(bound, window), reserved, cap, min(predicted, window), max(bound, window), hour_writes)


def may_write_for_an_hour(data: bytes) -> bool:
    """Whether a body can ask for a cache of an hour: that is spelt "1h", and JSON may write either character as an
    escape."""
    return b'"1h"' in data or b"\\u0031" in data or b"\\u0068" in data


def _media(messages: list[Message]) -> Iterator[tuple[str, Any]]:
    for i, message in enumerate(messages):
        content = message.content
        if isinstance(content, list):
            for j, part in enumerate(content):
                if isinstance(part, ImagePart | AudioPart | FilePart):
                    yield f"messages[{i}].content[{j}]", part


def _media_bound(place: str, part: Any, model: ServedModel) -> int:
    """What a picture, sound or file adds to the bound, beside its bytes: those of a data URL are no text."""
    kind = KINDS[type(part)]
    if kind not in model.input_modalities:
        raise InvalidRequest(f"{model.id} takes no {kind} input.", param=place, code="invalid_value")
    if kind == "image":
        url = part.image_url.url
        return (model.image_tokens or model.context_tokens) - (len(url) if url.startswith("data:") else 0)
    return model.context_tokens


def count_answer(text: list[str], request: ChatRequest, bound: Measure) -> Usage:
    """Our own count, for an answer that came without its provider's: of the prompt and of what was delivered."""
    texts = list(_prompt_texts(request))
    prompt, completion = _counting_pool().apply(_count_both, (texts, "".join(text)))
    prompt += TOKENS_PER_MESSAGE * len(request.messages)
    return Usage(min(prompt, bound.prompt_bound_tokens), completion)


@functools.cache
def _counting_pool() -> ThreadPool:
    """Threads for counting alone: it must not keep a commit of the ledger waiting. Made on first use, in the worker."""
    return ThreadPool(1)


def _prompt_texts(request: ChatRequest) -> Iterator[str]:
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        elif isinstance(message.content, list):
            for part in message.content:
                yield getattr(part, "text", "") or getattr(part, "refusal", "")
        for call in getattr(message, "tool_calls", None) or ():
            if call.function:
                yield call.function.name + call.function.arguments
    for tool in request.tools or ():
        if tool.function:
            yield f"{tool.function.name}{tool.function.description or ''}{tool.function.parameters or ''}"


def _count_both(prompt: list[str], completion: str) -> tuple[int, int]:
    return sum(_count(text) for text in prompt), _count(completion)


def _count(text: str) -> int:
    """Tokens of OpenAI's o200k vocabulary, which ships with us: nothing is fetched. Counted in pieces, of which each
    may add one."""
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(VOCABULARY))
    import tiktoken  # loading it takes a second; most processes never count

    encoding = tiktoken.get_encoding("o200k_base")
    pieces = (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
    return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)
