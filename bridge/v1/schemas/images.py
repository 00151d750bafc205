"""The answers of /v1/images."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import text, whole


class Image(Struct, kw_only=True):
    """A picture: its bytes or, of servers that keep it, its address."""

    b64_json: Annotated[str, text("Its bytes, in base64.")] | UnsetType = UNSET
    url: str | UnsetType = UNSET
    revised_prompt: str | UnsetType = UNSET


class ImageInputTokens(Struct):
    text_tokens: Annotated[int, whole()]
    image_tokens: Annotated[int, whole("Of the pictures that were sent.")]


class ImagesUsage(Struct, kw_only=True):
    input_tokens: Annotated[int, whole()]
    input_tokens_details: ImageInputTokens
    output_tokens: Annotated[int, whole("Of what was drawn, and of text around it.")]
    total_tokens: Annotated[int, whole()]
    cost: Annotated[float, Meta(description="What was charged, in dollars, with all its digits.")]
    provider_counts: ProviderCounts | UnsetType = UNSET


class ImageList(Struct, kw_only=True):
    id: Annotated[str, text("With it GET /requests/{id} finds the receipt.", pattern="^img-")]
    created: Annotated[int, whole("Seconds since 1970.")]
    model: str
    data: Sequence[Image]
    background: str | UnsetType = UNSET
    output_format: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    usage: ImagesUsage


class ImageEvent(Struct, kw_only=True):
    """An unfinished picture of a stream or, with its usage, the finished one."""

    type: Annotated[str, text("Whose event it is.", example="image_generation.completed")]
    created_at: Annotated[int, whole("Seconds since 1970.")]
    b64_json: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    revised_prompt: str | UnsetType = UNSET
    partial_image_index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    background: str | UnsetType = UNSET
    output_format: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    usage: ImagesUsage | UnsetType = UNSET
