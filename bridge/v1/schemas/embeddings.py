"""The answer of /v1/embeddings."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import text, whole


class Embedding(Struct):
    object: Literal["embedding"]
    index: Annotated[int, whole("Of its input.")]
    embedding: list[float] | Annotated[str, text("With base64: little-endian float32.")]


class EmbeddingsUsage(Struct, kw_only=True):
    prompt_tokens: Annotated[int, whole("Of all inputs.")]
    total_tokens: Annotated[int, whole()]
    cost: Annotated[float, Meta(description="What was charged, in dollars, with all its digits.")]
    provider_counts: ProviderCounts | UnsetType = UNSET


class EmbeddingList(Struct, tag_field="object", tag="list"):
    id: Annotated[str, text("With it GET /requests/{id} finds the receipt.", pattern="^embd-")]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
