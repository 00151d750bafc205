"""Writes a conversation as Anthropic takes it: two sides in turn, no empty block, results right after their calls."""

import base64
import binascii
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Call, Text, Thoughts
from bridge.json_types import Json, JsonObject
from bridge.providers.anthropic.models import Claude
from bridge.providers.base import refuse
from bridge.providers.openai.request_fields import take_cache_control
from bridge.providers.sides import ReadMedia, ReadResult, Side, list_sides, read_arguments, remind
from bridge.providers.tool_names import ANTHROPIC_IDS, SafeNames
from bridge.providers.tool_schemas import map_keys

OPENING = "Continue."  # the user's turn where the client has none and Anthropic insists on one
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
THOUGHTS = ("thinking", "redacted_thinking")
PROVIDER = "anthropic"


class Dialogue(Struct):
    """`system` as texts with the client's `cache_control`; `messages` as they go out."""

    system: list[Text]
    messages: list[JsonObject]

    def may_think(self) -> bool:
        """Whether thinking with a budget is possible: the turn that the model goes on with, which reaches back over
        its tool calls, has to begin with its thoughts."""
        first_of_turn = None
        for message in self.messages:
            if message["role"] == "assistant":
                first_of_turn = first_of_turn or message["content"][0]["type"]
            elif message["role"] == "user" and message["content"][0]["type"] != "tool_result":
                first_of_turn = None
        return first_of_turn is None or first_of_turn in THOUGHTS

    def forget_thoughts(self) -> None:
        """Take the thoughts out: a model that doesn't think takes none back."""
        for message in self.messages:
            message["content"] = [block for block in message["content"] if block["type"] not in THOUGHTS]


def write_dialogue(
    conversation: Conversation,
    kept: Mapping[str, Json],
    claude: Claude,
    names: SafeNames,
    keys: Mapping[str, SafeNames],
) -> Dialogue:
    """The conversation. `keys` are those of the tools whose properties have other names there.

    Raises AttemptFailed (the client's 400) for media that Anthropic can't take, and for calls and results without each
    other."""
    turns = [turn for turn in list_sides(conversation) if _clean(turn)]
    system: list[Text] = []
    while turns and turns[0].role == "system":
        system += [part for part in turns.pop(0).parts if isinstance(part, Text)]
    return Dialogue(system, _Writer(_merge(_place_system(turns, claude)), kept, claude, names, keys).write())


def _clean(turn: Side) -> bool:
    """Take blank texts out, which are refused. False for a turn of the model in which nothing was said."""
    turn.parts = [part for part in turn.parts if not isinstance(part, Text) or part.text.strip()]
    return turn.role == "user" or any(not isinstance(part, Thoughts) for part in turn.parts)


def _place_system(turns: list[Side], claude: Claude) -> list[Side]:
    """System messages in mid-conversation: as they are where the model takes them (after a user's turn, and before the
    model's or at the end), else as a part of the user's turn."""
    turns = _merge(turns)
    placed = []
    for i, turn in enumerate(turns):
        follows = i > 0 and turns[i - 1].role == "user"
        leads = i + 1 == len(turns) or turns[i + 1].role == "assistant"
        if turn.role == "system" and not (claude.takes_system_turns and follows and leads):
            said = [part for part in turn.parts if isinstance(part, Text)]
            turn = Side("user", [Text(remind(part.text), part.cache) for part in said], turn.place)
        placed.append(turn)
    return placed


def _merge(turns: list[Side]) -> list[Side]:
    merged: list[Side] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1].parts += turn.parts
        else:
            merged.append(turn)
    return merged


class _Writer:
    def __init__(
        self,
        turns: list[Side],
        kept: Mapping[str, Json],
        claude: Claude,
        names: SafeNames,
        keys: Mapping[str, SafeNames],
    ):
        self._turns = turns
        self._keys = keys
        self._kept = kept
        self._claude = claude
        self._names = names
        calls = [part for turn in turns for part in turn.parts if isinstance(part, Call)]
        self._ids = SafeNames((call.id for call in calls), ANTHROPIC_IDS)
        self._seen: set[str] = set()
        self._open: dict[str, str] = {}  # the calls of the model's last turn: ours to theirs

    def write(self) -> list[JsonObject]:
        messages: list[JsonObject] = []
        for i, turn in enumerate(self._turns):
            if turn.role == "assistant":
                following = self._turns[i + 1].parts if i + 1 < len(self._turns) else []
                answered = {part.call_id for part in following if isinstance(part, ReadResult)}
                content = self._write_assistant(turn, answered)
            elif turn.role == "user":
                content = self._write_user(turn)
            else:
                content = [write_text(part) for part in turn.parts if isinstance(part, Text)]
            messages.append({"role": turn.role, "content": content})
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
        last = messages[-1]
        if last["role"] == "assistant" and not self._claude.takes_prefill:
            messages.append({"role": "user", "content": [{"type": "text", "text": OPENING}]})
        elif last["role"] == "assistant" and last["content"][-1]["type"] == "text":
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
        return messages

    def _write_assistant(self, turn: Side, answered: set[str]) -> list[JsonObject]:
        texts, calls = [], []
        self._open = {}
        for part in turn.parts:
            if isinstance(part, Text):
                texts.append(write_text(part))
            elif isinstance(part, Call) and part.id in answered and part.id not in self._open:
                calls.append(self._write_call(part))
            elif isinstance(part, Call) and part.legacy:
                arguments = msgspec.json.encode(read_arguments(part.arguments)).decode()
                texts.append({"type": "text", "text": f"{part.name}({arguments})"})
            elif isinstance(part, Call):
                raise refuse(
                    part.place,
                    f"{part.place}: the call {part.id[:80]!r} needs an id of its own, and a tool message right after "
                    "this turn.",
                )
        return [*self._find_thoughts(turn), *texts, *calls]

    def _write_call(self, call: Call) -> JsonObject:
        """Ids that clients use again, turn after turn, are made different: Anthropic insists on it."""
        safe = self._ids.draw(call.id) if call.id in self._seen else self._ids.write(call.id)
        self._seen.add(call.id)
        self._open[call.id] = safe
        keys, arguments = self._keys.get(call.name), read_arguments(call.arguments)
        if keys is not None:
            arguments = map_keys(arguments, keys.find)
        return {"type": "tool_use", "id": safe, "name": self._names.write(call.name), "input": arguments}

    def _find_thoughts(self, turn: Side) -> list[JsonObject]:
        """What the client gave back, else what was kept with the calls; of this model only, since no other takes it."""
        thoughts = [part for part in turn.parts if isinstance(part, Thoughts)]
        given = [block for part in thoughts for block in part.blocks]
        given = given or [block for part in thoughts for sealed in part.sealed for block in self._list_own(sealed)]
        if not given:
            for part in turn.parts:
                if isinstance(part, Call):
                    given += self._list_own(self._kept.get(part.id))
        return [block for each in given if (block := _read_thought(each))]

    def _list_own(self, kept: Json) -> list[Json]:
        """The blocks of what was kept or sealed, if this model signed them."""
        if not isinstance(kept, dict) or (kept.get("provider"), kept.get("model")) != (PROVIDER, self._claude.name):
            return []
        blocks = kept.get("blocks")
        return blocks if isinstance(blocks, list) else []

    def _write_user(self, turn: Side) -> list[JsonObject]:
        """Results first, as Anthropic insists, then all else."""
        results: dict[str, JsonObject] = {}
        others = []
        for part in turn.parts:
            if isinstance(part, Text | ReadMedia):
                others.append(write_part(part))
            elif not isinstance(part, ReadResult):
                continue  # no user's
            elif part.call_id in self._open:
                self._add_result(results, part)
            elif part.legacy:
                said = [text.text for text in part.parts if isinstance(text, Text)]
                others += [write_text(Text(f"{part.name}: {text}")) for text in said]
            else:
                raise refuse(
                    f"{part.place}.tool_call_id",
                    f"{part.place}: no call with the id {part.call_id[:80]!r} in the assistant's turn before it.",
                )
        self._open = {}
        return [*results.values(), *others] or [{"type": "text", "text": OPENING}]

    def _add_result(self, results: dict[str, JsonObject], result: ReadResult) -> None:
        safe = self._open[result.call_id]
        content = [write_part(part) for part in result.parts if not isinstance(part, Text) or part.text.strip()]
        if safe in results:  # of two results for one call, Anthropic takes one
            results[safe].setdefault("content", []).extend(content)
            return
        block: JsonObject = {"type": "tool_result", "tool_use_id": safe}
        if result.is_error:
            block["is_error"] = True
        if content:
            block["content"] = content
        if isinstance(result.cache, dict):
            block["cache_control"] = take_cache_control(result.cache)
        results[safe] = block


def _read_thought(block: Json) -> JsonObject | None:
    """A thought as it was given out; None for what Anthropic never signed."""
    if not isinstance(block, dict):
        return None
    fields = ("thinking", "signature") if block.get("type") == "thinking" else ("data",)
    if block.get("type") not in THOUGHTS or not all(isinstance(block.get(field), str) for field in fields):
        return None
    return {"type": block["type"], **{field: block[field] for field in fields}}


def write_text(part: Text) -> JsonObject:
    block: JsonObject = {"type": "text", "text": part.text}
    if isinstance(part.cache, dict):
        block["cache_control"] = take_cache_control(part.cache)
    return block


def write_part(part: Text | ReadMedia) -> JsonObject:
    """A text, picture or document. Raises AttemptFailed for what Anthropic can't take."""
    if isinstance(part, Text):
        return write_text(part)
    block = _write_media(part)
    if isinstance(part.cache, dict):
        block["cache_control"] = take_cache_control(part.cache)
    return block


def _write_media(media: ReadMedia) -> JsonObject:
    if media.kind == "image" or media.media_type.startswith("image/"):
        if media.url:
            return {"type": "image", "source": {"type": "url", "url": media.url}}
        if media.media_type not in PICTURES or not media.data:
            raise refuse(media.place, f"{media.place}: this model takes JPEG, PNG, GIF and WebP.", "invalid_image")
        return {"type": "image", "source": {"type": "base64", "media_type": media.media_type, "data": media.data}}
    if media.kind == "audio":
        raise refuse(media.place, f"{media.place}: this model takes no audio. Send a transcript.")
    if media.url:
        source = {"type": "url", "url": media.url}
    elif media.media_type == "application/pdf":
        source = {"type": "base64", "media_type": "application/pdf", "data": media.data}
    elif media.media_type.startswith("text/") or media.media_type == "application/json":
        source = {"type": "text", "media_type": "text/plain", "data": _decode_text(media)}
    else:
        raise refuse(media.place, f"{media.place}: of files, this model takes PDF and text.")
    return {"type": "document", "source": source, **({"title": media.name[:500]} if media.name else {})}


def _decode_text(media: ReadMedia) -> str:
    try:
        text = base64.b64decode(media.data).decode()
    except (binascii.Error, ValueError):
        raise refuse(media.source_place, f"{media.place}: the file is no base64 of UTF-8 text.") from None
    if not text.strip():
        raise refuse(media.source_place, f"{media.place}: the file is empty.")
    return text
