"""The body of a request for pictures: what is checked before it goes anywhere."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from bridge.conversation.images import ImageRequest, Picture
from bridge.conversation.kinds import IMAGES
from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

MOST_PICTURES, MOST_CHARACTERS, MOST_PARTIAL, MOST_SENT = 10, 32_000, 3, 16
_OUTSIDE = frozenset({"model", "prompt", "n", "stream", "user", "safety_identifier"})  # of `fields`
_UNPRICED = ("svg", "frame_count", "frame_duration_ms")


class ImagesRequest(Struct):
    """What generations and edits have in common."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
    n: Annotated[int, Meta(ge=1, le=MOST_PICTURES)] | None = None
    size: Annotated[str, Meta(pattern=r"^(auto|[1-9]\d{1,4}x[1-9]\d{1,4})$")] | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    moderation: Literal["auto", "low"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    style: Literal["vivid", "natural"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Meta(ge=0, le=MOST_PARTIAL)] | None = None
    user: str | None = None
    safety_identifier: str | None = None


class ImageEditsRequest(ImagesRequest):
    """An edit, beside its pictures."""

    input_fidelity: Literal["high", "low"] | None = None


def read_images(
    body: JsonObject, request: ImagesRequest, pictures: Sequence[Picture] = (), mask: Picture | None = None
) -> ImageRequest:
    """The request in this body, which has these pictures. Raises InvalidRequest."""
    if body.get("models") is not None:
        message = "models: a request for pictures goes to the one model that it names. Leave it out."
        raise InvalidRequest(message, param="models", code="unsupported_parameter")
    for field in _UNPRICED:
        if body.get(field) is not None:
            message = f"{field}: drawings and moving pictures are billed apart, and not offered. Leave it out."
            raise InvalidRequest(message, param=field, code="unsupported_parameter")
    if request.stream and (request.n or 1) > 1:
        message = "n: a stream draws one picture. Ask several times, or without stream."
        raise InvalidRequest(message, param="n", code="unsupported_parameter")
    known = ImageEditsRequest if isinstance(request, ImageEditsRequest) else ImagesRequest
    fields: dict[str, Json] = {}
    for field in known.__struct_fields__:
        if field not in _OUTSIDE and (value := getattr(request, field)) is not None:
            fields[field] = value
    taken = {*known.__struct_fields__, "models"} - {"user", "safety_identifier"}
    return ImageRequest(
        endpoint=IMAGES,
        model=request.model,
        prompt=request.prompt,
        choices=request.n or 1,
        stream=bool(request.stream),
        fields=fields,
        pictures=pictures,
        mask=mask,
        options={field: value for field, value in body.items() if field not in taken},
    )
