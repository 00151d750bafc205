"""Messages for an upstream of OpenAI's dialect: the fields that belong there, no empty turns, pictures where the
dialect has a place for them. Nearly all conversations are so already, and go out as the client wrote them."""

from collections.abc import Mapping

from bridge.json_types import Json, JsonObject
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.request_fields import show_field
from bridge.providers.openai.sound import are_sound

PLAIN = ("user", "system", "assistant")  # roles of messages which may have nothing but their text
OPENING = "Continue."  # the user's words where there are none and the provider insists on some
SEE_BELOW = "(The picture is in the next message.)"
_FIELDS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls", "function_call"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),
}
_PART_FIELDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "refusal": frozenset({"type", "refusal"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file"}),
}
_MEDIA_FIELDS: Mapping[str, frozenset[str]] = {
    "image_url": frozenset({"url", "detail"}),
    "input_audio": frozenset({"data", "format"}),
    "file": frozenset({"file_data", "filename", "file_id"}),  # the last one is refused at the door
}
_CALL_FIELDS = frozenset({"id", "type", "function", "custom"})
_FUNCTION_FIELDS = frozenset({"name", "arguments", "input"})
# What our own answers, and those of other gateways, carry along and clients give back: not worth a word where the
# provider doesn't know it.
_GIVEN_BACK = frozenset(
    {"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "extra_content", "annotations", "index"}
    | {"cache_control", "audio"}
)


def are_plain(messages: list[JsonObject]) -> bool:
    """Whether each of them is a role and its words, and no more."""
    for message in messages:
        content = message.get("content")
        if len(message) != 2 or message["role"] not in PLAIN or type(content) is not str or not content[:64].strip():
            return False
    return True


def clean_messages(draft: Draft, known: frozenset[str]) -> None:
    """Take out what doesn't belong into a message, its parts and its calls, and name it; `known` are fields that this
    provider knows beside OpenAI's. Each message keeps its place."""
    draft.sound = are_plain(draft.messages) or are_sound(draft.messages, "reasoning_content" in known)
    if draft.sound:
        return
    cleaner = _Cleaner(draft, known)
    cleaned = [cleaner.clean(message, f"messages[{place}]") for place, message in enumerate(draft.messages)]
    if any(new is not old for new, old in zip(cleaned, draft.messages, strict=True)):
        draft.write_messages(cleaned)


class _Cleaner:
    def __init__(self, draft: Draft, known: frozenset[str]):
        self._draft = draft
        self._known = known

    def clean(self, message: JsonObject, place: str) -> JsonObject:
        """The message, the very same one where nothing about it has to change."""
        message = self._pick(message, _FIELDS[message["role"]], place)
        changed: JsonObject = {}
        content, calls = message.get("content"), message.get("tool_calls")
        if isinstance(content, list):
            parts = [self._clean_part(part, f"{place}.content[{j}]") for j, part in enumerate(content)]
            if any(new is not old for new, old in zip(parts, content, strict=True)):
                changed["content"] = parts
        if calls:
            cleaned = [self._clean_call(call, f"{place}.tool_calls[{j}]") for j, call in enumerate(calls)]
            if any(new is not old for new, old in zip(cleaned, calls, strict=True)):
                changed["tool_calls"] = cleaned
        if legacy := message.get("function_call"):
            changed |= {"function_call": self._pick(legacy, _FUNCTION_FIELDS, f"{place}.function_call")}
        message = {**message, **changed} if changed else message
        # what says nothing: OpenAI refuses null and an empty list in these places
        said = {field: value for field, value in message.items() if field == "content" or value or value == ""}
        return message if len(said) == len(message) else said

    def _clean_part(self, part: JsonObject, place: str) -> JsonObject:
        kind = part["type"]
        part = self._pick(part, _PART_FIELDS[kind], place)
        if kind in _MEDIA_FIELDS:
            media = self._pick(part[kind], _MEDIA_FIELDS[kind], f"{place}.{kind}")
            said = {field: value for field, value in media.items() if value is not None}
            if len(said) < len(media) or media is not part[kind]:
                part = {**part, kind: said}
        return part

    def _clean_call(self, call: JsonObject, place: str) -> JsonObject:
        written = self._pick(call, _CALL_FIELDS, place)
        if isinstance(written.get("function"), dict):
            function = self._pick(written["function"], _FUNCTION_FIELDS, f"{place}.function")
            if function is not written["function"]:
                written = {**written, "function": function}
        if "type" not in written:
            written = {**written, "type": "function" if written.get("function") else "custom"}
        return written

    def _pick(self, thing: JsonObject, fields: frozenset[str], place: str) -> JsonObject:
        if thing.keys() <= fields:
            return thing
        picked = {field: value for field, value in thing.items() if field in fields or field in self._known}
        for field, value in thing.items():
            if field not in picked and field not in _GIVEN_BACK and value is not None:
                self._draft.name_dropped(f"{place}.{show_field(field)}")
        return picked if len(picked) < len(thing) else thing


def arrange_messages(draft: Draft, *, strict: bool) -> None:
    """Leave out turns of the model in which nothing is said, and show a tool's pictures as the user's. A `strict`
    provider refuses any message without words. Places in the conversation may move, so this comes last."""
    if draft.sound:
        return
    for message in draft.messages:
        content = message.get("content")
        if type(content) is not str or not content or content.isspace():
            break
    else:
        return
    draft.write_messages(_arrange(draft.messages, strict))


def _arrange(messages: list[JsonObject], strict: bool) -> list[JsonObject]:
    arranged: list[JsonObject] = []
    shown: list[JsonObject] = []  # pictures of the results so far
    for message in messages:
        role, content = message["role"], message.get("content")
        if shown and role != "tool":
            arranged.append({"role": "user", "content": shown})
            shown = []
        if role == "tool" and isinstance(content, list) and any(part["type"] != "text" for part in content):
            texts = [part for part in content if part["type"] == "text"]
            shown += [part for part in content if part["type"] != "text"]
            message = {**message, "content": [*texts, {"type": "text", "text": SEE_BELOW}]}
        elif strict and role != "tool" and isinstance(content, list):
            message = _without_blanks(message, content)
            content = message["content"]
        if not _is_empty(role, message, content, strict):
            arranged.append(message)
        elif role == "user":
            arranged.append({**message, "content": OPENING})
    if shown:
        arranged.append({"role": "user", "content": shown})
    return arranged or [{"role": "user", "content": OPENING}]


def _is_empty(role: str, message: JsonObject, content: Json, strict: bool) -> bool:
    """Whether a provider refuses the message for saying nothing."""
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        return False
    if role == "assistant":
        return not (message.get("refusal") or _says(content, strict))
    return content == [] or (strict and not _says(content, strict))


def _says(content: Json, strict: bool) -> bool:
    if isinstance(content, str):
        return bool(content) and not (strict and content.isspace())
    return any(part["type"] != "text" or part["text"] for part in content or ())


def _without_blanks(message: JsonObject, content: list[JsonObject]) -> JsonObject:
    """The message without blank texts among its parts; "" where it has no others."""
    parts = [part for part in content if part["type"] != "text" or (part["text"] and not part["text"].isspace())]
    return message if len(parts) == len(content) else {**message, "content": parts or ""}
