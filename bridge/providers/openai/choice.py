"""One choice of an answer in OpenAI's dialect, whole or in pieces, as OpenAI itself would have written it."""

from collections.abc import Mapping

import msgspec

from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.finish_words import read_finish
from bridge.providers.odd_json import Halves, mend_texts
from bridge.providers.openai.calls import Calls
from bridge.providers.openai.shapes import SoundChoice

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
PASSED = ("annotations", "audio", "extra_content")
TEXTS = ("content", "refusal", "reasoning_content")
FILTERED = ("content_filter_results", "content_filter_result", "content_filter_offsets")  # Azure's
CUT = ("length", "content_filter")


class Reading(msgspec.Struct, frozen=True):
    """What the reader of an answer has to know of its request. `legacy`: the client speaks the dialect of `functions`,
    and expects `function_call`. `tools` are those that were sent, and `free` says that the model was free to choose
    among them; `choices` is how many were asked for, if one knows. `names`: the client's names of renamed functions."""

    legacy: bool = False
    tools: Json = None
    free: bool = False
    choices: int = 0
    names: Mapping[str, str] = {}


def read_for(body: JsonObject, legacy: bool, names: Mapping[str, str]) -> Reading:
    """For a body that goes out. `legacy`: its client speaks the dialect of `functions`. `names`: see Reading."""
    tools, choice = body.get("tools"), body.get("tool_choice") or body.get("function_call")
    named = isinstance(choice, dict) and choice.get("type") != "allowed_tools"
    return Reading(legacy, tools, bool(tools or body.get("functions")) and not named, body.get("n") or 1, names)


def reading_of(reading: object) -> Reading:
    """What an Outgoing carries; a bare True says `legacy`."""
    return reading if isinstance(reading, Reading) else Reading(legacy=reading is True)


class Choice:
    """What was said of a choice so far, and what of the next message or delta goes out. `mended` collects what was odd,
    in a word each."""

    __slots__ = (
        "_function",
        "_halves",
        "_reading",
        "calls",
        "ended",
        "index",
        "mended",
        "said",
        "steady",
        "told",
    )

    def __init__(self, index: int, reading: Reading, mended: set[str]):
        self.index = index
        self.told = False  # who speaks
        self.said = False
        self.ended = False
        self.steady = False  # another delta like the last would be read in the same way, but for its text
        self.calls = Calls(mended, reading.tools, reading.names)
        self._function: Calls | None = None
        self._halves: Halves[str] = Halves()
        self._reading = reading
        self.mended = mended

    # the short way

    def takes(self, choice: SoundChoice) -> bool:
        """Whether a sound delta is also what may come next: its bytes may go on as they are."""
        delta, calls = choice.delta, self.calls
        if self.ended or self._halves or not self.told or type(delta.role) is str or delta.function_call is not None:
            return False
        if delta.tool_calls and not (
            len(delta.tool_calls) == 1 and not self._reading.legacy and calls.takes(delta.tool_calls[0])
        ):
            return False
        reason = choice.finish_reason
        if reason is None:
            return True
        if self._function is not None or self._reading.legacy or delta.tool_calls:
            return False
        return self.agree(reason, reason) == reason and (not calls or reason in CUT or calls.are_settled())

    # any way

    def read(self, message: JsonObject, reason: str | None = None) -> JsonObject:
        """A message, or the next delta, with what clients know and nothing else. Raises AttemptFailed for what is of
        the wrong shape. `reason` says that it is the last, in OpenAI's words."""
        self.steady = not self._halves and reason is None
        picked: JsonObject = {}
        self._read_role(message, picked)
        self._read_content(message, picked)
        self._read_thoughts(message, picked)
        for field in PASSED:
            if isinstance(message.get(field), dict | list):
                picked[field] = mend_texts(message[field])
        self._read_calls(message, picked, reason)
        self.said = self.said or says(picked)
        if reason:
            self.ended = True
            for field, text in self._halves.end().items():
                picked[field] = (picked.get(field) or "") + text
        self.steady = self.steady and not self._halves
        return picked

    def agree(self, reason: str, word: Json) -> str:
        """The end in the word that fits what was said: whoever called has not just stopped. Where the call was
        prescribed, OpenAI itself says `stop`; `word` is the server's own."""
        if reason in CUT or not (self.calls or self._function) or (word == "stop" and not self._reading.free):
            return reason
        return "tool_calls" if self.calls and not self._reading.legacy else "function_call"

    def read_end(self, word: Json, delta: JsonObject) -> str | None:
        """Why it ended, None where it goes on. Some servers' number for a stop is zero, as for what isn't said yet: it
        is an end where something was said before, and nothing is now."""
        reason = read_finish(word)
        if reason is None and type(word) is int and self.said and not says(delta):
            reason = "stop"
        if reason is not None and reason != word:
            self.mended.add("finish reason")
        return reason

    def find_delta(self, choice: JsonObject) -> JsonObject:
        """What a choice of a stream says. Raises AttemptFailed where that is nothing that we know."""
        delta, text = choice.get("delta"), choice.get("text")
        if isinstance(delta, dict):
            if text and not self.said and not says(delta):
                raise _wrong("the stream is one of text completions")
            message = choice.get("message")
            if isinstance(message, dict) and choice.get("finish_reason") and not self.said and not says(delta):
                self.mended.add("message for delta")  # the whole of it is said at the end, beside an empty delta
                return message
            return delta
        if delta is not None:
            raise _wrong("the stream holds a choice of the wrong shape")
        message = choice.get("message")
        if isinstance(message, dict):
            self.mended.add("message for delta")
            return {} if self.said else message
        ends = choice.get("finish_reason")
        if text is None and (any(choice.get(field) for field in FILTERED) or (ends and self.said)):
            return {}
        if ends and text is None and read_finish(ends) == "content_filter":
            return {}
        raise _wrong("the stream holds a choice without a delta")

    def _read_role(self, message: JsonObject, picked: JsonObject) -> None:
        role = message.get("role", "absent")
        if self.told:
            if role != "absent":
                self.mended.add("role")
            return
        self.steady, self.told = False, True
        picked["role"] = "assistant"
        if role != "assistant":
            self.mended.add("role")

    def _read_content(self, message: JsonObject, picked: JsonObject) -> None:  # noqa: C901 - a branch for each shape of content
        content, found = message.get("content"), _Found()
        if isinstance(content, str):
            found.texts.append(content)
        elif isinstance(content, list | dict):
            self.mended.add("content")
            found.read(content)
        elif content is not None:
            raise _wrong("the answer has a content that is no text")
        elif "content" in message:
            picked["content"] = None
        if isinstance(message.get("refusal"), str):
            found.refusals.append(message["refusal"])
        elif "refusal" in message and message["refusal"] is None:
            picked["refusal"] = None
        for field, texts in (("content", found.texts), ("refusal", found.refusals)):
            if texts:
                picked[field] = self._halves.join(field, "".join(texts))
        if found.thoughts:
            picked["reasoning_content"] = self._halves.join("reasoning_content", "".join(found.thoughts))
        images = _read_images(message.get("images") or message.get("image"), found.images)
        if images:
            picked["images"] = mend_texts(images)

    def _read_thoughts(self, message: JsonObject, picked: JsonObject) -> None:
        """What the model thinks aloud, by its usual name: hosts have several, at times two at once."""
        silent = False
        for field in (*THOUGHTS, "reasoning_details"):
            value = message.get(field)
            if isinstance(value, str):
                text, silent = value, True
            elif isinstance(value, list | dict):
                found = _Found()
                found.read(value)
                text = "".join((*found.thoughts, *found.texts))
            else:
                text = ""
            if text and not picked.get("reasoning_content"):
                picked["reasoning_content"] = self._halves.join("reasoning_content", text)
                return
        if silent or "reasoning_content" in message:
            picked.setdefault("reasoning_content", "" if silent else None)

    def _read_calls(self, message: JsonObject, picked: JsonObject, reason: str | None) -> None:
        pieces = message.get("tool_calls")
        if isinstance(pieces, dict) and pieces:
            pieces = [pieces]
            self.mended.add("tool_calls")
        elif pieces is not None and not isinstance(pieces, list):
            raise _wrong("the answer has tool calls of the wrong shape")
        pieces, function = pieces or [], message.get("function_call")
        if function and not isinstance(function, dict):
            raise _wrong("the answer has a function call of the wrong shape")
        if function and self._reading.tools is not None and not self._reading.legacy:
            self.mended.add("function_call")
            pieces, function = pieces or ([] if self._named_by_itself() else [{"function": function}]), None
        called = self.calls.read(pieces) if pieces else []
        self.steady = self.steady and (not pieces or self.calls.steady)
        called = self.calls.finish(called, reason in CUT) if reason else called
        if called and self._reading.legacy:
            first = [piece["function"] for piece in called if piece["index"] == 0 and "function" in piece]
            called = []
            if first:
                arguments = "".join(function.get("arguments", "") for function in first)
                picked["function_call"] = {**first[0], "arguments": arguments}
        if called:
            picked["tool_calls"] = called
        self._read_function(function, picked, reason)

    def _named_by_itself(self) -> bool:
        """Whether the call is in `tool_calls` as well, with an id or an index of its own."""
        return any(call.key is not None for call in self.calls.list)

    def _read_function(self, function: JsonObject | None, picked: JsonObject, reason: str | None) -> None:
        """The one call of the old dialect, name once; nothing where it is told as a tool call too."""
        if function and "function_call" not in picked and not (self._reading.legacy and self.calls):
            if self._function is None:
                self._function = Calls(set(), None, self._reading.names)
            pieces = self._function.read([{"index": 0, "id": "function", "function": function}])
            self.steady = self.steady and self._function.steady
        else:
            pieces = []
        if reason and self._function:
            pieces = self._function.finish(pieces, reason in CUT)
        if pieces and pieces[0]["index"] == 0:
            picked["function_call"] = pieces[0]["function"]


class _Found:
    """What the parts of a content are."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.refusals: list[str] = []
        self.images: list[Json] = []

    def read(self, parts: Json, thought: bool = False) -> None:
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, str):
                (self.thoughts if thought else self.texts).append(part)
            elif isinstance(part, dict):
                self._read_part(part, thought)

    def _read_part(self, part: JsonObject, thought: bool) -> None:
        kind = part.get("type") if isinstance(part.get("type"), str) else ""
        if kind in ("image_url", "image", "output_image"):
            self.images.append(part)
            return
        if isinstance(part.get("refusal"), str):
            self.refusals.append(part["refusal"])
        thinks = thought or str(kind).startswith(("thinking", "reasoning", "thought"))
        for field in ("thinking", "reasoning", "summary"):
            if isinstance(part.get(field), str | list):
                self.read(part[field], thought=True)
        for field in ("text", "content"):
            if isinstance(part.get(field), str):
                (self.thoughts if thinks else self.texts).append(part[field])
                break


def _read_images(images: Json, more: list[Json]) -> list[JsonObject]:
    """Pictures in the form that is in general use beside OpenAI's."""
    found = [*(images if isinstance(images, list) else [images] if images else ()), *more]
    written = []
    for image in found:
        url = _url_of(image)
        if url:
            picture: JsonObject = {"type": "image_url", "image_url": {"url": url}}
            if isinstance(image, dict) and type(image.get("index")) is int:
                picture["index"] = image["index"]
            written.append(picture)
    return written


def _url_of(image: Json) -> str:
    """Where a picture is, or what: hosts write it in half a dozen ways. "" where it is none."""
    if not isinstance(image, dict):
        return image if isinstance(image, str) else ""
    for field in ("image_url", "url", "image"):
        if image.get(field):
            return _url_of(image[field])
    source = image["source"] if isinstance(image.get("source"), dict) else image
    data, kind = source.get("b64_json") or source.get("data"), source.get("media_type") or source.get("mime_type")
    if isinstance(data, str) and data:
        return f"data:{kind if isinstance(kind, str) and kind else 'image/png'};base64,{data}"
    return _url_of(source.get("url")) if source is not image else ""


def says(delta: JsonObject) -> bool:
    """Whether a message or delta has anything that a client waits for."""
    if delta.get("content"):  # as nearly all have
        return True
    fields = (*TEXTS, *THOUGHTS, "reasoning_details", "tool_calls", "function_call", "images", "audio", "annotations")
    return any(delta.get(field) for field in fields)


def said_of(picked: JsonObject) -> list[str]:
    """Everything the model wrote in what goes out, for our own count."""
    said = [picked.get("content"), picked.get("refusal"), picked.get("reasoning_content")]
    if "tool_calls" in picked or "function_call" in picked:
        functions = [call.get("function") or call.get("custom") for call in picked.get("tool_calls") or ()]
        for function in (*functions, picked.get("function_call")):
            if isinstance(function, dict):
                said += [function.get("name"), function.get("arguments"), function.get("input")]
    return [text for text in said if isinstance(text, str) and text]


def has_pictures_or_sound(picked: JsonObject) -> bool:
    """Content that is no text."""
    return bool(picked.get("images") or picked.get("audio"))


def _wrong(reason: str) -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, reason)
