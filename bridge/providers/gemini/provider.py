"""Google's Gemini: requests in its own dialect (`generateContent`), and the provider itself."""

import functools
from collections.abc import Mapping

import msgspec

from bridge.conversation.answer import Completion
from bridge.conversation.kinds import EMBEDDINGS
from bridge.conversation.request import Conversation, Tool
from bridge.json_types import JsonObject
from bridge.providers.asked import (
    find_cap,
    list_called_tools,
    list_dropped,
    list_functions,
    read_schema,
    read_thinking,
    read_tool_choice,
    wants_json,
)
from bridge.providers.base import AttemptFailed, ModelPage, Order, Outgoing, StreamOrder, Translator, refuse
from bridge.providers.gemini import models as models
from bridge.providers.gemini.answers import GeminiReader, Reading, read_gemini_answer
from bridge.providers.gemini.contents import write_contents
from bridge.providers.gemini.embeddings import GeminiEmbeddings
from bridge.providers.gemini.errors import read_gemini_error
from bridge.providers.gemini.paths import write_path
from bridge.providers.json_schema import Room, inline_references
from bridge.providers.model_lists import read_gemini_list, write_gemini_path
from bridge.providers.openai.provider import list_unknown_inside
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.token_scale import GEMINI
from bridge.providers.tool_names import GEMINI_NAMES, SafeNames
from bridge.providers.tool_schemas import ToolRule, fit_parameters

RULE = ToolRule(GEMINI_NAMES, plain_root=True)
WHOLE, STREAM = "generateContent", "streamGenerateContent?alt=sse"
MAX_CANDIDATES = 8
MAX_STOPS = 5
MAX_SEED = 2**31 - 1
# The options that go out, or that are refused.
TAKEN = frozenset({"temperature", "top_p", "seed", "top_k", "cache_control", "web_search_options"})
PENALTIES = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


class Gemini:
    name = "gemini"
    label = "Google"
    base_url = "https://generativelanguage.googleapis.com"
    token_scales = GEMINI
    fetches_any_link = True
    hour_write_times_input: int | None = None
    stands_in = False
    trial_model: str | None = None
    translators: Mapping[str, Translator] = {EMBEDDINGS: GeminiEmbeddings()}

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def write_list(self, after: str) -> Outgoing:
        return Outgoing(write_gemini_path(after), b"")

    def read_list(self, data: bytes) -> ModelPage:
        return read_gemini_list(data)

    def wants_reasoning(self, upstream_id: str, wire: str = "") -> bool:
        return True

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        """Several only in a whole answer of the older generations."""
        several = not conversation.stream and models.takes_candidates(models.read_version(upstream_id))
        return MAX_CANDIDATES if several else 1

    def write_request(self, order: Order) -> Outgoing:
        """The request for `generateContent`. Raises AttemptFailed for what this model can't take."""
        conversation = order.conversation
        options, path = conversation.options, write_path(order.upstream_id, STREAM if conversation.stream else WHOLE)
        version = models.read_version(order.upstream_id)
        if options.get("web_search_options") is not None:
            raise refuse("web_search_options", "This model is not offered with web search.", "unsupported_parameter")
        clamped: list[str] = []
        taken = _taken(version) | order.passes if order.passes else _taken(version)
        tools, dropped = list_functions(conversation), list_dropped(options, taken)
        dropped += list_unknown_inside(order)
        names = SafeNames([*(tool.name for tool in tools), *list_called_tools(conversation)], RULE.names)
        system, contents = write_contents(conversation, order.kept, tools, version, names)
        out: JsonObject = {"contents": contents}
        config = self._write_config(order, version, dropped, clamped)
        room = Room()
        out |= _write_tools(conversation, tools, room, names)
        instructed = False
        if (schema := read_schema(conversation)) is not None or wants_json(conversation):
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
            out |= take_passed(options, order.passes, out)
        reading = Reading(
            legacy=conversation.legacy,
            one_call=conversation.parallel_calls is False,
            fenced=instructed,
            offered=frozenset(names.write(tool.name) for tool in tools),
            names=names.originals,
        )
        return Outgoing(path, msgspec.json.encode(out), (), tuple(dropped), tuple(clamped), reading)

    def _write_config(
        self, order: Order, version: models.Version, dropped: list[str], clamped: list[str]
    ) -> JsonObject:
        """`generationConfig`; adds to what is dropped and clamped."""
        conversation, options = order.conversation, order.conversation.options
        cap, choices = find_cap(conversation, order.output_cap), 1 if order.single else conversation.choices
        config: JsonObject = {} if cap is None else {"maxOutputTokens": cap}
        config |= _write_sampling(conversation, dropped, clamped)
        if models.takes_penalties(version):
            config |= {theirs: options[ours] for ours, theirs in PENALTIES.items() if options.get(ours) is not None}
        if models.takes_logprobs(version) and options.get("logprobs"):
            config["responseLogprobs"] = True
            if options.get("top_logprobs"):
                config["logprobs"] = options["top_logprobs"]
        if 1 < choices <= self.choices_per_call(conversation, order.upstream_id):
            config["candidateCount"] = choices
        field, thinking = (
            "reasoning_effort" if conversation.thinking is None else "thinking",
            read_thinking(conversation),
        )
        if models.thinks(order.upstream_id):
            wanted, fitted = models.write_thinking(thinking, field, order.upstream_id, cap)
            if wanted:
                config["thinkingConfig"] = wanted
            clamped += fitted
        elif thinking.on is not False:  # not to think is what these do
            asked = (("reasoning_effort", conversation.effort), ("thinking", conversation.thinking))
            dropped += [name for name, said in asked if said is not None and said != "none"]
        return config

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        return read_gemini_answer(data, _reading_of(outgoing))

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> GeminiReader:
        return GeminiReader(order, _reading_of(outgoing))

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_gemini_error(status, headers, data)


@functools.lru_cache(64)
def _taken(version: models.Version) -> frozenset[str]:
    taken = TAKEN | PENALTIES.keys() if models.takes_penalties(version) else TAKEN
    return taken | {"logprobs", "top_logprobs"} if models.takes_logprobs(version) else taken


def _write_sampling(conversation: Conversation, dropped: list[str], clamped: list[str]) -> JsonObject:
    config: JsonObject = {}
    options, stops = conversation.options, conversation.stop
    for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if options.get(ours) is not None:
            config[theirs] = options[ours]
    top_k, seed = options.get("top_k"), options.get("seed")
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


def _write_tools(conversation: Conversation, tools: list[Tool], room: Room, names: SafeNames) -> JsonObject:
    """`tools` and `toolConfig`. Raises AttemptFailed for a choice among no tools."""
    choice = read_tool_choice(conversation)
    if not tools:
        if choice and (choice.mode == "required" or choice.names):
            raise refuse("tool_choice", "tool_choice needs tools to choose from.")
        return {}
    out: JsonObject = {"tools": [{"functionDeclarations": [_write_tool(tool, room, names) for tool in tools]}]}
    if choice:
        mode = {"auto": "VALIDATED" if choice.names else "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
        allowed = {"allowedFunctionNames": [names.write(name) for name in choice.names]} if choice.names else {}
        out["toolConfig"] = {"functionCallingConfig": {"mode": mode, **allowed}}
    return out


def _write_tool(tool: Tool, room: Room, names: SafeNames) -> JsonObject:
    """A declaration. Its schema has to be an object's; one that says nothing is left out."""
    written: JsonObject = {"name": names.write(tool.name)}
    if tool.description is not None:
        written["description"] = tool.description
    schema = inline_references(tool.parameters or {}, room)
    if any(value and name not in ("type", "title", "description", "required") for name, value in schema.items()):
        written["parametersJsonSchema"] = fit_parameters(schema, RULE, room)
    return written


def _ask_for_json(schema: JsonObject | None) -> str:
    """The format as an instruction, for the models that refuse to have it set beside functions."""
    text = "Unless you call a function, answer with one JSON object and nothing else: no fence, no words around it."
    return (
        text if schema is None else f"{text} It has to follow this JSON schema:\n{msgspec.json.encode(schema).decode()}"
    )


def _reading_of(outgoing: Outgoing) -> Reading:
    """What the request's writer left for the answer's reader."""
    return outgoing.reading if isinstance(outgoing.reading, Reading) else Reading()
