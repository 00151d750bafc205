"""What one request asks for. Most ask for a conversation to be gone on with: the tools offered are in it, and how the
answer is to be."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

from bridge.conversation import kinds
from bridge.conversation.opening import read_opening
from bridge.conversation.prompt import Prompt, read_prompt
from bridge.conversation.turns import Media, Turn
from bridge.json_types import Json, JsonObject

CHAT = "chat"  # OpenAI's dialect, the one that clients and upstreams have in common
MESSAGES, RESPONSES = "messages", "responses"  # Anthropic's, and OpenAI's newer one


class Tool(Struct, frozen=True, gc=False):
    """A function that the model may call. `legacy`: one of `functions`, in OpenAI's dialect before there were tools.
    `custom` is the whole of a tool that is no function, as OpenAI writes it or, where `dialect` names another one, as
    that does: then only its own upstreams take it."""

    name: str
    place: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool = False
    cache: Json = None
    legacy: bool = False
    custom: Json = None
    dialect: str = ""


class ToolChoice(Struct, frozen=True, gc=False):
    """`mode` is auto, none or required, and "" for what means nothing: who can't pass it on refuses it, by `place`.
    `names` limits it to these tools, all of them where there are none; `listed`: the client gave them as a list."""

    mode: str
    names: tuple[str, ...] = ()
    listed: bool = False
    place: str = "tool_choice"


class Format(Struct, frozen=True, gc=False):
    """How the answer is to be written: `kind` is text, json_object or json_schema. The `definition` is OpenAI's, with
    `schema`, `name`, `description` and `strict`."""

    kind: str
    definition: JsonObject | None = None


class Thinking(Struct, frozen=True, gc=False):
    """What `thinking` says: `kind` is enabled, disabled or adaptive, and "" for what means nothing."""

    kind: str
    budget_tokens: int | None = None
    display: Json = None


class Native(Struct, frozen=True, gc=False):
    """The request in its client's own dialect, for upstreams that speak it too: nothing is lost that our values can't
    express. `encoded_messages` is `body["messages"]` as the client's own JSON, `betas` what of its dialect's trials it
    asks for in a header. Nobody changes any of it."""

    dialect: str
    body: JsonObject
    encoded_messages: msgspec.Raw | None = None
    betas: tuple[str, ...] = ()


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """What the engine knows of every request, of whatever kind. One that goes on with no conversation has no `turns`,
    and what belongs to them is empty.

    `options` is all that has no value of its own, in the order in which it was given. OpenAI's names are the names
    here, so a dialect with others puts `stop` or `max_tokens` where they belong and `user` there. What a provider has
    no equal for is named to the client from there. The engine itself reads `prompt_cache_key` and `prediction`."""

    kind: ClassVar[str]
    parallel: ClassVar[bool] = False  # several choices may take several calls
    begins_late: ClassVar[bool] = False  # a stream's first content may take as long as a whole answer, and its next
    is_made_to_its_end: ClassVar[bool] = False  # once something of it was shown, whoever leaves pays for all of it
    endpoint: str  # which of our endpoints it came by, as the ledger calls it
    model: str  # by the name that the client asked for
    turns: Collection[Turn] = ()
    media: Sequence[Media] = ()
    has_calls: bool = False
    # The client's own cap on each choice's answer, if it gave one. Of two the larger: an upstream may know only either
    # name, and the hold has to cover what it writes.
    output_cap_tokens: int | None = None
    sent_cap: tuple[str, int] | None = None  # the client's name of the cap that a provider is told, and the cap
    choices: int = 1
    stream: bool = False
    wants_usage: bool = False  # the client's stream is to end with a frame of counts
    options: Mapping[str, Json]
    # What providers had sealed with calls, by call id, as the client has carried it (see `Sealed` of answers).
    carried: Mapping[str, Json] = {}
    native: Native | None = None
    session: str = ""  # the client's own name of the session that the request belongs to, if it has one

    def find_native(self, dialect: str) -> Native | None:
        """The request as its client wrote it, if it spoke this dialect."""
        native = self.native
        return native if native is not None and native.dialect == dialect else None

    def read_prompt(self) -> Prompt:
        """All of it that is counted as text."""
        raise NotImplementedError

    def read_opening(self, most_characters: int) -> str:
        """How it begins, for channels of equal rank: the same opening goes to the same one."""
        raise NotImplementedError


class Conversation(Request, frozen=True, kw_only=True, gc=False):
    """A conversation to be gone on with. `turns` may be read only as somebody looks at them, so what everybody asks of
    them stands beside: `media` is all that is in them, `has_calls` whether a tool was ever called."""

    kind: ClassVar[str] = kinds.CHAT
    parallel: ClassVar[bool] = True
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    format: Format | None = None
    effort: str | None = None  # `reasoning_effort`
    thinking: Thinking | None = None
    stop: Sequence[str] = ()

    @property
    def legacy(self) -> bool:
        """Whether the client speaks the dialect of `functions`, and expects `function_call` in the answer."""
        return bool(self.tools) and self.tools[0].legacy

    def read_prompt(self) -> Prompt:
        """The texts of all turns, of the tools and of the answer's format."""
        return read_prompt(self)

    def read_opening(self, most_characters: int) -> str:
        """Up to the first thing that its user said."""
        return read_opening(self.turns, most_characters)
