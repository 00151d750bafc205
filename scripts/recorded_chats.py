"""Recorded exchanges with providers, each as the equivalent OpenAI chat body: our own counts are compared with them.

A folder has the exchanges as JSON, one per file: `provider`, `api`, `request` (`json`, `url_path`), `response`
(`status`, `body_text`). Only texts matter here, so the translation is rough; it is not a provider's adapter."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPENAI_DIALECT = ("openai-chat", "azure-openai-chat", "deepseek-chat", "kimi-via-host", "gemini-openai-compat-chat")
# its counts were written by hand: 107 tokens for "Hello!", where the same request has 12 next to it
INVENTED = ("testtokencounts-test-anthropic-9ab3af1c",)


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange. The counts are the provider's own, in OpenAI's meaning; `said` is the text in the answer.

    `apart` says why the prompt is more than its text (media, a tool of the provider's own, a stored cache).
    `unsaid_tokens` are the `completion_tokens` that are not in `said`; None if nobody knows how many."""

    name: str
    provider: str
    model: str
    body: dict[str, Any]
    said: list[str]
    prompt_tokens: int
    completion_tokens: int
    unsaid_tokens: int | None
    apart: str = ""

    @property
    def said_tokens(self) -> int | None:
        """The provider's count of `said` alone; None if it gave none."""
        tooled = self.apart in ("provider's tools", "stored cache")  # their calls are part of the answer
        return None if self.unsaid_tokens is None or tooled else self.completion_tokens - self.unsaid_tokens


def list_exchanges(folder: Path) -> Iterator[Exchange]:
    """Every chat in the folder that was answered with 200 and with counts."""
    for path in sorted(folder.glob("*/*.json")):
        recording = json.loads(path.read_text())
        sent, response = recording["request"]["json"], recording["response"]
        if response["status"] != 200 or not sent or path.stem in INVENTED:
            continue
        chunks, model = _read_chunks(response["body_text"]), sent.get("model", "")
        if recording["api"] in OPENAI_DIALECT:
            body, apart, answer = sent, _openai_apart(sent), _openai_answer(chunks, recording["provider"])
        elif recording["api"] == "anthropic-messages":
            body, apart, answer = _from_anthropic(sent), _anthropic_apart(sent), _anthropic_answer(chunks)
        elif recording["api"] in ("gemini-generate", "gemini-stream"):
            model = re.sub(r":\w+$", "", recording["request"]["url_path"].partition("?")[0]).rpartition("/")[2]
            body, apart, answer = _from_gemini(sent), _gemini_apart(sent), _gemini_answer(chunks)
        else:
            continue
        if answer is not None:
            said, prompt, completion, unsaid = answer
            body = {**body, "model": model or "unnamed"}
            yield Exchange(path.stem, recording["provider"], model, body, said, prompt, completion, unsaid, apart)


def _read_chunks(text: str) -> list[dict[str, Any]]:
    """The answer's JSON: one object, a list of them, or the events of a stream."""
    if text.lstrip()[:1] in ("{", "["):
        found = json.loads(text)
        return found if isinstance(found, list) else [found]
    lines = (line[5:].strip() for line in text.splitlines() if line.startswith("data:"))
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


Answer = tuple[list[str], int, int, int | None]


# OpenAI's dialect


def _openai_apart(sent: dict[str, Any]) -> str:
    parts = [part for message in sent["messages"] for part in message.get("content") or () if isinstance(part, dict)]
    if any(part["type"] not in ("text", "refusal") for part in parts) or sent.get("audio"):
        return "media"
    return "provider's tools" if "web_search_options" in sent or "search" in sent["model"] else ""


def _openai_answer(chunks: list[dict[str, Any]], provider: str) -> Answer | None:
    said: list[str] = []
    usage: dict[str, Any] | None = None
    audio = False
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            message = choice.get("message") or choice.get("delta") or {}
            calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
            calls.append(message.get("function_call") or {})
            thought = message.get("reasoning_content") or message.get("reasoning")
            texts = [message.get("content"), message.get("refusal"), thought]
            texts += [call.get(field) for call in calls for field in ("name", "arguments")]
            said += [text for text in texts if isinstance(text, str)]
            audio = audio or bool(message.get("audio"))
    if not usage or usage.get("completion_tokens") is None:
        return None
    details = usage.get("completion_tokens_details") or {}
    unsaid = 0
    if provider in ("openai", "gemini"):  # these never show their thoughts
        unsaid = details.get("reasoning_tokens") or 0
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    if provider == "gemini":
        unsaid, completion = 0, usage["total_tokens"] - prompt
        unsaid = completion - usage["completion_tokens"]
    return said, prompt, completion, None if audio else unsaid


# Anthropic's


def _from_anthropic(sent: dict[str, Any]) -> dict[str, Any]:
    messages = []
    if sent.get("system"):
        messages.append({"role": "system", "content": _anthropic_text(sent["system"])})
    for message in sent["messages"]:
        messages += _anthropic_messages(message)
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool.get("description") or "",
                "parameters": tool.get("input_schema") or {},
            },
        }
        for tool in sent.get("tools") or ()
    ]
    body: dict[str, Any] = {"messages": messages, **({"tools": tools} if tools else {})}
    wanted = (sent.get("output_config") or {}).get("format") or sent.get("output_format")
    if wanted:
        body["response_format"] = _schema_format(wanted["schema"])
    return body


def _anthropic_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _anthropic_messages(message: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(message["content"], str):
        return [message]
    found: list[dict[str, Any]] = []
    calls, thoughts = [], ""
    for block in message["content"]:
        if block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": _dump(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif block["type"] == "tool_result":
            content = block.get("content") or ""
            text = content if isinstance(content, str) else _anthropic_text(content)
            found.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
        elif block["type"] == "thinking":
            thoughts += block["thinking"]
    text = _anthropic_text(message["content"])
    if message["role"] == "assistant":
        found.append({"role": "assistant", "content": text or None})
        found[-1] |= {"tool_calls": calls} if calls else {}
        found[-1] |= {"reasoning_content": thoughts} if thoughts else {}
    elif text:
        found.append({"role": message["role"], "content": text})
    return found


def _anthropic_apart(sent: dict[str, Any]) -> str:
    ours = ("text", "tool_use", "tool_result", "thinking", "redacted_thinking")
    blocks = [b for m in sent["messages"] if isinstance(m["content"], list) for b in m["content"]]
    inner = [b for block in blocks if isinstance(block.get("content"), list) for b in block["content"]]
    if any(block.get("type") in ("image", "document") for block in [*blocks, *inner]):
        return "media"
    if any(tool.get("type", "custom") != "custom" for tool in sent.get("tools") or ()):
        return "provider's tools"
    return "" if all(block["type"] in ours for block in blocks) else "provider's tools"


def _anthropic_answer(chunks: list[dict[str, Any]]) -> Answer | None:
    said: list[str] = []
    usage: dict[str, Any] = {}
    thought = False
    for chunk in chunks:
        message = chunk.get("message") or (chunk if chunk.get("type") == "message" else {})
        usage |= {name: value for name, value in ((message or chunk).get("usage") or {}).items() if value is not None}
        blocks = [*(message.get("content") or ()), chunk.get("content_block") or {}]
        for block in blocks:
            said += [block.get("text") or "", block.get("name") or ""]
            said += [_dump(block["input"])] if block.get("input") else []
            thought = thought or "thinking" in block.get("type", "")
        delta = chunk.get("delta") or {}
        said += [delta.get("text") or "", delta.get("partial_json") or ""]
    if "output_tokens" not in usage or "input_tokens" not in usage:
        return None
    prompt = sum(
        usage.get(field) or 0 for field in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    counted = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return said, prompt, usage["output_tokens"], counted if counted is not None or thought else 0


# Gemini's


def _from_gemini(sent: dict[str, Any]) -> dict[str, Any]:
    messages = []
    if sent.get("systemInstruction"):
        parts = sent["systemInstruction"].get("parts") or ()
        parts = [parts] if isinstance(parts, dict) else parts
        messages.append({"role": "system", "content": "\n".join(part.get("text") or "" for part in parts)})
    for content in sent["contents"]:
        messages += _gemini_messages(content)
    functions = [function for tool in sent.get("tools") or () for function in tool.get("functionDeclarations") or ()]
    tools = [
        {
            "type": "function",
            "function": {
                "name": function["name"],
                "description": function.get("description") or "",
                "parameters": function.get("parametersJsonSchema") or function.get("parameters") or {},
            },
        }
        for function in functions
    ]
    body: dict[str, Any] = {"messages": messages, **({"tools": tools} if tools else {})}
    config = sent.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema:
        body["response_format"] = _schema_format(schema)
    return body


def _gemini_messages(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    calls, texts = [], []
    for part in map(_camel, content.get("parts") or ()):
        if "functionCall" in part:
            call = part["functionCall"]
            function = {"name": call["name"], "arguments": _dump(call.get("args") or {})}
            calls.append({"id": call.get("id") or f"call_{len(calls)}", "type": "function", "function": function})
        elif "functionResponse" in part:
            answer = part["functionResponse"]
            text = _dump(answer["response"])
            found.append({"role": "tool", "tool_call_id": answer.get("id") or answer["name"], "content": text})
        else:
            texts.append(part.get("text") or "")
    if content.get("role") == "model":
        found.append({"role": "assistant", "content": "".join(texts) or None})
        found[-1] |= {"tool_calls": calls} if calls else {}
    elif "".join(texts):
        found.append({"role": "user", "content": "".join(texts)})
    return found


def _gemini_apart(sent: dict[str, Any]) -> str:
    parts = [_camel(part) for content in sent["contents"] for part in content.get("parts") or ()]
    if any("inlineData" in part or "fileData" in part for part in parts):
        return "media"
    tools = [{name for name, value in tool.items() if value is not None} for tool in sent.get("tools") or ()]
    if any(names - {"functionDeclarations"} for names in tools):
        return "provider's tools"
    if any(set(part) & {"executableCode", "codeExecutionResult", "toolCall", "toolResponse"} for part in parts):
        return "provider's tools"
    if any("thoughtSignature" in part for part in parts):
        return "replayed thoughts"  # they are counted and can't be read
    return "stored cache" if sent.get("cachedContent") else ""


def _gemini_answer(chunks: list[dict[str, Any]]) -> Answer | None:
    said: list[str] = []
    usage: dict[str, Any] = {}
    for chunk in chunks:
        usage = chunk.get("usageMetadata") or usage
        for candidate in chunk.get("candidates") or ():
            for part in (candidate.get("content") or {}).get("parts") or ():
                call = part.get("functionCall")
                if call:
                    said += [call["name"], _dump(call.get("args") or {})]
                elif not part.get("thought"):
                    said.append(part.get("text") or "")
    if "promptTokenCount" not in usage:
        return None
    thoughts = usage.get("thoughtsTokenCount") or 0
    prompt = usage["promptTokenCount"] + (usage.get("toolUsePromptTokenCount") or 0)
    return said, prompt, (usage.get("candidatesTokenCount") or 0) + thoughts, thoughts


def _camel(part: dict[str, Any]) -> dict[str, Any]:
    """The part with camelCase keys: some clients write snake_case, which Google accepts too."""
    return {re.sub(r"_(\w)", lambda found: found[1].upper(), name): value for name, value in part.items()}


def _schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
