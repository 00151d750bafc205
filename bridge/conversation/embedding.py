"""A request for embeddings: texts, or tokens in their place, of which each gets a vector."""

from collections.abc import Sequence
from typing import ClassVar

from bridge.conversation import kinds
from bridge.conversation.prompt import Input, Prompt, read_texts
from bridge.conversation.request import Request
from bridge.json_types import Json


class EmbeddingRequest(Request, frozen=True, kw_only=True, gc=False):
    """`inputs` are all of them, in order, and `written` is the same as the client wrote it. `encoding` is the form of
    the vectors, None where the client asked for none: then they are numbers."""

    kind: ClassVar[str] = kinds.EMBEDDINGS
    inputs: Sequence[Input]
    written: Json
    dimensions: int | None = None
    encoding: str | None = None

    @property
    def base64(self) -> bool:
        """Whether vectors go out as base64 of little-endian float32."""
        return self.encoding == "base64"

    def read_prompt(self) -> Prompt:
        """The inputs, with nothing around them; tokens count as they are."""
        return read_texts(self.inputs)

    def read_opening(self, most_characters: int) -> str:
        """The first input: no cache knows it, and equal requests may go to equal channels."""
        first = self.inputs[0]
        return first[:most_characters] if isinstance(first, str) else repr(first[:most_characters])
