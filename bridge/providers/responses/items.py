"""A conversation as the input items of OpenAI's Responses."""

from collections.abc import Mapping, Sequence

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Call, Media, Part, Result, Text, Thoughts, Turn, Untold
from bridge.json_types import Json, JsonObject
from bridge.providers.base import refuse
from bridge.providers.responses.thoughts import PROVIDER, drop_loose, is_id, read_thoughts
from bridge.providers.sides import refuse_untold
from bridge.providers.tool_names import SafeNames

UNNAMED_FILE = "document.pdf"
PDF = "data:application/pdf;base64,"
FAILED = "Error: "


class InputWriter:
    """Writes one turn after the other. `kept` is reasoning by call id; None: no reasoning goes out at all."""

    def __init__(self, names: SafeNames, kept: Mapping[str, Json] | None):
        self._names = names
        self._kept: Mapping[str, Json] = kept or {}
        self._thinks = kept is not None
        self._customs: set[str] = set()  # the ids of calls that are none of a function
        self._legacy_ids: dict[str, str] = {}  # the last legacy call of each name
        self._legacy_calls = 0
        self.gave_thoughts = False

    def write(self, conversation: Conversation) -> list[JsonObject]:
        """All turns. Raises AttemptFailed for media that OpenAI can't take here."""
        items: list[JsonObject] = []
        for turn in conversation.turns:
            if turn.role == "assistant":
                items += self._write_assistant(turn)
            elif turn.role == "system":
                items.append({"role": "system", "content": self._write_content(turn.parts, turn)})
            else:
                items += self._write_user(turn)
        return items

    def _write_user(self, turn: Turn) -> list[JsonObject]:
        """Results are items of their own, right behind their calls; then what else the user says."""
        items = [self._write_result(part, turn) for part in turn.parts if isinstance(part, Result)]
        others = [part for part in turn.parts if not isinstance(part, Result)]
        if others or not items:
            items.append({"role": "user", "content": self._write_content(others, turn)})
        return items

    def _write_result(self, result: Result, turn: Turn) -> JsonObject:
        output = self._write_content(result.parts, turn)
        if result.is_error:
            output = FAILED + output if isinstance(output, str) else [_write_text(FAILED), *output]
        call_id = self._legacy_ids.get(result.name or "", "") if result.legacy else result.call_id
        if not call_id:  # whose it is nobody knows: then it is what the user says
            return {"role": "user", "content": output}
        kind = "custom_tool_call_output" if call_id in self._customs else "function_call_output"
        return {"type": kind, "call_id": call_id, "output": output}

    def _write_assistant(self, turn: Turn) -> list[JsonObject]:
        sealed = [item for part in turn.parts if isinstance(part, Thoughts) for item in self._give_back(part)]
        items: list[JsonObject] = []
        if not sealed:
            for call in turn.parts:
                if isinstance(call, Call):
                    items += read_thoughts(self._kept.get(call.id), "lead")
        said: list[Text] = []
        for part in turn.parts:
            if isinstance(part, Text):
                said.append(part)
                continue
            items += _write_said(said)
            said = []
            if isinstance(part, Thoughts):
                items += self._give_back(part)
            elif isinstance(part, Call):
                items += self._write_call(part, () if sealed else read_thoughts(self._kept.get(part.id)))
        items = drop_loose(items + _write_said(said))
        self.gave_thoughts = self.gave_thoughts or any(item.get("type") == "reasoning" for item in items)
        return items

    def _give_back(self, thoughts: Thoughts) -> list[JsonObject]:
        if not self._thinks:
            return []
        return [item for value in thoughts.sealed for item in read_thoughts(value)]

    def _write_call(self, call: Call, thoughts: Sequence[JsonObject]) -> list[JsonObject]:
        if call.legacy:
            self._legacy_calls += 1
            call_id = self._legacy_ids[call.name] = f"call_{self._legacy_calls}"
        else:
            call_id = call.id
        custom = call.custom.get("custom") if isinstance(call.custom, dict) else None
        if call.custom is not None:
            self._customs.add(call_id)
            text = custom.get("input") if isinstance(custom, dict) else None
            item: JsonObject = {"type": "custom_tool_call", "call_id": call_id, "name": self._names.write(call.name)}
            item["input"] = text if isinstance(text, str) else ""
        else:
            item = {"type": "function_call", "call_id": call_id, "name": self._names.write(call.name)}
            item["arguments"] = call.arguments
        if thoughts and is_id(item_id := _item_id(self._kept.get(call.id)), "fc_" if call.custom is None else "ctc_"):
            item["id"] = item_id
        return [*thoughts, item]

    def _write_content(self, parts: Sequence[Part], turn: Turn) -> str | list[JsonObject]:
        """One text as itself, anything else in parts."""
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(first := parts[0], Text):
            return first.text
        written = []
        for part in parts:
            if isinstance(part, Text):
                written.append(_write_text(part.text))
            elif isinstance(part, Media):
                written.append(_write_media(part, turn))
            elif isinstance(part, Untold):
                raise refuse_untold(part)
        return written


def _item_id(kept: Json) -> Json:
    return kept.get("item_id") if isinstance(kept, dict) and kept.get("provider") == PROVIDER else None


def _write_said(said: Sequence[Text]) -> list[JsonObject]:
    """What the model said, as one message; nothing of what is empty."""
    said = [text for text in said if text.text]
    if not said:
        return []
    if len(said) == 1 and not said[0].refusal:
        return [{"role": "assistant", "content": said[0].text}]
    parts = [
        {"type": "refusal", "refusal": text.text} if text.refusal else {"type": "output_text", "text": text.text}
        for text in said
    ]
    return [{"role": "assistant", "content": parts}]


def _write_text(text: str) -> JsonObject:
    return {"type": "input_text", "text": text}


def _write_media(media: Media, turn: Turn) -> JsonObject:
    """A picture or a document. Raises AttemptFailed for sound."""
    source = f"data:{media.media_type};base64,{media.source}" if media.media_type else media.source
    if media.kind == "audio":
        raise refuse(media.place, f"{media.place}: this model reads text, pictures and files only, no sound.")
    if media.kind == "image":
        detail: JsonObject = {} if media.detail is None else {"detail": media.detail}
        return {"type": "input_image", "file_id" if media.stored else "image_url": source, **detail}
    if media.stored:
        return {"type": "input_file", "file_id": source or _find_stored_id(media, turn)}
    if source[:8].lower() == "https://" or source[:7].lower() == "http://":
        return {"type": "input_file", "file_url": source}
    if not source:
        raise refuse(media.source_place, f"{media.source_place} is empty. Send the file as a base64 data URL.")
    data = source if source[:5].lower() == "data:" else PDF + source
    return {"type": "input_file", "filename": media.name or UNNAMED_FILE, "file_data": data}


def _find_stored_id(media: Media, turn: Turn) -> str:
    """The id of a kept file, which stands in the message alone. Raises AttemptFailed where there is none."""
    content = turn.source.get("content") if isinstance(turn.source, dict) else None
    for place, part in enumerate(content if isinstance(content, list) else ()):
        file = part.get("file") if isinstance(part, dict) else None
        if isinstance(file, dict) and media.place.endswith(f"[{place}]"):
            found = file.get("file_id")
            if isinstance(found, str) and found:
                return found
    raise refuse(media.source_place, f"{media.source_place} names no file.")
