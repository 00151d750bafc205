"""The answers of plain completions, whole and streamed. These types describe; the dialect's writer makes the bytes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.v1.schemas.chat import AskedModel, Created, Finish, Logprobs, Usage
from bridge.v1.schemas.facts import text, whole

TextId = Annotated[str, text("`cmpl-` and the request's own number.", pattern="^cmpl-")]


class TextChoice(Struct):
    text: str
    index: Annotated[int, whole("Those of the first prompt come first.")]
    logprobs: Logprobs | None
    finish_reason: Finish


class TextCompletion(Struct):
    id: TextId
    object: Literal["text_completion"]
    created: Created
    model: AskedModel
    choices: Annotated[list[TextChoice], Meta(min_length=1)]
    usage: Usage


class TextChunkChoice(Struct):
    text: str
    index: Annotated[int, whole()]
    logprobs: Logprobs | None
    finish_reason: Finish | None


class TextCompletionChunk(Struct):
    """One event of a stream. `usage` is there, null but in the last chunk, with stream_options.include_usage alone."""

    id: TextId
    object: Literal["text_completion"]
    created: Created
    model: AskedModel
    choices: Annotated[list[TextChunkChoice], text("Empty in the chunk that carries the usage.")]
    usage: Usage | None | UnsetType = UNSET
