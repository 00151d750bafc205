"""What Gemini answers, whole and streamed."""

import msgspec
from msgspec import Raw, Struct

from bridge.conversation.answer import TEXT, Call, Choice, Completion, Sealed
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.alike import EDGE_BYTES, decode_texts
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import find_refusal
from bridge.providers.fences import FenceStripper, strip_fence
from bridge.providers.gemini.errors import read_gemini_error
from bridge.providers.gemini.shapes import (
    UNFINISHED,
    Candidate,
    FunctionCall,
    Part,
    decode_answer,
    find_plain_text,
    is_blocked,
    read_counts,
    read_finish_reason,
    read_logprobs,
    read_picture,
    says,
)
from bridge.providers.odd_json import RUBBISH, mend_text
from bridge.providers.translated import TranslatedReader, own_id, texts_of, with_older_call, write_arguments


class Reading(Struct, frozen=True):
    """What the reader has to know of the request: `offered` are the functions' names, None where that isn't known, and
    `names` the client's names of renamed ones."""

    legacy: bool = False
    one_call: bool = False  # the client wants no parallel ones
    fenced: bool = False  # JSON was asked for in words, and may come in a Markdown fence
    offered: frozenset[str] | None = None
    names: dict[str, str] = {}


def read_gemini_answer(data: bytes, reading: Reading) -> Completion:
    """A whole answer, of one candidate or several. Raises AttemptFailed for what is none, or an error inside a 200."""
    try:
        answer = decode_answer(data)
        if says(answer.error):
            raise read_gemini_error(200, {}, data)
        candidates = answer.candidates or []
        if not candidates:
            if not is_blocked(answer):
                raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no candidates")
            candidates = [Candidate(finish_reason="PROHIBITED_CONTENT")]
        mended = {"JSON"} if answer.odd else set[str]()
        ids = set[str]()
        kept: JsonObject = {}
        found = [_read_candidate(candidate, reading, mended, ids, kept) for candidate in candidates]
    except RUBBISH:
        if data.lstrip()[:1] == b"[":  # errors come in a list at times
            raise read_gemini_error(200, {}, data) from None
        raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer is none of Gemini's") from None
    text = [piece for choice in found for piece in texts_of(choice)]
    if reading.legacy:
        found, kept = [with_older_call(choice) for choice in found], {}
    choices = [msgspec.structs.replace(choice, index=index) for index, choice in enumerate(found)]
    usage = read_counts(answer.usage_metadata)
    return Completion(choices, usage, choices[0].finish_reason, text, kept, mended)


def _read_candidate(
    candidate: Candidate, reading: Reading, mended: set[str], ids: set[str], kept: JsonObject
) -> Choice:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    pictures: list[JsonObject] = []
    unwanted, sealed = False, list[Sealed]()
    for part in _list_parts(candidate):
        if part.function_call is not None:
            wanted = _is_wanted(part.function_call, reading)
            unwanted = unwanted or not wanted
            if wanted and not (calls and reading.one_call):
                call = _read_call(part.function_call, part.thought_signature, reading.names, ids, mended)
                calls.append(call)
                kept.update(_keep(call, part))
                sealed += _seal(call, part)
        elif picture := read_picture(part, len(pictures)):
            pictures.append(picture)
        else:
            if part.text:
                (thoughts if part.thought else texts).append(part.text)
            sealed += _seal_text(part)
    text = mend_text("".join(texts))
    if not (text or thoughts or calls or pictures):
        _refuse_nothing(candidate.finish_reason, unwanted)
    return Choice(
        read_finish_reason(candidate.finish_reason, called=bool(calls)),
        strip_fence(text) if reading.fenced else text,
        mend_text("".join(thoughts)),
        calls=calls,
        logprobs=read_logprobs(candidate.logprobs_result),
        extras={"images": pictures} if pictures else {},
        sealed=sealed,
    )


def _list_parts(candidate: Candidate) -> list[Part]:
    return (candidate.content.parts or []) if candidate.content is not None else []


def _refuse_nothing(reason: Json, unwanted: bool) -> None:
    """An answer without content may be one, if it says why it ended, and not where all of it was a call of something
    that was never offered. Raises AttemptFailed."""
    if unwanted:
        raise AttemptFailed(Blame.UPSTREAM, "the answer calls what was never offered")
    if reason in UNFINISHED:
        raise AttemptFailed(Blame.UPSTREAM, "the answer has no content and no end")


def _is_wanted(call: FunctionCall, reading: Reading) -> bool:
    """Whether the client can do anything with a call: Gemini calls at times what it was never offered."""
    return bool(call.name) and (reading.offered is None or call.name in reading.offered)


def _read_call(
    call: FunctionCall, signature: str | None, names: dict[str, str], ids: set[str], mended: set[str]
) -> Call:
    arguments, name = write_arguments(call.args, mended), call.name or ""
    extra = {"google": {"thought_signature": signature}} if signature else None
    return Call(own_id(call.id, ids), names.get(name, name), arguments, extra=extra)


def _keep(call: Call, part: Part) -> JsonObject:
    """What Gemini wants back with the call's result, by the id that the client knows."""
    assert part.function_call is not None
    theirs, signature = part.function_call.id or None, part.thought_signature or None
    if theirs is None and signature is None:
        return {}
    return {call.id: {"provider": "gemini", "signature": signature, "id": theirs, "name": call.name}}


def _seal(call: Call, part: Part) -> list[Sealed]:
    return [Sealed(value, call_id) for call_id, value in _keep(call, part).items()]


def _seal_text(part: Part) -> list[Sealed]:
    """What Gemini would like back with a text of its own: it comes with the text's last piece, or behind it."""
    if part.thought or not part.thought_signature:
        return []
    return [Sealed({"provider": "gemini", "signature": part.thought_signature}, of_text=True)]


DIGITS = b"0123456789"
_encode = msgspec.json.encode


class _Plain(Struct, frozen=True):
    """An event with one piece of text, and what the following ones have in common with it: all but the text and the
    figures of the counts."""

    before: bytes  # up to the text's opening quote, and that
    middle: bytes  # the closing quote, and on to the counts
    rest: bytes  # the counts and what follows them, without any digit

    def split(self, whole: bytes, separator: bytes) -> tuple[list[bytes], list[str]] | None:
        """The texts of such events, as they stand between the quotes and decoded; None where one is another."""
        head, before = self.before[:EDGE_BYTES], self.before[EDGE_BYTES:]
        if not whole.startswith(head):
            return None
        pieces, start = [], len(before)
        for event in whole[EDGE_BYTES:].split(separator + head):
            piece, _, rest = event.partition(self.middle)
            if not piece.startswith(before) or rest.translate(None, DIGITS) != self.rest:
                return None
            pieces.append(piece[start:])
        texts = decode_texts(pieces)
        return None if texts is None or "" in texts else (pieces, texts)


def _find_plain(event: bytes, text: str) -> _Plain | None:
    """What an event with this text alone has in common with the following ones, if its counts follow the text."""
    before, found, rest = (b"data: " + event).partition(b'"text":' + _encode(text))
    middle, counts, rest = rest.partition(b'"usageMetadata":')
    if not found or not counts or b'"usageMetadata":' in before:
        return None
    return _Plain(before + b'"text":"', b'"' + middle + counts, rest.translate(None, DIGITS))


class GeminiReader(TranslatedReader):
    """A stream of Gemini's: each event is a piece of the answer with the counts so far; its end is the body's end."""

    def __init__(self, order: StreamOrder, reading: Reading):
        self._counts = Raw()
        super().__init__(order, reading.legacy)
        self._reading = reading
        self._reason: Json = None
        self._unwanted = False  # it called what was never offered
        self._pictures = 0
        self._fence = FenceStripper() if reading.fenced else None
        self._plain: _Plain | None = None

    def feed_alike(self, whole: bytes, separator: bytes) -> bytes | None:
        plain = self._plain
        alike = plain.split(whole, separator) if plain is not None else None
        if plain is None or alike is None:
            return None
        last = whole[whole.rindex(plain.before) + 6 :]
        try:
            self._counts = decode_answer(last).usage_metadata
        except RUBBISH:
            return None
        self.text += alike[1]
        self._counted = len(self.text)
        return self._writer.pieces(TEXT, alike[0], alike[1])

    @property
    def usage(self) -> Counts | None:
        """The last counts: each event brings some, and they are wanted once."""
        return read_counts(self._counts)

    @usage.setter
    def usage(self, usage: Counts | None) -> None:
        pass  # the base class begins with none, and so does this one

    def read(self, event: bytes) -> bytes:
        try:
            answer = decode_answer(event)
        except msgspec.ValidationError:
            if event[:1] == b"[":
                raise read_gemini_error(200, {}, event) from None
            raise
        candidates, counts = answer.candidates, answer.usage_metadata
        self._plain = None
        if answer.odd:
            self.mended.add("JSON")
        if answer.error and says(answer.error):
            raise read_gemini_error(200, {}, event)
        if candidates:
            text = find_plain_text(candidates[0])  # nearly always it is nothing else
            if text and self._fence is None and not self.mended:
                self.text.append(text)
                self.started = True
                frames = self._writer.text(text)
            else:
                frames = self.say_text(text) if text else self._read_candidate(candidates[0])
            if text and self._fence is None and not (answer.odd or self._halves) and len(candidates) == 1:
                self._plain = _find_plain(event, text)
        else:
            if not counts and not is_blocked(answer) and (refusal := find_refusal(event)):
                raise refusal
            frames = self._say_blocked() if is_blocked(answer) else b""
        if counts:
            self._counts, self._counted = counts, len(self.text)
        return frames

    def say_text(self, text: str) -> bytes:
        return super().say_text(text if self._fence is None else self._fence.feed(text))

    def _read_candidate(self, candidate: Candidate) -> bytes:
        parts = candidate.content.parts if candidate.content is not None else None
        frames = [self._read_part(part) for part in parts or ()]
        logprobs = read_logprobs(candidate.logprobs_result)
        if logprobs:
            frames.append(self._writer.text("", logprobs))
        if candidate.finish_reason not in UNFINISHED:
            self._reason, self.ended = candidate.finish_reason, True
            try:
                read_finish_reason(self._reason, called=False)
            except AttemptFailed as failure:
                failure.frames = b"".join(frames)
                raise
        return b"".join(frames)

    def _read_part(self, part: Part) -> bytes:
        if part.function_call is not None:
            if not _is_wanted(part.function_call, self._reading):
                self._unwanted = True
                return b""
            if self._calls and self._reading.one_call:
                return b""
            names = self._reading.names
            call = _read_call(part.function_call, part.thought_signature, names, self._ids, self.mended)
            if self._legacy:
                return self.say_call(call)
            self.kept |= _keep(call, part)
            return b"".join(map(self._writer.seal, _seal(call, part))) + self.say_call(call)
        if picture := read_picture(part, self._pictures):
            self._pictures += 1
            self.started = True
            return self._writer.extras({"images": [picture]})
        if part.thought:
            return self.say_reasoning(part.text or "")
        said = self.say_text(part.text) if part.text else b""
        return said + b"".join(map(self._writer.seal, _seal_text(part)))

    def _say_blocked(self) -> bytes:
        self.ended = True
        return self.say_end("content_filter")

    def end(self) -> bytes:
        """The one finish: until the body's end, a call may still come after a stop."""
        frames = super().end()
        if self._reason is None:
            return frames
        held = b"" if self._fence is None else self._say_held(self._fence.finish())
        if not self.started:
            _refuse_nothing(self._reason, self._unwanted)
        return frames + held + self.say_end(read_finish_reason(self._reason, called=self._calls > 0))
