"""Which fields of a chat body go to an upstream of OpenAI's dialect: an allow-list, for an unknown field may choose a
model, a host, a file, a price, a queue or stored state there."""

import re
from collections.abc import Mapping

from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

# What the API documents. `thinking` is how other providers' clients ask for it, `safety_identifier` the newer `user`.
DOCUMENTED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"}
    | {"n", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user"}
    | {"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "modalities", "audio"}
    | {"prediction", "service_tier", "store", "metadata", "web_search_options", "prompt_cache_key", "verbosity"}
    | {"functions", "function_call", "safety_identifier", "thinking"}
)
_CHOICE = "chooses among the next tokens, by their odds"
_REPEATS = "makes what was said already less likely, or more"
_SHAPE = "only lets tokens through that fit a pattern; what is written stays below the cap"
_END = "says where the answer ends; the cap ends it in any case"
_LOOK = "says how tokens become text"
# What servers of the dialect share beside it, each with the reason why nothing but the answer's wording hangs on it.
SAMPLING: dict[str, str] = {
    "top_k": _CHOICE,
    "min_p": _CHOICE,
    "top_a": _CHOICE,
    "typical_p": _CHOICE,
    "tfs_z": _CHOICE,
    "epsilon_cutoff": _CHOICE,
    "eta_cutoff": _CHOICE,
    "smoothing_factor": _CHOICE,
    "smoothing_curve": _CHOICE,
    "dynatemp_range": _CHOICE,
    "dynatemp_exponent": _CHOICE,
    "mirostat": _CHOICE,
    "mirostat_tau": _CHOICE,
    "mirostat_eta": _CHOICE,
    "xtc_probability": _CHOICE,
    "xtc_threshold": _CHOICE,
    "random_seed": "is `seed` by another name",
    "repetition_penalty": _REPEATS,
    "repeat_penalty": _REPEATS,
    "repeat_last_n": _REPEATS,
    "no_repeat_ngram_size": _REPEATS,
    "length_penalty": "prefers shorter answers, or longer ones; the cap holds",
    "dry_multiplier": _REPEATS,
    "dry_base": _REPEATS,
    "dry_allowed_length": _REPEATS,
    "dry_penalty_last_n": _REPEATS,
    "dry_sequence_breakers": _REPEATS,
    "bad_words": "forbids some words",
    "allowed_token_ids": "forbids all other tokens",
    "guided_json": _SHAPE,
    "guided_regex": _SHAPE,
    "guided_choice": _SHAPE,
    "guided_grammar": _SHAPE,
    "guided_whitespace_pattern": _SHAPE,
    "structured_outputs": _SHAPE,
    "grammar": _SHAPE,
    "json_schema": _SHAPE,
    "regex": _SHAPE,
    "ebnf": _SHAPE,
    "ignore_eos": _END,
    "min_tokens": _END,
    "stop_token_ids": _END,
    "include_stop_str_in_output": _END,
    "skip_special_tokens": _LOOK,
    "spaces_between_special_tokens": _LOOK,
}
ACCEPTED = DOCUMENTED | SAMPLING.keys()
STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation"})
# What may stand in the fields that are objects, and in the objects within those; a schema is the client's own.
OBJECTS: dict[str, frozenset[str]] = {
    "response_format": frozenset({"type", "json_schema", "schema"}),
    "response_format.json_schema": frozenset({"name", "description", "schema", "strict"}),
    "tool_choice": frozenset({"type", "function", "custom", "allowed_tools", "name"}),
    "tool_choice.function": frozenset({"name"}),
    "tool_choice.custom": frozenset({"name"}),
    "tool_choice.allowed_tools": frozenset({"mode", "tools"}),
    "function_call": frozenset({"name"}),
    "prediction": frozenset({"type", "content"}),
    "audio": frozenset({"voice", "format"}),
    "structured_outputs": frozenset(
        {"json", "json_object", "regex", "choice", "grammar", "structural_tag", "whitespace_pattern"}
        | {"disable_any_whitespace", "disable_additional_properties"}
    ),
}
_PLACES = tuple((place, *place.partition(".")[::2], known) for place, known in OBJECTS.items())
_HOLDERS = frozenset(field for _, field, _, _ in _PLACES)
_CACHE_CONTROL = ("type", "ttl")

# What no operator can let through: it would undo what we do ourselves.
OURS = "is written by the gateway itself"
CAP = "would make the answer longer than the cap, or more answers than were paid for"
PRICE = "is billed apart by those that know it"
IDENTITY = "would choose who answers, or on whose account"
STATE = "would reach what is stored under the operator's account"
HOST = "would name a host, a path or code"
NEVER: dict[str, str] = {
    **dict.fromkeys(
        ("system", "systemInstruction", "system_instruction", "contents", "toolConfig", "tool_config"), OURS
    ),
    **dict.fromkeys(("generationConfig", "generation_config", "output_config", "stop_sequences", "input"), OURS),
    **dict.fromkeys(("n_predict", "num_predict", "max_new_tokens", "max_output_tokens", "max_gen_tokens"), CAP),
    **dict.fromkeys(("max_length", "max_tokens_to_sample", "num_return_sequences", "best_of", "echo"), CAP),
    **dict.fromkeys(("use_beam_search", "num_beams", "beam_width", "chat_template", "prompt_logprobs"), CAP),
    **dict.fromkeys(("options", "max_context_length", "num_ctx", "truncation_length"), CAP),
    **dict.fromkeys(("search_parameters", "enable_search", "search_options", "web_search", "plugins"), PRICE),
    **dict.fromkeys(("background", "batch", "priority", "speed", "inference_geo", "betas", "mcp_servers"), PRICE),
    **dict.fromkeys(("models", "provider", "route", "preset", "fallbacks", "transforms", "deployment"), IDENTITY),
    **dict.fromkeys(("api_base", "base_url", "api_key", "api_version", "organization", "project"), IDENTITY),
    **dict.fromkeys(("extra_body", "extra_headers", "extra_query", "headers", "authorization", "lora_name"), IDENTITY),
    **dict.fromkeys(("previous_response_id", "conversation", "container", "session_params", "session_id"), STATE),
    **dict.fromkeys(("cached_content", "cachedContent", "cache_salt", "slot_id", "id_slot", "prompt"), STATE),
    **dict.fromkeys(("file_ids", "vector_store_ids", "assistant_id", "thread_id", "safetensors_path"), STATE),
    **dict.fromkeys(("kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room"), HOST),
    **dict.fromkeys(("lora_path", "custom_logit_processor", "logits_processors", "data_parallel_rank"), HOST),
    **dict.fromkeys(("callback_url", "webhook", "webhook_url", "url", "host", "proxy", "model_path"), HOST),
}
FIELD_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,63}", re.ASCII)
MOST_PASSED = 50
MAX_DROPPED, MAX_FIELD_NAME = 64, 64
_NO_NAME = re.compile(r"[^\w.-]", re.ASCII)


def check_pass_fields(fields: list[str]) -> list[str]:
    """The fields that an operator lets through a channel, each once. Raises InvalidRequest for one that nobody may."""
    for field in fields:
        if not FIELD_NAME.fullmatch(field):
            message = f"{field[:64]!r} is no field's name: use letters, digits, underscores, dots, hyphens, up to 64."
            raise InvalidRequest(message, param="pass_fields")
        reason = NEVER.get(field) or (OURS if field in DOCUMENTED else "")
        if reason:
            raise InvalidRequest(f"{field} can't be let through: it {reason}.", param="pass_fields")
    if len(fields) > MOST_PASSED:
        raise InvalidRequest(f"At most {MOST_PASSED} fields can be let through.", param="pass_fields")
    return list(dict.fromkeys(fields))


def take_fields(body: JsonObject, more: frozenset[str]) -> tuple[JsonObject, list[str]]:
    """The body with what may go out, `more` besides, and the names of all else. Null says nothing, and some servers
    refuse it."""
    if body.keys() <= ACCEPTED and None not in body.values():
        return dict(body), []
    allowed = ACCEPTED | more
    out = {field: value for field, value in body.items() if field in allowed and value is not None}
    dropped = [show_field(field) for field, value in body.items() if field not in allowed and value is not None]
    return out, dropped[:MAX_DROPPED]


def take_passed(options: Mapping[str, Json], passes: frozenset[str], out: JsonObject) -> JsonObject:
    """What the operator lets through, for a dialect that writes its own fields: as far as `out` has none of that
    name."""
    return {field: options[field] for field in passes if field not in out and options.get(field) is not None}


def take_within(out: JsonObject, more: frozenset[str]) -> list[str]:
    """Leave in the objects of `out` what may go out, `more` besides; the names of all else."""
    dropped: list[str] = []
    if _HOLDERS.isdisjoint(out):
        return dropped
    for place, field, inner, known in _PLACES:
        outer = out.get(field)
        if not isinstance(outer, dict):
            continue
        thing = outer.get(inner) if inner else outer
        if not isinstance(thing, dict) or thing.keys() <= known:
            continue
        dropped += [
            f"{place}.{show_field(name)}"
            for name, value in thing.items()
            if name not in known and name not in more and value is not None
        ]
        kept = {name: value for name, value in thing.items() if name in known or name in more}
        out[field] = {**outer, inner: kept} if inner else kept
    return dropped


def take_cache_control(mark: JsonObject) -> JsonObject:
    """Anthropic's mark for its cache, with what its prices are known for."""
    return {field: mark[field] for field in _CACHE_CONTROL if field in mark}


def show_field(field: str) -> str:
    """A field's name as a header can hold it: names of the client's own making may be anything."""
    return _NO_NAME.sub("?", field[:MAX_FIELD_NAME])
