"""Measures the worst case of a request from its bytes: what is held for it, and what the limits count until it is
answered."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.catalogue.routing import ServedModel
from bridge.conversation.request import Conversation, Format
from bridge.conversation.turns import Call, Media, Result, Turn
from bridge.errors import InvalidRequest
from bridge.providers import PROVIDERS
from bridge.providers.json_schema import Room, inline_references

LEAST_OUTPUT_TOKENS = 256
DEFAULT_RESERVED_TOKENS = 256
# What a provider, or our translation, adds around the conversation: its template (DeepSeek's tells how to think), and
# the instructions that go with tools or with a format of the answer. docs/decisions/token-scales.md has the figures.
TEMPLATE_TOKENS = 64
TOOLS_TOKENS = 1000
FORMAT_TOKENS = 300
BYTES_PER_TOKEN = 3  # deliberately low, so that an estimate counts too much
CACHE_FOR_AN_HOUR = "1h"  # the text without which no body can ask for it


class Measure(msgspec.Struct, frozen=True, gc=False):
    """What a request can cost at the most, in tokens. `cap_tokens` is per choice, within the model's maximum, None
    where the client gave none, and 0 where nothing is written that is paid for. `predicted_tokens` are billed as output
    beside it: what of a prediction the model rejects."""

    prompt_bound_tokens: int
    reserved_tokens: int
    cap_tokens: int | None
    predicted_tokens: int = 0
    most_prompt_tokens: int = 0  # no true count of the prompt is above it, whatever window the catalogue believes in
    hour_writes: bool = True  # the provider can be made to write to its cache for an hour
    sound: bool = True  # the prompt has some, or files that may have
    media_tokens: int = 0  # of the prompt: pictures, sound and files, which no text of it says
    kept_bytes: int = 0  # of the prompt: what we keep of the conversation, and the client didn't send
    longest_tokens: int = 0  # of several prompts, each with a window of its own: the longest; 0: there is one
    instruction_tokens: int = 0  # of the prompt, at the most: what goes with tools, or with a format of the answer
    pictures: tuple[str, ...] = ()  # the qualities of those that are drawn; "": the client leaves it open
    fixed: bool = False  # no client can lower the cap, nor can an answer be stopped before it

    @property
    def may_be_capped(self) -> bool:
        """Whether the answer is made of tokens that a client may want fewer of."""
        return self.cap_tokens != 0 and not self.fixed

    @property
    def reach(self) -> dict[str, Any]:
        """Which prices the request can reach, as `PriceVersion.worst_charge` asks it. Nobody may ask for speech."""
        return {
            "hour_writes": self.hour_writes,
            "sound": self.sound,
            "speech": False,
            "pictures": self.pictures,
        }

    def with_more(self, more_bytes: int, context_tokens: int) -> "Measure":
        """The same with so many bytes more to read: what we keep of the conversation and the client didn't send."""
        bound = min(self.prompt_bound_tokens + more_bytes, max(context_tokens, self.prompt_bound_tokens))
        most = self.most_prompt_tokens + more_bytes
        kept = self.kept_bytes + more_bytes
        return msgspec.structs.replace(self, prompt_bound_tokens=bound, most_prompt_tokens=most, kept_bytes=kept)


def measure(
    request: Conversation, model: ServedModel, body_bytes: int, calls: int = 1, *, hour_writes: bool = True
) -> Measure:
    """Bounds without counting a token: each token of a text is at least one byte of it, and JSON only adds bytes.

    A cap beyond the model's own is brought down to it. Raises InvalidRequest for content that the model can't take."""
    cap = request.output_cap_tokens
    if cap is not None:
        cap = min(cap, model.max_output_tokens)
    window = model.context_tokens
    added = model.added_tokens  # which are no bytes of the body: the limits count them in full
    # calls in the conversation make a provider add what it says about tools, offered or not
    instructions = TOOLS_TOKENS if request.tools or request.has_calls else 0
    bound = body_bytes + TEMPLATE_TOKENS
    if request.tools or request.format is not None:
        instructions += _format_bound(request.format)
        bound += _references_bound(request)
    bound += instructions
    sound, media = False, 0
    for part in request.media:
        tokens, unread_bytes = _media_bound(part, model)
        bound += tokens - unread_bytes
        media += tokens
        sound = sound or part.kind != "image"
    reserved = (
        min(bound // BYTES_PER_TOKEN + added, window) * calls + (cap or DEFAULT_RESERVED_TOKENS) * request.choices
    )
    bound += added
    prediction = request.options.get("prediction")
    predicted = 0 if prediction is None else len(msgspec.json.encode(prediction))
    return Measure(
        min(bound, window),
        reserved,
        cap,
        min(predicted, window),
        bound,
        hour_writes,
        sound,
        media,
        instruction_tokens=instructions,
    )


def count_mentions(turns: Iterable[Turn]) -> Counter[str]:
    """How often each call's id stands in the conversation: with calls, or with results if there are more of those."""
    calls, results = Counter[str](), Counter[str]()
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, Call) and not part.legacy:
                calls[part.id] += 1
            elif isinstance(part, Result) and not part.legacy:
                results[part.call_id] += 1
    return calls | results


def _format_bound(wanted: Format | None) -> int:
    """The tokens that the answer's format adds beside its bytes: instructions, and its schema once more where those
    repeat it."""
    if wanted is None or wanted.kind == "text":
        return 0
    return FORMAT_TOKENS + (len(msgspec.json.encode(wanted.definition)) if wanted.definition else 0)


def _references_bound(request: Conversation) -> int:
    """How much longer the schemas get where a provider is given them without references."""
    schemas: list[Any] = [tool.parameters for tool in request.tools if tool.custom is None]
    if request.format and request.format.definition:
        schemas.append(request.format.definition.get("schema"))
    if not schemas or b'"$ref"' not in msgspec.json.encode(schemas):
        return 0
    added, room = 0, Room()
    for schema in schemas:
        written = msgspec.json.encode(schema)
        if b'"$ref"' in written and isinstance(schema, dict):
            added += max(0, len(msgspec.json.encode(inline_references(schema, room))) - len(written))
    return added


def _media_bound(media: Media, model: ServedModel) -> tuple[int, int]:
    """The most tokens that a picture, sound or file is, and how many of its bytes are no text: those of base64."""
    if media.kind not in model.input_modalities:
        raise InvalidRequest(f"{model.id} takes no {media.kind} input.", param=media.place, code="invalid_value")
    if media.stored:  # it would name one of the operator's own
        message = f"{media.place}: no files are kept here. Send the file itself, as file_data."
        raise InvalidRequest(message, param=media.source_place, code="invalid_value")
    if media.kind == "image":
        source = media.source
        inside = bool(media.media_type) or source.startswith("data:")
        if not inside and any(PROVIDERS[route.provider].fetches_any_link for route in model.routes):
            return model.context_tokens, 0
        return model.image_tokens or model.context_tokens, len(source) if inside else 0
    return model.context_tokens, 0
