"""Anthropic's requests as the OpenAI chat bodies that mean the same: the way back, for comparing with recorded ones.

Written for the tests alone, without a line of the provider's own code."""

import base64
import json
from typing import Any


class NoEqual(Exception):
    """OpenAI's dialect has no way to ask for this; the message says why."""


def invert(sent: dict[str, Any]) -> dict[str, Any]:
    """The OpenAI body. Raises NoEqual."""
    body: dict[str, Any] = {"model": sent["model"], "messages": [], "max_tokens": sent["max_tokens"]}
    if sent.get("system"):
        body["messages"].append({"role": "system", "content": _texts(sent["system"])})
    for message in sent["messages"]:
        body["messages"] += _invert_message(message)
    for name in ("temperature", "top_p", "top_k", "stream", "thinking", "cache_control"):
        if sent.get(name) is not None:
            body[name] = sent[name]
    if sent.get("stop_sequences"):
        body["stop"] = sent["stop_sequences"]
    if sent.get("output_config", {}).get("format"):
        schema = {"name": "answer", "strict": True, "schema": sent["output_config"]["format"]["schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if sent.get("output_config", {}).get("effort"):
        body["reasoning_effort"] = sent["output_config"]["effort"]
    if sent.get("tools"):
        body["tools"] = [_invert_tool(tool) for tool in sent["tools"]]
    body |= _invert_choice(sent.get("tool_choice") or {})
    for name in ("output_format", "service_tier"):
        if name in sent:
            raise NoEqual(f"{name} is Anthropic's own")
    return body


def _texts(content: Any) -> Any:
    return content if isinstance(content, str) else [_cached(block, {"type": "text"}, "text") for block in content]


def _cached(block: dict[str, Any], out: dict[str, Any], *copied: str) -> dict[str, Any]:
    return out | {name: block[name] for name in (*copied, "cache_control") if name in block}


def _invert_message(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    if message["role"] == "assistant":
        return [_invert_assistant(content)]
    found, parts = [], []
    for block in content:
        if block["type"] == "tool_result":
            if block.get("is_error"):
                raise NoEqual("OpenAI's tool messages don't say whether the tool failed")
            said = block.get("content") or ""
            said = said if isinstance(said, str) else [_invert_part(part) for part in said]
            found.append(_cached(block, {"role": "tool", "tool_call_id": block["tool_use_id"], "content": said}))
        else:
            parts.append(_invert_part(block))
    return [*found, *([{"role": message["role"], "content": parts}] if parts else [])]


def _invert_assistant(content: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": []}
    for block in content:
        if block["type"] == "text":
            message["content"].append(_cached(block, {"type": "text"}, "text"))
        elif block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            message.setdefault("tool_calls", []).append({"id": block["id"], "type": "function", "function": function})
        elif block["type"] in ("thinking", "redacted_thinking"):
            message.setdefault("thinking_blocks", []).append(block)
        else:
            raise NoEqual("a tool that runs at Anthropic")
    message["content"] = message["content"] or None
    return message


def _invert_part(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "text":
        return _cached(block, {"type": "text"}, "text")
    if block["type"] not in ("image", "document"):
        raise NoEqual("a tool that runs at Anthropic")
    source = block["source"]
    if block["type"] == "image":
        url = source.get("url") or f"data:{source['media_type']};base64,{source['data']}"
        return _cached(block, {"type": "image_url", "image_url": {"url": url}})
    if "citations" in block or source["type"] not in ("base64", "text"):
        raise NoEqual("documents by address or stored id, and citations of them, are Anthropic's own")
    data = source["data"] if source["type"] == "base64" else base64.b64encode(source["data"].encode()).decode()
    file = {"file_data": f"data:{source['media_type']};base64,{data}"}
    if "title" in block:
        file["filename"] = block["title"]
    return _cached(block, {"type": "file", "file": file})


def _invert_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool or "defer_loading" in tool:
        raise NoEqual("a tool that runs at Anthropic")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if name in tool}
    return _cached(tool, {"type": "function", "function": function})


def _invert_choice(choice: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if choice.get("type") == "tool":
        body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif choice:
        body["tool_choice"] = "required" if choice["type"] == "any" else choice["type"]
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False
    return body


def normalise(request: dict[str, Any]) -> dict[str, Any]:
    """One way to write what Anthropic lets one write in several: texts as blocks, and nothing that says nothing."""
    out = {name: value for name, value in request.items() if value is not None and value != [] and value != ""}
    if not out.get("stream"):
        out.pop("stream", None)
    if (
        "system" in out
        and isinstance(out["system"], list)
        and not any("cache_control" in each for each in out["system"])
    ):
        out["system"] = "\n\n".join(block["text"] for block in out["system"])
    out["messages"] = [_normalise_message(message) for message in request["messages"]]
    choice = dict(out.get("tool_choice") or {})
    if choice.get("disable_parallel_tool_use") is False:
        del choice["disable_parallel_tool_use"]
        out["tool_choice"] = choice
    return out


def _normalise_message(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": [{"type": "text", "text": content}]}
    blocks = []
    for block in content:
        if block["type"] == "tool_result" and isinstance(block.get("content"), str):
            block = {**block, "content": [{"type": "text", "text": block["content"]}]}
        blocks.append({name: value for name, value in block.items() if (name, value) != ("is_error", False)})
    return {"role": message["role"], "content": blocks}
