"""What DeepSeek and Moonshot share: OpenAI's dialect with less in it. Roles, texts, legacy functions, tool choices,
JSON by instruction, and the reasoning that either wants back with an earlier tool call."""

from collections.abc import Mapping

import msgspec

from bridge.conversation.request import ToolChoice
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import read_schema, read_tool_choice, wants_json
from bridge.providers.base import Order, refuse
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.provider import OpenAICompatible

UNSUPPORTED = "unsupported_parameter"
NO_REASONING = " "  # what both take where nobody knows what was thought
# Fields of OpenAI's that neither has an equal for.
UNKNOWN: tuple[str, ...] = (
    "seed",
    "logit_bias",
    "service_tier",
    "store",
    "metadata",
    "prediction",
    "modalities",
    "audio",
    "verbosity",
)
UNKNOWN += ("parallel_tool_calls", "web_search_options")
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
JSON_WANTED = "Answer with one JSON object and nothing else."
SCHEMA_WANTED = "Answer with one JSON object that follows this JSON schema, and with nothing else:\n"


# What a message may tell of thoughts, and the fields in which neither provider is told them.
THOUGHTS = frozenset({"reasoning_content", "reasoning", "reasoning_details"})
_ELSEWHERE = frozenset({"function_call", "reasoning", "reasoning_details"})


class Sibling(OpenAICompatible):
    """A provider of OpenAI's dialect that thinks aloud, and knows less than OpenAI."""

    keeps_reasoning = True
    most_stops: int
    message_fields: frozenset[str]

    def known_fields(self, upstream_id: str) -> frozenset[str]:
        return self.message_fields

    def check_part(self, part: JsonObject, place: str, upstream_id: str) -> None:
        """Raises AttemptFailed (see `refuse`) for a part of a message that the model can't take."""
        raise NotImplementedError

    def takes_parts(self, upstream_id: str) -> bool:
        """Whether a message's content may be a list of texts."""
        return True

    def write_messages(self, draft: Draft, thinks: bool) -> None:
        """The conversation as this provider takes it; where it is so already, it goes out as it was written once."""
        order = draft.order
        writer = _Writer(self, order, thinks)
        written = [writer.write(message, f"messages[{i}]") for i, message in enumerate(draft.messages)]
        if any(new is not old for new, old in zip(written, draft.messages, strict=True)):
            draft.write_messages(written)

    def write_tools(self, draft: Draft) -> ToolChoice | None:
        """Tools and their choice in today's words. Returns the choice, None where there is none to be made."""
        out, conversation = draft.out, draft.order.conversation
        for tool in conversation.tools:
            if tool.custom is not None:
                raise refuse(tool.place, f"{tool.place}: this model takes function tools only.", UNSUPPORTED)
        choice = read_tool_choice(conversation)
        if conversation.legacy:
            draft.legacy = True
            out["tools"] = [{"type": "function", "function": function} for function in out.pop("functions")]
            out.pop("function_call", None)
            draft.drop("tool_choice")
        else:
            draft.drop("functions", "function_call")
        if choice is None or not out.get("tools"):
            return choice
        if choice.listed:  # which only OpenAI knows
            names = frozenset(choice.names)
            out["tools"] = [tool for tool in out["tools"] if tool["function"]["name"] in names]
            if not out["tools"]:
                raise refuse("tool_choice", "tool_choice allows only tools that are not offered.")
        if choice.names and not choice.listed:
            out["tool_choice"] = {"type": "function", "function": {"name": choice.names[0]}}
        else:
            out["tool_choice"] = choice.mode
        return choice

    def write_format(self, draft: Draft, native_schema: bool, names_json: bool) -> None:
        """The answer's format. Without schemas of its own a provider is told the schema; `names_json`: the word has to
        be in the prompt where any JSON is wanted."""
        conversation = draft.order.conversation
        schema = read_schema(conversation)
        if schema is not None and not native_schema:
            draft.clamp("response_format", {"type": "json_object"}, "json_object")
            _instruct(draft, SCHEMA_WANTED + msgspec.json.encode(schema).decode())
        elif (
            names_json
            and wants_json(conversation)
            and b"json" not in msgspec.json.encode(draft.out["messages"]).lower()
        ):
            _instruct(draft, JSON_WANTED)

    def write_stop(self, draft: Draft, most_bytes: int | None = None) -> None:
        """As many stop sequences as the provider takes. One that is too long can't be brought into bounds."""
        stops = draft.order.conversation.stop
        fitting = [stop for stop in stops if most_bytes is None or len(stop.encode()) <= most_bytes]
        if len(fitting) < len(stops):
            draft.drop("stop")
        if len(fitting) > self.most_stops:
            fitting = fitting[: self.most_stops]
            draft.clamped.append(f"stop={self.most_stops}")
        if fitting and fitting != draft.out.get("stop") and not isinstance(draft.out.get("stop"), str):
            draft.out["stop"] = fitting
        elif not fitting:
            draft.out.pop("stop", None)


class _Writer:
    """Writes one message after the other, since a legacy result is told by the call before it."""

    def __init__(self, provider: Sibling, order: Order, thinks: bool):
        self._provider = provider
        self._upstream_id = order.upstream_id
        self._kept = order.kept
        self._thinks = thinks
        self._takes_parts = provider.takes_parts(order.upstream_id)
        self._legacy_ids: dict[str, str] = {}

    def write(self, message: JsonObject, place: str) -> JsonObject:
        """The message, the very same one where nothing about it has to change."""
        role, changed = message["role"], JsonObject()
        if role == "developer":
            changed["role"] = "system"
        if isinstance(message.get("content"), list):
            parts = self._write_parts(message["content"], place)
            if parts is not message["content"]:
                changed["content"] = parts
        if role == "function":
            name = message["name"]
            call_id = self._legacy_ids.get(name, f"call_{name}")
            return {"role": "tool", "tool_call_id": call_id, "content": message.get("content") or ""}
        if role == "assistant":
            changed |= self._write_assistant(message, place)
        written = {**message, **changed} if changed else message
        if _ELSEWHERE.isdisjoint(written):
            return written
        return {field: value for field, value in written.items() if field not in _ELSEWHERE}

    def _write_parts(self, parts: list[JsonObject], place: str) -> list[JsonObject] | str:
        written = []
        for j, part in enumerate(parts):
            if part["type"] == "refusal":
                part = {"type": "text", "text": part["refusal"]}
            elif part["type"] != "text":
                self._provider.check_part(part, f"{place}.content[{j}]", self._upstream_id)
            written.append(part)
        if not self._takes_parts:
            return "\n".join(part["text"] for part in written)
        return parts if all(new is old for new, old in zip(written, parts, strict=True)) else written

    def _write_assistant(self, message: JsonObject, place: str) -> JsonObject:
        changed: JsonObject = {}
        calls = message.get("tool_calls") or []
        for j, call in enumerate(calls):
            if not call.get("function"):
                here = f"{place}.tool_calls[{j}]"
                raise refuse(here, f"{here}: this model takes calls of functions only.", UNSUPPORTED)
        legacy = message.get("function_call")
        if legacy and not calls:
            call_id = f"call_{len(self._legacy_ids)}_{place[9:-1]}"
            self._legacy_ids[legacy["name"]] = call_id
            changed["tool_calls"] = calls = [{"id": call_id, "type": "function", "function": legacy}]
        if calls and message.get("content") is None:
            changed["content"] = ""  # the field has to be there
        if calls and self._thinks:
            told, kept = message.get("reasoning_content"), find_kept(self._kept, self._provider.name, calls)
            if not told:
                changed["reasoning_content"] = _own_thoughts(message) or kept or NO_REASONING
            elif isinstance(told, str) and told != kept and kept.endswith(told):
                changed["reasoning_content"] = kept  # OpenAI's SDK for Node keeps the last piece of a stream alone
        return changed


def _own_thoughts(message: JsonObject) -> str:
    """What the client gives back of the model's thinking, in the words of other hosts of these models."""
    thoughts, details = message.get("reasoning"), message.get("reasoning_details")
    if isinstance(thoughts, str) and thoughts:
        return thoughts
    texts = [detail.get("text") for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    return "".join(text for text in texts if isinstance(text, str))


def find_kept(kept: Mapping[str, Json], provider: str, calls: list[JsonObject]) -> str:
    """What this provider thought before these calls, as far as we kept it; else ""."""
    for call in calls:
        value = kept.get(call["id"])
        if isinstance(value, dict) and value.get("provider") == provider and isinstance(value.get("reasoning"), str):
            return str(value["reasoning"])
    return ""


def _instruct(draft: Draft, text: str) -> None:
    """Add to the system's message, or make one: the client's own messages stay as they are."""
    messages, first = draft.messages, draft.messages[0]
    if first["role"] != "system":
        draft.write_messages([{"role": "system", "content": text}, *messages])
        return
    content = first["content"]
    content = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    draft.write_messages([{**first, "content": content}, *messages[1:]])
