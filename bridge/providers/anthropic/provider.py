"""Anthropic's Claude: requests in its own dialect (`/v1/messages`), and the provider itself."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.conversation.answer import Completion
from bridge.conversation.request import MESSAGES, Conversation
from bridge.conversation.turns import Text
from bridge.json_types import Json, JsonObject
from bridge.providers.anthropic.answers import Reading, read_anthropic_answer
from bridge.providers.anthropic.errors import GIVEN_BACK, read_anthropic_error
from bridge.providers.anthropic.models import Claude, read_model
from bridge.providers.anthropic.native import write_native
from bridge.providers.anthropic.passing import PassingReader, may_pass
from bridge.providers.anthropic.stream import AnthropicReader
from bridge.providers.anthropic.thinking import Decision, decide
from bridge.providers.anthropic.tools import Offer, fit_schemas, write_offer
from bridge.providers.anthropic.turns import Dialogue, write_dialogue, write_text
from bridge.providers.asked import find_cap, list_called_tools, list_dropped, list_functions
from bridge.providers.base import AttemptFailed, ModelPage, Order, Outgoing, StreamOrder, Translator, refuse
from bridge.providers.model_lists import read_list, write_anthropic_path
from bridge.providers.openai.provider import list_unknown_inside
from bridge.providers.openai.request_fields import take_cache_control, take_passed
from bridge.providers.token_scale import ANTHROPIC
from bridge.providers.tool_names import ANTHROPIC_NAMES, SafeNames

PATH = "/v1/messages"
VERSION = ("anthropic-version", "2023-06-01")
DEFAULT_CAP = 4096  # Anthropic insists on one
LEAST_TOP_P = 0.95  # while it thinks with a budget
# The options that go out, or that are refused.
TAKEN = frozenset({"temperature", "top_p", "top_k", "user", "safety_identifier", "cache_control", "web_search_options"})


class Anthropic:
    name = "anthropic"
    label = "Anthropic"
    base_url = "https://api.anthropic.com"
    token_scales = ANTHROPIC
    fetches_any_link = False
    hour_write_times_input: int | None = 2  # "1-hour cache write tokens are 2 times the base input tokens price"
    stands_in = False
    trial_model: str | None = None
    translators: Mapping[str, Translator] = {}

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key} if key else {}

    def write_list(self, after: str) -> Outgoing:
        return Outgoing(write_anthropic_path(after), b"", (VERSION,))

    def read_list(self, data: bytes) -> ModelPage:
        return read_list(data)

    def wants_reasoning(self, upstream_id: str, wire: str = "") -> bool:
        return True

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        return 1

    def write_request(self, order: Order) -> Outgoing:
        """The request for `/v1/messages`. Raises AttemptFailed for what this model can't take."""
        conversation, claude = order.conversation, read_model(order.upstream_id)
        if (native := conversation.find_native(MESSAGES)) is not None:
            written = write_native(order, native, claude, DEFAULT_CAP)
            body, changes = msgspec.json.encode(written.body), (tuple(written.dropped), tuple(written.clamped))
            return Outgoing(PATH, body, (VERSION, *written.headers), *changes, Reading(claude.name, native=True))
        options = conversation.options
        if options.get("web_search_options") is not None:
            raise refuse("web_search_options", "This model is not offered with web search.", "unsupported_parameter")
        taken = TAKEN | order.passes if order.passes else TAKEN
        dropped, clamped = [*list_dropped(options, taken), *list_unknown_inside(order)], []
        tools, keys = fit_schemas(list_functions(conversation), dropped)
        called = [*list_called_tools(conversation)]
        names = SafeNames([*(tool.name for tool in tools), *called], ANTHROPIC_NAMES)
        dialogue = write_dialogue(conversation, order.kept, claude, names, keys)
        if GIVEN_BACK in order.without:
            dialogue.forget_thoughts()
        offer = write_offer(conversation, claude, names, tools, called)
        cap = find_cap(conversation, order.output_cap) or DEFAULT_CAP
        thinking = decide(conversation, claude, cap, dialogue.may_think() and not offer.forced)
        if not thinking.on:
            dialogue.forget_thoughts()
        out: JsonObject = {"model": order.upstream_id, "max_tokens": cap}
        out.update(_write_system(dialogue, offer.instruction))
        out["messages"] = dialogue.messages
        if conversation.stream:
            out["stream"] = True
        for part in (offer, thinking):
            out.update(part.fields)
            dropped += part.dropped
            clamped += part.clamped
        out.update(_write_output_config(offer, thinking))
        out.update(_write_sampling(options, claude, thinking, dropped, clamped))
        out.update(_write_stop(conversation.stop, dropped, clamped))
        out.update(_write_rest(options))
        if order.passes:
            out |= take_passed(options, order.passes, out)
        reading = Reading(
            model=claude.name,
            legacy=conversation.legacy,
            fenced=bool(offer.instruction),
            answer_tool=offer.answer_tool,
            names=names.originals,
            keys={names.write(tool): found.originals for tool, found in keys.items()} | offer.answer_keys,
        )
        return Outgoing(PATH, msgspec.json.encode(out), (VERSION,), tuple(dropped), tuple(clamped), reading)

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        return read_anthropic_answer(data, _reading_of(outgoing))

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> AnthropicReader:
        reading = _reading_of(outgoing)
        return PassingReader(order, reading) if may_pass(order, reading) else AnthropicReader(order, reading)

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_anthropic_error(status, headers, data)


def _write_system(dialogue: Dialogue, instruction: str) -> JsonObject:
    """As one text, or in blocks where the client marked what to keep in the cache."""
    parts = [*dialogue.system, *([Text(instruction)] if instruction else [])]
    if any(isinstance(part.cache, dict) for part in parts):
        return {"system": [write_text(part) for part in parts]}
    return {"system": "\n\n".join(part.text for part in parts)} if parts else {}


def _write_output_config(offer: Offer, thinking: Decision) -> JsonObject:
    config: JsonObject = {}
    if thinking.effort:
        config["effort"] = thinking.effort
    if offer.schema is not None:
        config["format"] = {"type": "json_schema", "schema": offer.schema}
    return {"output_config": config} if config else {}


def _write_sampling(
    options: Mapping[str, Json], claude: Claude, thinking: Decision, dropped: list[str], clamped: list[str]
) -> JsonObject:
    """`temperature`, `top_p` and `top_k`, as far as the generation and its thinking let them be chosen."""
    given = {name: options[name] for name in ("temperature", "top_p", "top_k") if options.get(name) is not None}
    thinks = thinking.on and bool(thinking.fields)
    if "top_k" in given and (type(given["top_k"]) is not int or given["top_k"] < 0):
        raise refuse("top_k", "top_k must be a whole number, 0 or more.")
    for name, default in (("temperature", 1), ("top_p", 1), ("top_k", None)):
        if name not in given or (claude.takes_sampling and not (thinks and name != "top_p")):
            continue
        if given[name] != default:
            dropped.append(name)
        if given[name] != default or not claude.takes_sampling:
            del given[name]
    if given.get("temperature", 0) > 1:
        given["temperature"] = 1
        clamped.append("temperature=1")
    if "top_p" in given and "temperature" in given and claude.takes_one_sampling and given.pop("top_p") != 1:
        dropped.append("top_p")
    if thinks and given.get("top_p", 1) < LEAST_TOP_P:
        given["top_p"] = LEAST_TOP_P
        clamped.append(f"top_p={LEAST_TOP_P}")
    return given


def _write_stop(given: Sequence[str], dropped: list[str], clamped: list[str]) -> JsonObject:
    """Blank stop sequences are refused."""
    stops = [text for text in given if text.strip()]
    if len(stops) < len(given):
        (clamped if stops else dropped).append(f"stop={len(stops)} of {len(given)}" if stops else "stop")
    return {"stop_sequences": stops} if stops else {}


def _write_rest(options: Mapping[str, Json]) -> JsonObject:
    """Whose request it is, by the hash that the door gave it, and Anthropic's own mark for caching the prompt."""
    out: JsonObject = {}
    who = options.get("safety_identifier") or options.get("user")
    if isinstance(who, str) and who:
        out["metadata"] = {"user_id": who}
    if isinstance(options.get("cache_control"), dict):
        out["cache_control"] = take_cache_control(options["cache_control"])
    return out


def _reading_of(outgoing: Outgoing) -> Reading:
    """What the request's writer left for the answer's reader."""
    return outgoing.reading if isinstance(outgoing.reading, Reading) else Reading()
