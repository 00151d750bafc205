"""The worst case of a request, from its bytes: what is held for it, and what the limits count until it is answered."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bridge.catalogue.routing import ServedModel
from bridge.errors import InvalidRequest
from bridge.providers.json_schema import Room, inline_references
from bridge.v1.chat_request import AudioPart, ChatRequest, FilePart, ImagePart, Message, ToolMessage

LEAST_OUTPUT_TOKENS = 256
DEFAULT_RESERVED_TOKENS = 256
# What a provider, or our translation, adds around the conversation: its template (DeepSeek's tells how to think), and
# the instructions that go with tools or with a format of the answer. docs/decisions/token-scales.md has the figures.
TEMPLATE_TOKENS = 64
TOOLS_TOKENS = 1000
FORMAT_TOKENS = 300
BYTES_PER_TOKEN = 3  # deliberately low, so that an estimate counts too much
CACHE_FOR_AN_HOUR = "1h"  # the text without which no body can ask for it
KINDS: dict[Any, str] = {ImagePart: "image", AudioPart: "audio", FilePart: "file"}


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """What a request can cost at the most, in tokens. `cap_tokens` is per choice, within the model's maximum, and None
    where the client gave none. `predicted_tokens` are billed as output beside it: what of a prediction the model
    rejects."""

    prompt_bound_tokens: int
    reserved_tokens: int
    cap_tokens: int | None
    predicted_tokens: int = 0
    most_prompt_tokens: int = 0  # no true count of the prompt is above it, whatever window the catalogue believes in
    hour_writes: bool = True  # the provider can be made to write to its cache for an hour
    sound: bool = True  # the prompt has some, or files that may have
    media_tokens: int = 0  # of the prompt: pictures, sound and files, which no text of it says
    kept_bytes: int = 0  # of the prompt: what we keep of the conversation, and the client didn't send

    @property
    def reach(self) -> dict[str, Any]:
        """Which prices the request can reach, as `PriceVersion.worst_charge` asks it. Nobody may ask for speech."""
        return {"hour_writes": self.hour_writes, "sound": self.sound, "speech": False}

    def with_more(self, more_bytes: int, context_tokens: int) -> "Measure":
        """The same with so many bytes more to read: what we keep of the conversation and the client didn't send."""
        bound = min(self.prompt_bound_tokens + more_bytes, max(context_tokens, self.prompt_bound_tokens))
        most = self.most_prompt_tokens + more_bytes
        kept = self.kept_bytes + more_bytes
        return dataclasses.replace(self, prompt_bound_tokens=bound, most_prompt_tokens=most, kept_bytes=kept)


def measure(
    request: ChatRequest, model: ServedModel, body_bytes: int, calls: int = 1, *, hour_writes: bool = True
) -> Measure:
    """Bounds without counting a token: each token of a text is at least one byte of it, and JSON only adds bytes.

    A cap beyond the model's own is brought down to it. Raises InvalidRequest for content that the model can't take."""
    cap = request.output_cap_tokens
    if cap is not None:
        cap = min(cap, model.max_output_tokens)
    window = model.context_tokens
    added = model.added_tokens  # which are no bytes of the body: the limits count them in full
    bound = body_bytes + TEMPLATE_TOKENS + (TOOLS_TOKENS if _speaks_of_tools(request) else 0)
    bound += _format_bound(request) + _references_bound(request)
    sound, media = False, 0
    for place, part in _media(request.messages):
        tokens, unread_bytes = _media_bound(place, part, model)
        bound += tokens - unread_bytes
        media += tokens
        sound = sound or not isinstance(part, ImagePart)
    reserved = (
        min(bound // BYTES_PER_TOKEN + added, window) * calls + (cap or DEFAULT_RESERVED_TOKENS) * request.choices
    )
    bound += added
    predicted = 0 if request.prediction is None else len(msgspec.json.encode(request.prediction))
    return Measure(min(bound, window), reserved, cap, min(predicted, window), bound, hour_writes, sound, media)


def _speaks_of_tools(request: ChatRequest) -> bool:
    """Calls in the conversation make a provider add what it says about tools, offered or not."""
    return bool(request.tools or request.functions) or any(
        getattr(message, "tool_calls", None) or getattr(message, "function_call", None) for message in request.messages
    )


def count_mentions(messages: Sequence[Message]) -> Counter[str]:
    """How often each call's id stands in the conversation: with calls, or with results if there are more of those."""
    calls: Counter[str] = Counter(
        call.id for message in messages for call in getattr(message, "tool_calls", None) or ()
    )
    results: Counter[str] = Counter(message.tool_call_id for message in messages if isinstance(message, ToolMessage))
    return calls | results


def _format_bound(request: ChatRequest) -> int:
    """What the answer's format adds, beside its bytes: instructions, and its schema once more where those repeat it."""
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return 0
    return FORMAT_TOKENS + (len(msgspec.json.encode(wanted.json_schema)) if wanted.json_schema else 0)


def _references_bound(request: ChatRequest) -> int:
    """What the schemas are longer where a provider gets them without references."""
    functions = [*(tool.function for tool in request.tools or ()), *(request.functions or ())]
    schemas: list[Any] = [function.parameters for function in functions if function]
    if request.response_format and request.response_format.json_schema:
        schemas.append(request.response_format.json_schema.get("schema"))
    added, room = 0, Room()
    for schema in schemas:
        written = msgspec.json.encode(schema)
        if b'"$ref"' in written and isinstance(schema, dict):
            added += max(0, len(msgspec.json.encode(inline_references(schema, room))) - len(written))
    return added


def _media(messages: list[Message]) -> Iterator[tuple[str, Any]]:
    for i, message in enumerate(messages):
        content = message.content
        if isinstance(content, list):
            for j, part in enumerate(content):
                if isinstance(part, ImagePart | AudioPart | FilePart):
                    yield f"messages[{i}].content[{j}]", part


def _media_bound(place: str, part: Any, model: ServedModel) -> tuple[int, int]:
    """The most tokens that a picture, sound or file is, and how many of its bytes are no text: those of a data URL."""
    kind = KINDS[type(part)]
    if kind not in model.input_modalities:
        raise InvalidRequest(f"{model.id} takes no {kind} input.", param=place, code="invalid_value")
    if kind == "file" and "file_id" in part.file:  # it would name one of the operator's own
        message = f"{place}: no files are kept here. Send the file itself, as file_data."
        raise InvalidRequest(message, param=f"{place}.file.file_id", code="invalid_value")
    if kind == "image":
        url = part.image_url.url
        if not url.startswith("data:") and any(route.provider == "gemini" for route in model.routes):
            return model.context_tokens, 0  # it reads whatever is there, as what it is: a book too
        return model.image_tokens or model.context_tokens, len(url) if url.startswith("data:") else 0
    return model.context_tokens, 0
