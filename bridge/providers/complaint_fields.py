"""One complaint of a provider's, and the fields that providers name in them as a client of OpenAI's API knows them."""

import re
from typing import NamedTuple

TOO_LONG, POLICY, IMAGE = "context_length_exceeded", "content_policy_violation", "invalid_image"
VALUE, UNSUPPORTED, TYPE, MISSING = (
    "invalid_value",
    "unsupported_parameter",
    "invalid_type",
    "missing_required_parameter",
)
DATA_URL = "Send the picture as data:image/png;base64,…."


class Complaint(NamedTuple):
    """What is found in a provider's message, and our sentence, field and code for it. A sentence may quote groups:
    {1}, or by name. A group named `param` names the field, in the provider's words."""

    pattern: re.Pattern[str]
    message: str
    param: str | None
    code: str | None


def complaint(pattern: str, message: str, param: str | None = None, code: str | None = VALUE) -> Complaint:
    return Complaint(re.compile(pattern, re.I | re.S), message, param, code)


_PATH = re.compile(r"[\w.\[\]-]{1,120}")
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
    path = path.replace(".[", "[").removeprefix("GenerateContentRequest.")
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
