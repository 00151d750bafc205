"""A conversation as Gemini's `contents`: two roles, calls and results by name, each call's result right behind it."""

import dataclasses
import posixpath
import re
from collections import deque
from collections.abc import Mapping

import msgspec

from bridge.conversation.request import Conversation, Tool
from bridge.conversation.turns import Call, Text, Thoughts
from bridge.json_types import Json, JsonObject
from bridge.providers.base import refuse
from bridge.providers.gemini.models import Version, fetches_urls, wants_signatures
from bridge.providers.odd_json import RUBBISH
from bridge.providers.sides import ReadMedia, ReadResult, SidePart, list_sides, read_arguments, remind
from bridge.providers.tool_names import SafeNames

# Google documents it for calls that another model made: without any signature they are refused.
NO_SIGNATURE = "skip_thought_signature_validator"
OPENING = "Begin."  # for a conversation in which the user has said nothing
NO_RESULT = {"error": "There is no result of this call."}
_EXTENSIONS = {"png": "image/png", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic", "heif": "image/heif"}
_DOCUMENTS = ("application/pdf", "application/json", "application/xml", "application/rtf")
# Google reads its own addresses with the rights of our key, and a film by its length, not as a picture.
_NOT_FETCHED = ("googleapis.com", "youtube.com", "youtu.be", "youtube-nocookie.com")
_ALSO_FETCHED = ("storage.googleapis.com",)
# Plain addresses alone: of the others nobody knows which host Google's own reader would find in them.
_ADDRESS = re.compile(
    r"https?://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?(?P<path>/[^\s\\?#]*)?(\?[^\s\\#]*)?(#[^\s\\]*)?", re.I
)


@dataclasses.dataclass(slots=True)
class _Writing:
    """What is written so far. `open_slots` are the places for results, by the call's id."""

    version: Version
    kept: Mapping[str, Json]
    tools: list[Tool]
    names: SafeNames
    system: list[str] = dataclasses.field(default_factory=list)
    contents: list[JsonObject] = dataclasses.field(default_factory=list)
    open_slots: dict[str, deque[JsonObject]] = dataclasses.field(default_factory=dict)
    # what came for the calls: the last of each id with the content that holds it, and all with their slots
    results: dict[str, tuple[JsonObject, list[Json]]] = dataclasses.field(default_factory=dict)
    answered: list[tuple[JsonObject, list[Json]]] = dataclasses.field(default_factory=list)


def write_contents(
    conversation: Conversation, kept: Mapping[str, Json], tools: list[Tool], version: Version, names: SafeNames
) -> tuple[list[str], list[JsonObject]]:
    """The system's texts and the contents, never empty. Instructions in mid-conversation become the user's words.

    Raises AttemptFailed for what this model can't read."""
    out = _Writing(version, kept, tools, names)
    for turn in list_sides(conversation):
        if turn.role == "assistant":
            _add_model_turn(out, turn.parts)
        elif turn.role == "system" and not out.contents:
            out.system += [part.text for part in turn.parts if isinstance(part, Text) and part.text]
        else:
            _add_user_turn(out, _remind(turn.parts) if turn.role == "system" else turn.parts)
    for slot, given in out.answered:
        slot["response"] = given[0] if len(given) == 1 else {"results": given}
    if not out.contents or out.contents[0]["role"] == "model":
        out.contents.insert(0, {"role": "user", "parts": [{"text": OPENING}]})
    return out.system, out.contents


def _remind(parts: list[SidePart]) -> list[SidePart]:
    """The system's words within the user's turn."""
    return [Text(remind(part.text)) if isinstance(part, Text) and part.text.strip() else part for part in parts]


def _add_model_turn(out: _Writing, parts: list[SidePart]) -> None:
    written: list[JsonObject] = []
    calls: list[Call] = []
    said: JsonObject | None = None  # the last text
    for part in parts:
        if isinstance(part, Text) and part.text:
            said = {"text": part.text}
            written.append(said)
        elif isinstance(part, Call):
            written.append(_write_call(out, part, first=not calls))
            calls.append(part)
    if said is not None and (signature := _find_signature(parts)):
        said["thoughtSignature"] = signature
    _add(out, "model", written)
    if not calls:
        return
    slots = [_open_slot(out, call.id, call.name) for call in calls]
    out.contents.append({"role": "user", "parts": slots})
    out.open_slots.update({call.id: deque() for call in calls})
    for call, slot in zip(calls, slots, strict=True):
        out.open_slots[call.id].append(slot)


def _find_signature(parts: list[SidePart]) -> str:
    """What came with the turn's text and was sealed for the client."""
    for part in parts:
        for sealed in part.sealed if isinstance(part, Thoughts) else ():
            if isinstance(sealed, dict) and sealed.get("provider") == "gemini":
                signature: Json = sealed.get("signature")
                return signature if isinstance(signature, str) else ""
    return ""


def _add_user_turn(out: _Writing, parts: list[SidePart]) -> None:
    written: list[JsonObject] = []
    for part in parts:
        if isinstance(part, ReadResult):
            written += _add_result(out, part)
        elif isinstance(part, ReadMedia):
            written.append(_write_media(part, out.version))
        elif isinstance(part, Text) and part.text:
            written.append({"text": part.text})
    _add(out, "user", written)


def _add(out: _Writing, role: str, parts: list[JsonObject]) -> None:
    """Add parts to the last content if it is of the same role; results stay by themselves."""
    last = out.contents[-1] if out.contents else None
    if parts and last and last["role"] == role and "functionResponse" not in last["parts"][0]:
        last["parts"] += parts
    elif parts:
        out.contents.append({"role": role, "parts": parts})


def _write_call(out: _Writing, call: Call, *, first: bool) -> JsonObject:
    function: JsonObject = {"name": out.names.write(call.name), "args": read_arguments(call.arguments)}
    function |= _write_id(out, call.id)
    kept = _find_kept(out, call.id)
    google = call.extra.get("google") if isinstance(call.extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(signature, str) or not signature:
        signature = kept.get("signature")
    if not signature and first and wants_signatures(out.version):
        signature = NO_SIGNATURE
    return {"functionCall": function, **({"thoughtSignature": signature} if signature else {})}


def _find_kept(out: _Writing, call_id: str) -> JsonObject:
    kept = out.kept.get(call_id)
    return kept if isinstance(kept, dict) and kept.get("provider") == "gemini" else {}


def _write_id(out: _Writing, call_id: str) -> dict[str, str]:
    """The call's id where Google gave it; ours and other providers' mean nothing to it."""
    found = _find_kept(out, call_id).get("id")
    return {"id": found} if isinstance(found, str) and found else {}


def _open_slot(out: _Writing, call_id: str, name: str) -> JsonObject:
    return {"functionResponse": {"name": out.names.write(name), "response": NO_RESULT, **_write_id(out, call_id)}}


def _add_result(out: _Writing, result: ReadResult) -> list[JsonObject]:
    """Put a result behind its call, and one more beside the first; a call that the client left out is written anew.
    Gives the media of the result, for which it has no place."""
    text = "".join(part.text for part in result.parts if isinstance(part, Text))
    media = [_write_media(part, out.version) for part in result.parts if isinstance(part, ReadMedia)]
    slots = out.open_slots.get(result.call_id)
    if not slots:
        content, given = out.results.get(result.call_id, ({}, []))
        if content and content is out.contents[-1]:
            given.append(_write_response(text, result.is_error))
            return media
        name = result.name or _guess_name(out, result.call_id)
        _add_model_turn(out, [Call(result.call_id, name, "", result.place)])
        slots = out.open_slots[result.call_id]
    given = [_write_response(text, result.is_error)]
    out.answered.append((slots.popleft()["functionResponse"], given))
    out.results[result.call_id] = (out.contents[-1], given)
    return media


def _guess_name(out: _Writing, call_id: str) -> str:
    name = _find_kept(out, call_id).get("name")
    if isinstance(name, str) and name:
        return name
    return out.tools[0].name if len(out.tools) == 1 else "tool"


def _write_response(text: str, is_error: bool = False) -> JsonObject:
    """A JSON object as it is, and any other text as the result, or as the error where the tool failed."""
    if is_error:
        return {"error": text}
    if text.lstrip().startswith("{"):
        try:
            found = msgspec.json.decode(text)
        except RUBBISH:
            found = None
        if isinstance(found, dict):
            return found
    return {"result": text}


def _write_media(part: ReadMedia, version: Version) -> JsonObject:
    if part.kind == "image" and part.url:
        return {"fileData": {"fileUri": part.url, "mimeType": _check_address(part, version)}}
    if part.kind == "image" and not part.media_type.startswith("image/"):
        raise refuse(
            part.place,
            f"{part.place} is no picture ({part.media_type or 'its type is missing'}). Send documents as `file`.",
            "invalid_image",
        )
    if part.kind == "file" and not part.media_type.startswith(("text/", "image/", *_DOCUMENTS)):
        raise refuse(part.place, f"{part.place}: this model reads PDF and text files, not {part.media_type[:80]}.")
    if part.url:
        return {"fileData": {"fileUri": part.url, "mimeType": _check_address(part, version) and part.media_type}}
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _is_address(host: str) -> bool:
    """Whether a host is no name: what has one is public, and addresses may not be."""
    return host.replace(".", "").isdecimal() or ":" in host or host[:2] == "0x"


def _check_address(part: ReadMedia, version: Version) -> str:
    """The picture's type, as its address tells. Raises AttemptFailed for what can't or must not be fetched."""
    found = _ADDRESS.fullmatch(part.url) if part.url.isascii() else None
    host = found["host"].lower().rstrip(".") if found else ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or _is_address(host):
        host = ""
    fetched = host in _ALSO_FETCHED or not any(host == one or host.endswith(f".{one}") for one in _NOT_FETCHED)
    if not fetches_urls(version) or not host or not fetched:
        place = part.source_place
        raise refuse(
            place,
            f"{place} can't be fetched by this model. Send the picture as data:image/png;base64,….",
            "invalid_image",
        )
    extension = posixpath.splitext((found and found["path"]) or "")[1][1:].lower()
    return _EXTENSIONS.get(extension, "image/jpeg")
