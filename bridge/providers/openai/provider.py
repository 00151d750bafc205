"""OpenAI, and the base of every upstream that speaks its dialect: requests and answers pass almost as they are."""

from collections.abc import Mapping

import msgspec

from bridge.conversation.answer import Completion
from bridge.conversation.kinds import COMPLETIONS, EMBEDDINGS, IMAGES
from bridge.conversation.request import CHAT, Conversation, Native
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.base import (
    AttemptFailed,
    Blame,
    ModelPage,
    Order,
    Outgoing,
    StreamOrder,
    StreamReader,
    Translator,
)
from bridge.providers.blame.errors import find_refusal, read_openai_error
from bridge.providers.model_lists import read_list, write_list_path
from bridge.providers.openai.answer import read_body, read_completion
from bridge.providers.openai.body import write_body
from bridge.providers.openai.choice import read_for, reading_of
from bridge.providers.openai.completions import OpenAICompletions
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.embeddings import OpenAIEmbeddings
from bridge.providers.openai.images import OpenAIImages
from bridge.providers.openai.messages import are_plain, arrange_messages, clean_messages
from bridge.providers.openai.models import find_family, fit_openai, wants_newer_cap
from bridge.providers.openai.request_fields import STREAM_OPTIONS, show_field, take_fields, take_within
from bridge.providers.openai.stream import OpenAIReader
from bridge.providers.openai.tools import fit_tools
from bridge.providers.openai.usage import read_openai_usage
from bridge.providers.openai.wires import asks_responses, may_ask_responses
from bridge.providers.responses.answer import read_response
from bridge.providers.responses.errors import with_remedy
from bridge.providers.responses.request import is_of, write_responses
from bridge.providers.responses.request import reading_of as reading_of_responses
from bridge.providers.responses.stream import ResponsesReader
from bridge.providers.token_scale import OPEN_WEIGHTS, OPENAI, TokenScales
from bridge.providers.tool_names import OPENAI_NAMES
from bridge.providers.tool_schemas import ToolRule

CAPS = ("max_completion_tokens", "max_tokens")
WITH_FIELDS_INSIDE = ("tools", "functions", "tool_choice", "function_call", "stream_options", "response_format")
NOTHING_MORE: frozenset[str] = frozenset()
CACHE_CONTROL = frozenset({"cache_control"})
AS_OPENAI_NAMES_THEM = ToolRule(OPENAI_NAMES)
# OpenAI's own models insist on an object at a schema's root, and on none of these keywords there.
AS_OPENAI_CHECKS_THEM = ToolRule(OPENAI_NAMES, plain_root=True, refused=("enum", "not", "const"))


class OpenAICompatible:
    """Any upstream of OpenAI's dialect. Subclasses say what is different about them."""

    name: str
    label: str
    base_url: str
    chat_path: str = "/chat/completions"
    keeps_reasoning: bool = False
    refuses_blanks: bool = False  # takes no message without words, whoever's it is
    token_scales: TokenScales = OPEN_WEIGHTS
    fetches_any_link: bool = False
    hour_write_times_input: int | None = None
    stands_in: bool = False
    trial_model: str | None = None
    translators: Mapping[str, Translator] = {}  # an API need not have what OpenAI's has

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def write_list(self, after: str) -> Outgoing:
        return Outgoing(write_list_path(after), b"")

    def read_list(self, data: bytes) -> ModelPage:
        return read_list(data)

    def cap_field(self, upstream_id: str) -> str:
        """The name of the output cap for this model."""
        return "max_tokens"

    def wants_reasoning(self, upstream_id: str, wire: str = "") -> bool:
        return self.keeps_reasoning

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        """As many as OpenAI itself takes."""
        return 128

    def known_fields(self, upstream_id: str) -> frozenset[str]:
        """What this provider knows in messages, parts, calls and tools beside OpenAI's own fields."""
        return NOTHING_MORE

    def tool_rule(self, upstream_id: str) -> ToolRule:
        """What it asks of tools' names and schemas."""
        return AS_OPENAI_NAMES_THEM

    def fit(self, draft: Draft) -> None:
        """Bring the request into what this provider takes. May raise AttemptFailed (see `refuse`)."""

    def write_request(self, order: Order) -> Outgoing:
        """The chat body with the upstream's model name, one cap in the name that it knows, and usage asked for."""
        upstream_id, passes = order.upstream_id, order.passes
        known = self.known_fields(upstream_id)
        known = known | passes if passes else known
        native = order.conversation.find_native(CHAT) or Native(CHAT, write_body(order.conversation))
        out, dropped = take_fields(native.body, passes | (CACHE_CONTROL & known))
        draft = Draft(order, out, dropped, native.body["messages"])
        if native.encoded_messages is not None:
            out["messages"] = native.encoded_messages
        if order.single:
            out.pop("n", None)
        for name in take_within(out, passes):
            draft.name_dropped(name)
        clean_messages(draft, known)
        if out.get("store"):
            draft.drop("store", "metadata")
        out["model"] = upstream_id
        caps = [out.pop(field, None) for field in CAPS]
        if cap := order.output_cap or caps[0] or caps[1]:
            out[self.cap_field(upstream_id)] = cap
        if out.get("stream"):
            out["stream_options"] = _pick_stream_options(draft) | {"include_usage": True}
        else:
            draft.drop("stream_options")  # which OpenAI refuses beside a whole answer
        self.fit(draft)
        arrange_messages(draft, strict=self.refuses_blanks)
        fit_tools(draft, self.tool_rule(upstream_id), known)
        reading = read_for(out, draft.legacy or order.conversation.legacy, draft.names)
        return Outgoing(
            self.chat_path,
            msgspec.json.encode(out),
            dropped=tuple(draft.dropped),
            clamped=tuple(draft.clamped),
            reading=reading,
        )

    def read_usage(self, usage: Json) -> Counts | None:
        """The upstream's counts, class by class; None where it says nothing."""
        return read_openai_usage(usage)

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        mended = set[str]()
        body = read_body(data, mended)
        if isinstance(body, dict) and body.get("error"):
            raise self.read_error(200, {}, data)
        if not isinstance(body, dict) or not body.get("choices"):
            raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
        return read_completion(body, self, reading_of(outgoing.reading), mended)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        return OpenAIReader(self, order, reading_of(outgoing.reading))

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_openai_error(status, headers, data)


def _pick_stream_options(draft: Draft) -> JsonObject:
    """OpenAI's own ones, for they decide what comes back; the others are named."""
    given = draft.out.get("stream_options") or {}
    for option, value in given.items():
        if option not in STREAM_OPTIONS and value is not None:
            draft.name_dropped(f"stream_options.{show_field(option)}")
    return {option: value for option, value in given.items() if option in STREAM_OPTIONS}


def list_unknown_inside(order: Order) -> list[str]:
    """What stands within a chat body's fields and is none of OpenAI's, for the dialects that pick what they know."""
    native = order.conversation.find_native(CHAT)
    if native is None:
        return []
    body = native.body
    found = {field: body[field] for field in WITH_FIELDS_INSIDE if body.get(field)}
    if not found and are_plain(body["messages"]):
        return []
    draft = Draft(order, found, [], body["messages"])
    clean_messages(draft, NOTHING_MORE)
    for name in take_within(draft.out, NOTHING_MORE):
        draft.name_dropped(name)
    draft.sound = True  # names are not looked at here
    _pick_stream_options(draft)
    fit_tools(draft, AS_OPENAI_NAMES_THEM, NOTHING_MORE)
    return [name for name in draft.dropped if name not in WITH_FIELDS_INSIDE]


class OpenAI(OpenAICompatible):
    """OpenAI itself, and whatever an operator reaches by its dialect: Ollama, llama.cpp, vLLM, OpenRouter."""

    name = "openai"
    label = "OpenAI"
    base_url = "https://api.openai.com/v1"
    token_scales = OPENAI
    translators: Mapping[str, Translator] = {
        EMBEDDINGS: OpenAIEmbeddings(),
        COMPLETIONS: OpenAICompletions(),
        IMAGES: OpenAIImages(),
    }

    def cap_field(self, upstream_id: str) -> str:
        """The thinking models refuse `max_tokens`; servers of the same dialect may know no other name."""
        return "max_completion_tokens" if wants_newer_cap(upstream_id) else "max_tokens"

    def wants_reasoning(self, upstream_id: str, wire: str = "") -> bool:
        """Responses gives it encrypted; chat completions don't give it."""
        return may_ask_responses(upstream_id, wire)

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        """As many as OpenAI itself takes: Responses gives one."""
        if asks_responses(upstream_id, wire, conversation):
            return 1
        return super().choices_per_call(conversation, upstream_id, wire)

    def known_fields(self, upstream_id: str) -> frozenset[str]:
        """OpenAI itself refuses what it doesn't know. Others may know marks of the cache, and Google its signatures."""
        if find_family(upstream_id) is not None:
            return NOTHING_MORE
        return CACHE_CONTROL | {"extra_content"} if "gemini" in upstream_id.lower() else CACHE_CONTROL

    def tool_rule(self, upstream_id: str) -> ToolRule:
        return AS_OPENAI_NAMES_THEM if find_family(upstream_id) is None else AS_OPENAI_CHECKS_THEM

    def fit(self, draft: Draft) -> None:
        fit_openai(draft)

    def write_request(self, order: Order) -> Outgoing:
        """The request by chat completions or by Responses, as the order or the model's name says."""
        if not asks_responses(order.upstream_id, order.wire, order.conversation):
            return super().write_request(order)
        return write_responses(order, self.tool_rule(order.upstream_id), list_unknown_inside(order))

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        if is_of(outgoing):
            return read_response(data, reading_of_responses(outgoing.reading))
        return super().read_answer(data, outgoing)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        if is_of(outgoing):
            return ResponsesReader(order, reading_of_responses(outgoing.reading))
        return super().open_reader(outgoing, order)

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return with_remedy(super().read_error(status, headers, data), status, data)
