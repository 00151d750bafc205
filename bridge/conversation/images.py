"""A request for pictures: drawn by a prompt alone, or made of other pictures."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from bridge.conversation import kinds
from bridge.conversation.prompt import Prompt, read_texts
from bridge.conversation.request import Request
from bridge.json_types import Json

PARTIAL_TOKENS = 100  # that OpenAI counts for each unfinished picture of a stream
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}  # of the types that are taken


class Picture(Struct, frozen=True, gc=False):
    """A picture that the client sent: its bytes, and the type that they begin like."""

    data: bytes
    media_type: str


class ImageRequest(Request, frozen=True, kw_only=True, gc=False):
    """`fields` are those of the request that say how the pictures are to be, as the client wrote them, by OpenAI's
    names. With `pictures` it is an edit of them, and the `mask` says where in the first one."""

    kind: ClassVar[str] = kinds.IMAGES
    begins_late: ClassVar[bool] = True
    is_made_to_its_end: ClassVar[bool] = True
    prompt: str
    fields: Mapping[str, Json]
    pictures: Sequence[Picture] = ()
    mask: Picture | None = None

    @property
    def partial_images(self) -> int:
        """How many unfinished pictures a stream is to show of each, at the most."""
        count = self.fields.get("partial_images") or 0
        return count if self.stream else 0

    @property
    def quality(self) -> str:
        """The one that was asked for; "" where that is left open."""
        quality = self.fields.get("quality")
        return quality if isinstance(quality, str) and quality != "auto" else ""

    def read_prompt(self) -> Prompt:
        """The words alone: pictures are no text."""
        return read_texts([self.prompt])

    def read_opening(self, most_characters: int) -> str:
        """Equal prompts may go to equal channels."""
        return self.prompt[:most_characters]
