"""Anthropic's Claude: requests in its own dialect (`/v1/messages`), and the provider itself."""

import hashlib
from typing import Any

import msgspec

from bridge.providers.anthropic_answers import Reading, read_anthropic_answer
from bridge.providers.anthropic_errors import read_anthropic_error
from bridge.providers.anthropic_models import Claude, read_model
from bridge.providers.anthropic_stream import AnthropicReader
from bridge.providers.anthropic_thinking import Decision, decide
from bridge.providers.anthropic_tools import Offer, fit_schemas, write_offer
from bridge.providers.anthropic_turns import Dialogue, write_dialogue, write_text
from bridge.providers.base import AttemptFailed, ChatOrder, Completion, Outgoing, StreamOrder, refuse
from bridge.providers.conversation import Text, is_legacy, list_dropped, read_cap, read_stop, read_tools
from bridge.providers.openai import list_unknown_inside
from bridge.providers.request_fields import take_cache_control, take_passed
from bridge.providers.token_scale import ANTHROPIC
from bridge.providers.tool_names import ANTHROPIC_NAMES, SafeNames, list_called

PATH = "/v1/messages"
VERSION = ("anthropic-version", "2023-06-01")
DEFAULT_CAP = 4096  # Anthropic insists on one
LEAST_TOP_P = 0.95  # while it thinks with a budget
# What a chat body may hold that goes out, or that is our own business.
TAKEN = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature"}
    | {"top_p", "top_k", "stop", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"}
    | {"response_format", "reasoning_effort", "thinking", "user", "safety_identifier", "cache_control"}
    | {"web_search_options"}
)


class Anthropic:
    name = "anthropic"
    label = "Anthropic"
    base_url = "https://api.anthropic.com"
    keeps_reasoning = True
    token_scales = ANTHROPIC

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key} if key else {}

    def choices_per_call(self, body: dict[str, Any], upstream_id: str) -> int:
        return 1

    def write_chat(self, order: ChatOrder) -> Outgoing:
        """The request for `/v1/messages`. Raises AttemptFailed for what this model can't take."""
        body, claude = order.body, read_model(order.upstream_id)
        if body.get("web_search_options") is not None:
            raise refuse("web_search_options", "This model is not offered with web search.", "unsupported_parameter")
        taken = TAKEN | order.passes if order.passes else TAKEN
        dropped, clamped = [*list_dropped(body, taken), *list_unknown_inside(order)], []
        tools, keys = fit_schemas(read_tools(body), dropped)
        called = [*list_called(body["messages"])]
        names = SafeNames([*(tool.name for tool in tools), *called], ANTHROPIC_NAMES)
        dialogue = write_dialogue(body, order.kept, claude, names, keys)
        offer = write_offer(body, claude, names, tools, called)
        cap = read_cap(body, order.output_cap) or DEFAULT_CAP
        thinking = decide(body, claude, cap, dialogue.may_think() and not offer.forced)
        if not thinking.on:
            dialogue.forget_thoughts()
        out: dict[str, Any] = {"model": order.upstream_id, "max_tokens": cap}
        out.update(_write_system(dialogue, offer.instruction))
        out["messages"] = dialogue.messages
        if body.get("stream"):
            out["stream"] = True
        for part in (offer, thinking):
            out.update(part.fields)
            dropped += part.dropped
            clamped += part.clamped
        out.update(_write_output_config(offer, thinking))
        out.update(_write_sampling(body, claude, thinking, dropped, clamped))
        out.update(_write_stop(body, dropped, clamped))
        out.update(_write_rest(body))
        if order.passes:
            out |= take_passed(body, order.passes, out)
        reading = Reading(
            model=claude.name,
            legacy=is_legacy(body),
            fenced=bool(offer.instruction),
            answer_tool=offer.answer_tool,
            names=names.originals,
            keys={names.write(tool): found.originals for tool, found in keys.items()} | offer.answer_keys,
        )
        return Outgoing(PATH, msgspec.json.encode(out), (VERSION,), tuple(dropped), tuple(clamped), reading)

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        return read_anthropic_answer(data, outgoing.reading or Reading())

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> AnthropicReader:
        return AnthropicReader(order, outgoing.reading or Reading())

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_anthropic_error(status, headers, data)


def _write_system(dialogue: Dialogue, instruction: str) -> dict[str, Any]:
    """As one text, or in blocks where the client marked what to keep in the cache."""
    parts = [*dialogue.system, *([Text(instruction)] if instruction else [])]
    if any(isinstance(part.cache, dict) for part in parts):
        return {"system": [write_text(part) for part in parts]}
    return {"system": "\n\n".join(part.text for part in parts)} if parts else {}


def _write_output_config(offer: Offer, thinking: Decision) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if thinking.effort:
        config["effort"] = thinking.effort
    if offer.schema is not None:
        config["format"] = {"type": "json_schema", "schema": offer.schema}
    return {"output_config": config} if config else {}


def _write_sampling(
    body: dict[str, Any], claude: Claude, thinking: Decision, dropped: list[str], clamped: list[str]
) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k`, as far as the generation and its thinking let them be chosen."""
    given = {name: body[name] for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
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


def _write_stop(body: dict[str, Any], dropped: list[str], clamped: list[str]) -> dict[str, Any]:
    """Blank stop sequences are refused."""
    given = read_stop(body)
    stops = [text for text in given if text.strip()]
    if len(stops) < len(given):
        (clamped if stops else dropped).append(f"stop={len(stops)} of {len(given)}" if stops else "stop")
    return {"stop_sequences": stops} if stops else {}


def _write_rest(body: dict[str, Any]) -> dict[str, Any]:
    """Whose request it is, which Anthropic wants without personal data, and its own mark for caching the prompt."""
    out: dict[str, Any] = {}
    who = body.get("safety_identifier") or body.get("user")
    if isinstance(who, str) and who:
        out["metadata"] = {"user_id": hashlib.sha256(who.encode()).hexdigest()}
    if isinstance(body.get("cache_control"), dict):
        out["cache_control"] = take_cache_control(body["cache_control"])
    return out
