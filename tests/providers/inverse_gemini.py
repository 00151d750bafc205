"""Gemini's requests as the OpenAI chat bodies that mean the same: the way back, for comparing with recorded ones.

Written for the tests alone, without a line of the provider's own code."""

import json
import re
from typing import Any

DEFAULT_MODALITIES = ["TEXT"]
SIMPLE = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "maxOutputTokens": "max_tokens",
}
SIMPLE |= {"stopSequences": "stop", "candidateCount": "n"}


class NoEqual(Exception):
    """OpenAI's dialect has no way to ask for this; the message says why."""


def normalise(sent: Any) -> Any:
    """The request in one spelling: Google takes snake and camel case, and nulls for what isn't there.

    Left out is what changes no answer of a chat: safety thresholds, text as the only modality, one candidate, the role
    of an instruction, thoughts and signatures of texts given back (optional), and empty objects."""
    out = _camel({name: value for name, value in sent.items() if name not in ("safetySettings",)})
    system = out.pop("systemInstruction", None)
    if system:
        parts = system["parts"] if isinstance(system["parts"], list) else [system["parts"]]
        if any(part["text"] for part in parts):
            out["systemInstruction"] = "\n\n".join(part["text"] for part in parts)
    out["contents"] = [
        {"role": turn.get("role", "user"), "parts": [_plain(part) for part in turn["parts"] if not _is_thought(part)]}
        for turn in out["contents"]
    ]
    config = out.pop("generationConfig", {})
    if config.get("responseModalities") == DEFAULT_MODALITIES:
        del config["responseModalities"]
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    if "responseSchema" in config:
        config["responseJsonSchema"] = as_json_schema(config.pop("responseSchema"))
    if "thinkingLevel" in config.get("thinkingConfig", {}):
        config["thinkingConfig"]["thinkingLevel"] = config["thinkingConfig"]["thinkingLevel"].lower()
    if config:
        out["generationConfig"] = config
    calling = out.get("toolConfig", {}).get("functionCallingConfig")
    if calling:
        calling["mode"] = calling["mode"].upper()
    out["tools"] = [_plain_tool(tool) for tool in out.get("tools", []) if tool]
    return {name: value for name, value in out.items() if value}


def _camel(value: Any, within: str = "") -> Any:
    """Google's own fields in camel case, without nulls. Names inside schemas, arguments and results are the user's."""
    if within in ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"):
        return value
    if isinstance(value, dict):
        named = {re.sub(r"_([a-z])", lambda m: m.group(1).upper(), name): one for name, one in value.items()}
        return {name: _camel(one, name) for name, one in named.items() if one is not None}
    return [_camel(one) for one in value] if isinstance(value, list) else value


def _is_thought(part: dict[str, Any]) -> bool:
    return bool(part.get("thought")) and "text" in part


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    dropped = ("thought", "thoughtSignature") if "text" in part else ("thought",)
    return {name: value for name, value in part.items() if name not in dropped}


def _plain_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A declaration's schema is JSON Schema; one without any property is none."""
    for function in tool.get("functionDeclarations", ()):
        schema = as_json_schema(function.pop("parameters", None) or function.pop("parametersJsonSchema", {}))
        if schema.get("properties"):
            function["parametersJsonSchema"] = schema
    return tool


def as_json_schema(schema: Any) -> Any:
    """Google's own subset of OpenAPI spells its types in capitals."""
    if isinstance(schema, list):
        return [as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: as_json_schema(value) for name, value in schema.items()}
    if isinstance(found.get("type"), str):
        found["type"] = found["type"].lower()
    return found


def invert(sent: dict[str, Any], *, stream: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The OpenAI body for a normalised request, and what the gateway would have kept of its calls. Raises NoEqual."""
    for name in ("cachedContent", "modelArmorConfig"):
        if name in sent:
            raise NoEqual(f"{name} is Google's own")
    kept: dict[str, Any] = {}
    body: dict[str, Any] = {"model": "public", "messages": _invert_contents(sent["contents"], kept)}
    if "systemInstruction" in sent:
        body["messages"].insert(0, {"role": "system", "content": sent["systemInstruction"]})
    if stream:
        body["stream"] = True
    for tool in sent.get("tools", ()):
        for name in tool.keys() - {"functionDeclarations"}:
            raise NoEqual(f"{name} runs at Google")
        functions = [_invert_function(one) for one in tool["functionDeclarations"]]
        body["tools"] = [{"type": "function", "function": one} for one in functions]
    body |= _invert_choice(sent.get("toolConfig", {}).get("functionCallingConfig", {}))
    config = sent.get("generationConfig", {})
    body |= {ours: config[theirs] for theirs, ours in SIMPLE.items() if theirs in config}
    body |= _invert_thinking(config.get("thinkingConfig", {}))
    if "responseJsonSchema" in config:
        schema = {"name": "answer", "schema": config["responseJsonSchema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif "responseMimeType" in config:
        body["response_format"] = {"type": "json_object"}
    return body, kept


def _invert_contents(contents: list[dict[str, Any]], kept: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for turn in contents:
        if turn["role"] == "model":
            made = [part for part in turn["parts"] if "functionCall" in part]
            calls = [_invert_call(part, f"call_{len(messages)}_{place}", kept) for place, part in enumerate(made)]
            texts = "".join(part["text"] for part in turn["parts"] if "text" in part)
            messages.append({"role": "assistant", "content": texts, **({"tool_calls": calls} if calls else {})})
            continue
        results = [part["functionResponse"]["response"] for part in turn["parts"] if "functionResponse" in part]
        for call, response in zip(calls, results, strict=False):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": _invert_response(response)})
        rest = [_invert_part(part) for part in turn["parts"] if "functionResponse" not in part]
        if rest:
            messages.append({"role": "user", "content": rest})
    return messages


def _invert_call(part: dict[str, Any], call_id: str, kept: dict[str, Any]) -> dict[str, Any]:
    function, signature = part["functionCall"], part.get("thoughtSignature")
    call_id = function.get("id", call_id)
    kept[call_id] = {"provider": "gemini", "signature": None, "id": function.get("id")}
    call = {"name": function["name"], "arguments": json.dumps(function["args"])}
    extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
    return {"id": call_id, "type": "function", "function": call, **extra}


def _invert_response(response: dict[str, Any]) -> str:
    if response.keys() == {"result"} and isinstance(response["result"], str):
        return str(response["result"])
    return json.dumps(response)


def _invert_part(part: dict[str, Any]) -> dict[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    media = part.get("inlineData") or part["fileData"]
    if not media["mimeType"].startswith("image/"):
        raise NoEqual("a file by its address is Google's own")
    url = media["fileUri"] if "fileUri" in media else f"data:{media['mimeType']};base64,{media['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def _invert_function(function: dict[str, Any]) -> dict[str, Any]:
    schema = {"parameters": function["parametersJsonSchema"]} if "parametersJsonSchema" in function else {}
    return {"name": function["name"], "description": function.get("description"), **schema}


def _invert_choice(calling: dict[str, Any]) -> dict[str, Any]:
    if not calling:
        return {}
    names, mode = calling.get("allowedFunctionNames", []), calling["mode"]
    if mode == "VALIDATED":
        raise NoEqual("OpenAI has no mode in which calls alone are checked")
    if len(names) == 1:
        return {"tool_choice": {"type": "function", "function": {"name": names[0]}}}
    if names:
        tools = [{"type": "function", "function": {"name": name}} for name in names]
        return {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}}
    return {"tool_choice": {"AUTO": "auto", "NONE": "none", "ANY": "required"}[mode]}


def _invert_thinking(thinking: dict[str, Any]) -> dict[str, Any]:
    if "thinkingLevel" in thinking:
        return {"reasoning_effort": thinking["thinkingLevel"]}
    if thinking.get("thinkingBudget") == 0:
        return {"reasoning_effort": "none"}
    if "thinkingBudget" in thinking:
        return {"thinking": {"type": "enabled", "budget_tokens": thinking["thinkingBudget"]}}
    return {"thinking": {"type": "enabled"}} if thinking else {}
