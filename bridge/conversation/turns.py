"""A conversation's turns and what they are made of, as every dialect can say them. Nobody changes any of it.

What costs something to read stays as the client wrote it: a call's arguments are text, a picture is its address or
base64. A provider that needs more reads it, and refuses what it can't take, by the place that each part carries.

`gc=False`: JSON and these values can't refer to themselves, and so many are made that the collector would run for them
alone."""

from collections.abc import Sequence

from msgspec import Struct

from bridge.json_types import Json


class Text(Struct, frozen=True, gc=False):
    """`cache` is the `cache_control` that the client put on it, as it stands there. `refusal`: the model's own words
    that it would not answer."""

    text: str
    cache: Json = None
    refusal: bool = False


class Media(Struct, frozen=True, gc=False):
    """A picture, sound or document. `source` is an address, a data URL or, with a `media_type`, base64; documents may
    come as base64 without one. `stored`: it is named by an id of files that are kept somewhere. `linked`: the `source`
    of a document is its address."""

    kind: str  # image, audio, file
    place: str  # messages[1].content[0]
    source_place: str  # messages[1].content[0].image_url.url
    source: str = ""
    media_type: str = ""
    sound_format: str = ""  # wav, mp3
    name: str = ""
    detail: str | None = None
    stored: bool = False
    cache: Json = None
    linked: bool = False


class Call(Struct, frozen=True, gc=False):
    """A tool call that the model made earlier. `extra` is its `extra_content`, in which Google's clients carry
    signatures. A `legacy` one (`function_call`) has no id, it may have no result, and its result no call. `custom` is
    the whole of a call that is none of a function, as OpenAI writes it."""

    id: str
    name: str
    arguments: str
    place: str
    extra: Json = None
    legacy: bool = False
    custom: Json = None


class Result(Struct, frozen=True, gc=False):
    """What the client's tool said to a call; `name` is the tool's, where the result itself tells it. `is_error`: the
    tool failed, and says why."""

    call_id: str
    name: str | None
    parts: Sequence[Text | Media]
    place: str
    cache: Json = None
    legacy: bool = False
    is_error: bool = False


class Thoughts(Struct, frozen=True, gc=False):
    """Reasoning given back by the client: as text, as the blocks (`thinking_blocks`) that a provider signed, or as what
    we had sealed for it (see `Sealed.value` of answers)."""

    text: str
    blocks: Sequence[Json] = ()
    sealed: Sequence[Json] = ()


class Untold(Struct, frozen=True, gc=False):
    """What only an upstream of the client's own dialect can be told, by the name of its `kind` there. Others refuse
    it."""

    kind: str
    place: str


Part = Text | Media | Call | Result | Thoughts | Untold


class Turn(Struct, frozen=True, gc=False):
    """One message of one side: "system", "user" (tool results too) or "assistant". Neighbours may be of the same side.
    `source` is the message as the client wrote it: two conversations are the same where their sources are."""

    role: str
    parts: Sequence[Part]
    place: str
    source: Json = None
