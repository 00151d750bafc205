"""The answer of /v1/models."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.v1.schemas.facts import dollars, one_of, text, whole

PerToken = Annotated[str, dollars("Dollars for one token, a plain decimal.", places=15)]
PerPicture = Annotated[str, dollars("Dollars for each picture that is drawn.")]
PerCall = Annotated[str, dollars("Dollars for each call of a provider.")]


class PriceTier(Struct, kw_only=True):
    above_prompt_tokens: Annotated[int, whole()]
    prompt: PerToken
    cached_prompt: PerToken
    cache_write: PerToken
    cache_write_hour: PerToken
    completion: PerToken
    reasoning: PerToken | UnsetType = UNSET
    audio_prompt: PerToken | UnsetType = UNSET
    cached_audio_prompt: PerToken | UnsetType = UNSET
    audio_completion: PerToken | UnsetType = UNSET
    image_prompt: PerToken | UnsetType = UNSET
    image_completion: PerToken | UnsetType = UNSET
    request: PerCall | UnsetType = UNSET
    image: PerPicture | UnsetType = UNSET
    image_low: PerPicture | UnsetType = UNSET
    image_medium: PerPicture | UnsetType = UNSET


class ComingPrice(Struct, kw_only=True):
    """What the same costs from a known moment on, unless the operator changes it until then. A request keeps the price
    at which it was let in."""

    starts_at: Annotated[str, text("ISO 8601, in UTC.", example="2027-01-01T00:00:00Z")]
    prompt: PerToken
    cached_prompt: PerToken
    cache_write: PerToken
    cache_write_hour: PerToken
    completion: PerToken
    reasoning: PerToken | UnsetType = UNSET
    audio_prompt: PerToken | UnsetType = UNSET
    cached_audio_prompt: PerToken | UnsetType = UNSET
    audio_completion: PerToken | UnsetType = UNSET
    image_prompt: PerToken | UnsetType = UNSET
    image_completion: PerToken | UnsetType = UNSET
    request: PerCall | UnsetType = UNSET
    image: PerPicture | UnsetType = UNSET
    image_low: PerPicture | UnsetType = UNSET
    image_medium: PerPicture | UnsetType = UNSET
    tiers: list[PriceTier] | UnsetType = UNSET
    source: Annotated[str, text("Where the operator has it from.")]
    checked_on: Annotated[str, text("The day on which it was read there.", example="2026-11-30")] | UnsetType = UNSET


class Pricing(Struct, kw_only=True):
    """What this key's account pays, markup included. Classes without a price of their own: reasoning,
    audio_completion and image_completion cost what completion does, audio_prompt and image_prompt what prompt does, a
    request nothing. cached_prompt is of prompt tokens that the provider reads from its cache, cache_write of those that
    it writes to one, cache_write_hour of those to be kept for an hour."""

    prompt: PerToken
    cached_prompt: PerToken
    cache_write: PerToken
    cache_write_hour: PerToken
    completion: PerToken
    reasoning: PerToken | UnsetType = UNSET
    audio_prompt: PerToken | UnsetType = UNSET
    cached_audio_prompt: PerToken | UnsetType = UNSET
    audio_completion: PerToken | UnsetType = UNSET
    image_prompt: PerToken | UnsetType = UNSET
    image_completion: PerToken | UnsetType = UNSET
    request: PerCall | UnsetType = UNSET
    image: PerPicture | UnsetType = UNSET
    image_low: PerPicture | UnsetType = UNSET
    image_medium: PerPicture | UnsetType = UNSET
    tiers: Annotated[list[PriceTier], text("What the whole of a request costs whose prompt is longer.")] | UnsetType = (
        UNSET
    )
    source: Annotated[
        str, text("Where the operator has the price from, before markup: a price list, or itself.", example="operator")
    ]
    checked_on: Annotated[str, text("The day on which it was read there.", example="2026-11-30")] | UnsetType = UNSET
    coming: Annotated[list[ComingPrice], text("Prices that are to take effect, the next first.")] | UnsetType = UNSET


class Model(Struct, kw_only=True):
    id: Annotated[str, text("What a request names.", example="gpt-4o")]
    object: Literal["model"]
    created: Annotated[int, whole("Seconds since 1970.")]
    owned_by: Annotated[str, Meta(examples=["openai"])]
    name: Annotated[str, text("For people.", example="GPT-4o")]
    context_length: Annotated[int, whole("Tokens of prompt and answer together.")]
    max_output_tokens: Annotated[
        int, whole("Most tokens of one answer, or of one picture; 0 where it makes embeddings.")
    ]
    pricing: Pricing | None
    aliases: Annotated[Sequence[str], text("Other names for it.")]
    endpoints: Annotated[Sequence[str], text("Where it may be asked.", example="/v1/chat/completions")]
    input_modalities: Annotated[Sequence[str], Meta(examples=[["text", "image"]])]
    supported_parameters: Annotated[Sequence[str], Meta(examples=[["temperature", "tools"]])]
    status: Annotated[str, one_of("live", "degraded", "unavailable", "retired")]
    note: Annotated[str, text("What a buyer should know, such as which model answers in its place.")] | UnsetType = (
        UNSET
    )


class ModelList(Struct, tag_field="object", tag="list"):
    data: list[Model]
