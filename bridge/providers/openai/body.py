"""A chat body written from a Conversation, for clients that speak another dialect: as OpenAI's own clients would have
written it. What of it a provider takes is seen to afterwards, as with any client's."""

from collections.abc import Sequence

from bridge.conversation.request import Conversation, Tool, ToolChoice
from bridge.conversation.turns import Call, Media, Result, Text, Thoughts, Turn, Untold
from bridge.json_types import Json, JsonObject
from bridge.providers.base import refuse
from bridge.providers.sides import refuse_untold

FAILED = "Error: "  # before what a tool says that failed


def write_body(conversation: Conversation) -> JsonObject:
    """All that the values say. Neither `model` nor the counts of a stream are for it to choose."""
    body: JsonObject = {"model": conversation.model, "messages": _write_messages(conversation)}
    if conversation.stream:
        body["stream"] = True
    if conversation.sent_cap is not None:
        body["max_tokens"] = conversation.sent_cap[1]
    if conversation.choices > 1:
        body["n"] = conversation.choices
    if conversation.stop:
        body["stop"] = list(conversation.stop)
    body |= _write_tools(conversation)
    if conversation.format is not None:
        wanted, definition = conversation.format, conversation.format.definition
        body["response_format"] = {"type": wanted.kind, **_given("json_schema", definition)}
    if (thinking := conversation.thinking) is not None:
        budget, display = _given("budget_tokens", thinking.budget_tokens), _given("display", thinking.display)
        body["thinking"] = {"type": thinking.kind, **budget, **display}
    body.update(_given("reasoning_effort", conversation.effort))
    body.update(conversation.options)
    return body


def _given(field: str, value: Json) -> JsonObject:
    return {} if value is None else {field: value}


def _write_messages(conversation: Conversation) -> list[JsonObject]:
    messages: list[JsonObject] = []
    for turn in conversation.turns:
        if turn.role == "assistant":
            messages.append(_write_assistant(turn))
        elif turn.role == "system":
            messages.append({"role": "system", "content": _write_content(turn.parts)})
        else:
            messages += _write_user(turn)
    return messages


def _write_user(turn: Turn) -> list[JsonObject]:
    """Results are messages of their own, right behind their calls; then what else the user says."""
    results = [_write_result(part) for part in turn.parts if isinstance(part, Result)]
    others = [part for part in turn.parts if not isinstance(part, Result)]
    return [*results, {"role": "user", "content": _write_content(others)}] if others or not results else results


def _write_result(result: Result) -> JsonObject:
    content = _write_content(_tell_failure(result.parts) if result.is_error else result.parts) or ""
    if result.legacy:
        return {"role": "function", "name": result.name, "content": content}
    cache, name = _given("cache_control", result.cache), _given("name", result.name)
    return {"role": "tool", "tool_call_id": result.call_id, "content": content, **name, **cache}


def _tell_failure(parts: Sequence[Text | Media]) -> list[Text | Media]:
    """What a tool said that failed, and that it did."""
    first = parts[0] if parts else None
    if isinstance(first, Text):
        return [Text(FAILED + first.text, first.cache), *parts[1:]]
    return [Text(FAILED), *parts]


def _write_assistant(turn: Turn) -> JsonObject:
    said = [part for part in turn.parts if isinstance(part, Text)]
    message: JsonObject = {"role": "assistant", "content": _write_content(said) if said else None}
    calls = []
    for part in turn.parts:
        if isinstance(part, Thoughts):
            if part.text:
                message["reasoning_content"] = message.get("reasoning_content", "") + part.text
            if part.blocks:
                message["thinking_blocks"] = [*message.get("thinking_blocks", ()), *part.blocks]
        elif isinstance(part, Call) and part.legacy:
            message["function_call"] = {"name": part.name, "arguments": part.arguments}
        elif isinstance(part, Call):
            calls.append(_write_call(part))
    return {**message, "tool_calls": calls} if calls else message


def _write_call(call: Call) -> JsonObject:
    if call.custom is not None:
        return dict(call.custom)
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, **_given("extra_content", call.extra)}


def _write_content(parts: Sequence[Json]) -> str | list[JsonObject]:
    """One text as itself, anything else in parts."""
    first = parts[0] if parts else None
    if len(parts) == 1 and isinstance(first, Text) and first.cache is None and not first.refusal:
        return first.text
    return [_write_part(part) for part in parts]


def _write_part(part: Text | Media | Untold) -> JsonObject:
    if isinstance(part, Untold):
        raise refuse_untold(part)
    cache = _given("cache_control", part.cache)
    if isinstance(part, Media):
        return {**_write_media(part), **cache}
    if part.refusal:
        return {"type": "refusal", "refusal": part.text, **cache}
    return {"type": "text", "text": part.text, **cache}


def _write_media(media: Media) -> JsonObject:
    source = f"data:{media.media_type};base64,{media.source}" if media.media_type else media.source
    if media.kind == "image":
        return {"type": "image_url", "image_url": {"url": source, **_given("detail", media.detail)}}
    if media.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": media.source, "format": media.sound_format}}
    if media.linked:
        message = f"{media.source_place}: this model reads no linked documents. Send the document itself, as base64."
        raise refuse(media.source_place, message)
    name = _given("filename", media.name or None)
    return {"type": "file", "file": {"file_id" if media.stored else "file_data": source, **name}}


def _write_tools(conversation: Conversation) -> JsonObject:
    """Tools or, from clients that spoke so, legacy functions; the choice among them."""
    tools = [_write_tool(tool) for tool in conversation.tools if not tool.legacy]
    functions = [_write_definition(tool) for tool in conversation.tools if tool.legacy]
    body: JsonObject = {**_given("tools", tools or None), **_given("functions", functions or None)}
    if (choice := conversation.tool_choice) is not None:
        body[choice.place] = _write_choice(choice)
    return body | _given("parallel_tool_calls", conversation.parallel_calls)


def _write_tool(tool: Tool) -> JsonObject:
    if tool.dialect:
        raise refuse(f"{tool.place}.type", f"{tool.place}.type: this model has no such tool.", "unsupported_parameter")
    if tool.custom is not None:
        return dict(tool.custom)
    return {"type": "function", "function": _write_definition(tool), **_given("cache_control", tool.cache)}


def _write_definition(tool: Tool) -> JsonObject:
    described, parameters = _given("description", tool.description), _given("parameters", tool.parameters)
    return {"name": tool.name, **described, **parameters, **({"strict": True} if tool.strict else {})}


def _write_choice(choice: ToolChoice) -> Json:
    if not choice.names:
        return choice.mode
    if choice.place == "function_call":
        return {"name": choice.names[0]}
    named = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.listed:
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
    return named[0]
