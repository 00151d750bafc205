"""One complaint of a provider's, and the fields that providers name in them as a client of OpenAI's API knows them."""

import re
from typing import NamedTuple

from bridge.json_types import Json

TOO_LONG, POLICY, IMAGE = "context_length_exceeded", "content_policy_violation", "invalid_image"
TOO_LARGE = "request_too_large"
VALUE, UNSUPPORTED, TYPE, MISSING = (
    "invalid_value",
    "unsupported_parameter",
    "invalid_type",
    "missing_required_parameter",
)
DATA_URL = "Send the picture as data:image/png;base64,…."


class Complaint(NamedTuple):
    """What is found in a provider's message, and our sentence, field and code for it. A sentence may quote groups:
    {1}, or by name. A group named `param` names the field, in the provider's words; one named
    `place` does it in Pydantic's.

    `sure`: nobody says this of anything but a request, so it counts whatever the status is. What isn't sure counts
    where the status says already that the request is at fault."""

    pattern: re.Pattern[str]
    message: str
    param: str | None
    code: str | None
    sure: bool


def complaint(
    pattern: str, message: str, param: str | None = None, code: str | None = VALUE, sure: bool = True
) -> Complaint:
    return Complaint(re.compile(pattern, re.I | re.S), message, param, code, sure)


def list_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PATH = re.compile(r"[\w.\[\]$-]{1,120}")
_STEP = re.compile(r"\.?([A-Za-z$][\w$]*)|\.?(\d{1,6})(?![\w$])|\[(\d{1,6})\]")
# The fields that a request has, ours and other servers' of the dialect. `model` is none: the operator chose it.
FIELDS_OF_REQUESTS = list_words(
    "messages stream stream_options max_tokens max_completion_tokens temperature top_p top_k top_a min_p typical_p n "
    "best_of "
    "stop seed presence_penalty frequency_penalty repetition_penalty repeat_penalty length_penalty min_tokens "
    "logit_bias logprobs top_logprobs user tools tool_choice parallel_tool_calls response_format reasoning_effort "
    "reasoning modalities audio prediction service_tier store metadata web_search_options prompt_cache_key verbosity "
    "functions function_call prompt input dimensions encoding_format thinking instructions text size quality image "
    "mask background output_format extra_body ignore_eos stop_token_ids bad_words include_stop_str_in_output "
    "skip_special_tokens spaces_between_special_tokens guided_json guided_regex guided_choice guided_grammar "
    "guided_decoding_backend chat_template_kwargs enable_thinking thinking_budget prompt_logprobs echo suffix "
    "add_generation_prompt continue_final_message safety_identifier cache_control truncation"
)
# What else may stand in a path, or in a sentence about a request: parts of messages, tools and schemas.
PARTS_OF_REQUESTS = list_words(
    "role content type image_url url detail input_audio data format file file_id file_data filename tool_calls "
    "tool_call_id id function name arguments description parameters strict json_schema json_object schema refusal "
    "reasoning_content index include_usage input_schema source media_type base64 budget_tokens effort tool_use "
    "tool_result tool_use_id is_error redacted_thinking signature system developer assistant custom contents parts "
    "additionalProperties anyOf oneOf allOf enum const items properties required pattern minItems maxItems minLength "
    "maxLength minimum maximum multipleOf prefixItems patternProperties exclusiveMinimum exclusiveMaximum $schema $ref "
    "$defs ephemeral ttl document thinking_budget max_new_tokens context_length image_urls video_url audio_url "
    "input_text output_text input_image input_file text_config allowed_tools mode inputs max_seq_len prompt_tokens "
    "completion_tokens context_window logit input_tokens output_tokens"
)
# Kinds of message and of part, which FastAPI names within a place: those that it tried to read it as.
_TRIED = list_words("system developer user assistant tool function text image_url input_audio file refusal")
# By the names that stand anywhere in a path, the first that fits.
_NAMES = {
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "max_completion_tokens": "max_completion_tokens",
    "max_tokens": "max_tokens",
    "stop_sequences": "stop",
    "stopSequences": "stop",
    "effort": "reasoning_effort",
    "reasoning_effort": "reasoning_effort",
    "thinking_level": "reasoning_effort",
    "thinkingLevel": "reasoning_effort",
    "thinking_config": "reasoning_effort",
    "thinkingConfig": "reasoning_effort",
    "thinking": "thinking",
    "response_schema": "response_format",
    "responseSchema": "response_format",
    "response_json_schema": "response_format",
    "responseJsonSchema": "response_format",
    "response_mime_type": "response_format",
    "responseMimeType": "response_format",
    "output_config": "response_format",
    "output_format": "response_format",
    "candidate_count": "n",
    "candidateCount": "n",
    "topP": "top_p",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "tool_config": "tool_choice",
    "toolConfig": "tool_choice",
    "function_calling_config": "tool_choice",
    "tool_choice": "tool_choice",
    "user_id": "user",
    "safety_identifier": "user",
    "system": "messages",
    "system_instruction": "messages",
    "systemInstruction": "messages",
    "contents": "messages",
    "input": "messages",
}
_TOOL = re.compile(r"tools(?:\[(\d+)\]|\.(\d+))(.*)")
_DECLARATION = re.compile(r"function_?declarations\[(\d+)\]", re.I)
_PART_OF_TOOL = (
    (
        re.compile(r"\b(?:input_schema|parameters|parametersJsonSchema|parameters_json_schema)\b"),
        ".function.parameters",
    ),
    (re.compile(r"\bname\b"), ".function.name"),
    (re.compile(r"\bdescription\b"), ".function.description"),
)


def our_param(path: str | None) -> str | None:
    """The client's name for it; None for what is no field's name. Turns are merged on the way to some providers, so a
    place in their conversation (which they write with dots, or call contents) is none in the client's."""
    if path is None or not _PATH.fullmatch(path):
        return None
    return keep_known(_translate(path.replace(".[", "[").removeprefix("GenerateContentRequest.")))


def keep_known(path: str) -> str | None:
    """The path as far as its names are known ones; None where the first is none of a request's fields."""
    kept, place = "", 0
    while found := _STEP.match(path, place):
        name = found.group(1)
        if name is not None and name not in (PARTS_OF_REQUESTS | FIELDS_OF_REQUESTS if kept else FIELDS_OF_REQUESTS):
            break
        if name is None and not kept:
            break
        kept += found.group(0)
        place = found.end()
    return kept or None


def _translate(path: str) -> str:
    if found := _TOOL.match(path):
        return _our_tool(found.group(1) or found.group(2), found.group(3))
    if re.match(r"messages\.\d", path):
        return "messages"
    if path.startswith(("messages", "response_format")):
        return path
    first = re.split(r"[.\[]", path)[0]
    for name in (first, *re.split(r"[.\[\]]+", path)[1:]):
        if name in _NAMES:
            return _NAMES[name]
    return path


def _our_tool(index: str, rest: str) -> str:
    if declared := _DECLARATION.search(rest):
        index, rest = declared.group(1), rest[declared.end() :]
    if rest.startswith(".function"):
        return f"tools[{index}]{rest}"
    return f"tools[{index}]" + next((part for pattern, part in _PART_OF_TOOL if pattern.search(rest)), "")


def param_of_place(place: tuple[Json, ...]) -> str | None:
    """FastAPI's `loc` as a field's path: without what it says of the types that were tried."""
    known = FIELDS_OF_REQUESTS | PARTS_OF_REQUESTS
    steps = [
        step
        for step in place[1 if place[:1] == ("body",) else 0 :]
        if type(step) is int or (isinstance(step, str) and step in known)
    ]
    path = ""
    for i, step in enumerate(steps):
        tried = i > 1 and i + 1 < len(steps) and steps[i - 2] in ("messages", "content") and type(steps[i - 1]) is int
        if type(step) is int and path:
            path += f"[{step}]"
        elif tried and step in _TRIED:
            continue
        elif isinstance(step, str) and (path or step in FIELDS_OF_REQUESTS):
            path += f".{step}" if path else step
    return our_param(path) if path else None
