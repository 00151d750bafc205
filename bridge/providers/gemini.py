"""Google's Gemini: requests in its own dialect (`generateContent`), and the provider itself."""

import functools
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.providers import gemini_models as models
from bridge.providers.base import AttemptFailed, Blame, ChatOrder, Completion, Outgoing, StreamOrder, refuse
from bridge.providers.conversation import (
    Tool,
    is_legacy,
    list_dropped,
    read_cap,
    read_schema,
    read_stop,
    read_thinking,
    read_tool_choice,
    read_tools,
    wants_json,
)
from bridge.providers.gemini_answers import GeminiReader, Reading, read_gemini_answer
from bridge.providers.gemini_contents import write_contents
from bridge.providers.gemini_errors import read_gemini_error
from bridge.providers.json_schema import Room, inline_references
from bridge.providers.openai import list_unknown_inside
from bridge.providers.request_fields import take_passed
from bridge.providers.token_scale import GEMINI
from bridge.providers.tool_names import GEMINI_NAMES, SafeNames, list_called
from bridge.providers.tool_schemas import ToolRule, fit_parameters

RULE = ToolRule(GEMINI_NAMES, plain_root=True)
MAX_CANDIDATES = 8
MAX_STOPS = 5
MAX_SEED = 2**31 - 1
# What a chat body may hold that goes out, or that is our own business.
TAKEN = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature"}
    | {"top_p", "stop", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"}
    | {"response_format", "reasoning_effort", "thinking", "seed", "top_k", "cache_control", "web_search_options"}
)
PENALTIES = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


class Gemini:
    name = "gemini"
    label = "Google"
    base_url = "https://generativelanguage.googleapis.com"
    keeps_reasoning = True
    token_scales = GEMINI

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def choices_per_call(self, body: dict[str, Any], upstream_id: str) -> int:
        """Several only in a whole answer of the older generations."""
        several = not body.get("stream") and models.takes_candidates(models.read_version(upstream_id))
        return MAX_CANDIDATES if several else 1

    def write_chat(self, order: ChatOrder) -> Outgoing:
        """The request for `generateContent`. Raises AttemptFailed for what this model can't take."""
        body, path = order.body, write_path(order.upstream_id, stream=bool(order.body.get("stream")))
        version = models.read_version(order.upstream_id)
        if body.get("web_search_options") is not None:
            raise refuse("web_search_options", "This model is not offered with web search.", "unsupported_parameter")
        clamped: list[str] = []
        taken = _taken(version) | order.passes if order.passes else _taken(version)
        tools, dropped = read_tools(body), list_dropped(body, taken)
        dropped += list_unknown_inside(order)
        names = SafeNames([*(tool.name for tool in tools), *list_called(body["messages"])], RULE.names)
        system, contents = write_contents(body, order.kept, tools, version, names)
        out: dict[str, Any] = {"contents": contents}
        config = self._write_config(order, version, dropped, clamped)
        room = Room()
        out |= _write_tools(body, tools, room, names)
        instructed = False
        if (schema := read_schema(body)) is not None or wants_json(body):
            if tools and not models.takes_json_beside_tools(version):
                system.append(_ask_for_json(schema))
                clamped.append("response_format=json_object")
                instructed = True
            else:
                config["responseMimeType"] = "application/json"
                if schema is not None:
                    config["responseJsonSchema"] = inline_references(schema, room)
        if system:
            out["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
        if config:
            out["generationConfig"] = config
        if order.passes:
            out |= take_passed(body, order.passes, out)
        reading = Reading(
            legacy=is_legacy(body),
            one_call=body.get("parallel_tool_calls") is False,
            fenced=instructed,
            offered=frozenset(names.write(tool.name) for tool in tools),
            names=names.originals,
        )
        return Outgoing(path, msgspec.json.encode(out), (), tuple(dropped), tuple(clamped), reading)

    def _write_config(
        self, order: ChatOrder, version: models.Version, dropped: list[str], clamped: list[str]
    ) -> dict[str, Any]:
        """`generationConfig`; adds to what is dropped and clamped."""
        body, cap, choices = order.body, read_cap(order.body, order.output_cap), order.body.get("n") or 1
        config: dict[str, Any] = {} if cap is None else {"maxOutputTokens": cap}
        config |= _write_sampling(body, dropped, clamped)
        if models.takes_penalties(version):
            config |= {theirs: body[ours] for ours, theirs in PENALTIES.items() if body.get(ours) is not None}
        if models.takes_logprobs(version) and body.get("logprobs"):
            config["responseLogprobs"] = True
            if body.get("top_logprobs"):
                config["logprobs"] = body["top_logprobs"]
        if 1 < choices <= self.choices_per_call(body, order.upstream_id):
            config["candidateCount"] = choices
        field, thinking = "reasoning_effort" if body.get("thinking") is None else "thinking", read_thinking(body)
        if models.thinks(order.upstream_id):
            wanted, fitted = models.write_thinking(thinking, field, order.upstream_id, cap)
            if wanted:
                config["thinkingConfig"] = wanted
            clamped += fitted
        elif thinking.on is not False:  # not to think is what these do
            asked = ("reasoning_effort", "thinking")
            dropped += [name for name in asked if body.get(name) is not None and body[name] != "none"]
        return config

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        return read_gemini_answer(data, outgoing.reading or Reading())

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> GeminiReader:
        return GeminiReader(order, outgoing.reading or Reading())

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_gemini_error(status, headers, data)


def write_path(upstream_id: str, *, stream: bool) -> str:
    """Where this model answers. Raises AttemptFailed (SETUP) for an id that would lead elsewhere."""
    model = upstream_id.removeprefix("models/")  # as Google's own list has it
    if not model or "/" in model or ".." in model:
        raise AttemptFailed(Blame.SETUP, "the upstream's model id is no id of Gemini's")
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{quote(model, safe='')}:{method}"


@functools.lru_cache(64)
def _taken(version: models.Version) -> frozenset[str]:
    taken = TAKEN | PENALTIES.keys() if models.takes_penalties(version) else TAKEN
    return taken | {"logprobs", "top_logprobs"} if models.takes_logprobs(version) else taken


def _write_sampling(body: dict[str, Any], dropped: list[str], clamped: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if body.get(ours) is not None:
            config[theirs] = body[ours]
    top_k, seed, stops = body.get("top_k"), body.get("seed"), read_stop(body)
    if type(top_k) is int and 0 < top_k <= MAX_SEED:
        config["topK"] = top_k
    elif top_k is not None:
        dropped.append("top_k")
    if seed is not None:
        config["seed"] = seed & MAX_SEED if abs(seed) > MAX_SEED else seed
        if config["seed"] != seed:
            clamped.append(f"seed={config['seed']}")
    if stops:
        config["stopSequences"] = stops[:MAX_STOPS]
        if len(stops) > MAX_STOPS:
            clamped.append(f"stop={MAX_STOPS}")
    return config


def _write_tools(body: dict[str, Any], tools: list[Tool], room: Room, names: SafeNames) -> dict[str, Any]:
    """`tools` and `toolConfig`. Raises AttemptFailed for a choice among no tools."""
    choice = read_tool_choice(body)
    if not tools:
        if choice and (choice.mode == "required" or choice.names):
            raise refuse("tool_choice", "tool_choice needs tools to choose from.")
        return {}
    out: dict[str, Any] = {"tools": [{"functionDeclarations": [_write_tool(tool, room, names) for tool in tools]}]}
    if choice:
        mode = {"auto": "VALIDATED" if choice.names else "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
        allowed = {"allowedFunctionNames": [names.write(name) for name in choice.names]} if choice.names else {}
        out["toolConfig"] = {"functionCallingConfig": {"mode": mode, **allowed}}
    return out


def _write_tool(tool: Tool, room: Room, names: SafeNames) -> dict[str, Any]:
    """A declaration. Its schema has to be an object's; one that says nothing is left out."""
    written: dict[str, Any] = {"name": names.write(tool.name)}
    if tool.description is not None:
        written["description"] = tool.description
    schema = inline_references(tool.parameters or {}, room)
    if any(value and name not in ("type", "title", "description", "required") for name, value in schema.items()):
        written["parametersJsonSchema"] = fit_parameters(schema, RULE, room)
    return written


def _ask_for_json(schema: dict[str, Any] | None) -> str:
    """The format as an instruction, for the models that refuse to have it set beside functions."""
    text = "Unless you call a function, answer with one JSON object and nothing else: no fence, no words around it."
    return (
        text if schema is None else f"{text} It has to follow this JSON schema:\n{msgspec.json.encode(schema).decode()}"
    )
