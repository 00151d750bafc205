"""Reads whole answers of OpenAI's Responses: an answer is what a stream would have said in its last event."""

from bridge.conversation.answer import Completion, NativeAnswer
from bridge.conversation.gathering import Gathered
from bridge.conversation.request import RESPONSES
from bridge.json_types import JsonObject
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import find_refusal
from bridge.providers.odd_json import mend_texts
from bridge.providers.openai.answer import read_body
from bridge.providers.responses.request import Reading
from bridge.providers.responses.stream import ResponsesReader


def read_response(data: bytes, reading: Reading) -> Completion:
    """A whole answer. Raises AttemptFailed for what is none, and for what says that it failed."""
    mended = set[str]()
    body = read_body(data, mended)
    if not isinstance(body, dict) or not (isinstance(body.get("output"), list) or body.get("error")):
        raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no output")
    if mended:
        body = mend_texts(body)
    gathered = Gathered()
    reader = ResponsesReader(StreamOrder(gathered, len(data) + 1), reading)
    reader.say_response(body)
    native = NativeAnswer(RESPONSES, body) if reading.native else None
    choices, reason = gathered.end(), reader.finish_reason or "stop"
    mended |= reader.mended
    return Completion(choices, reader.usage, reason, list(reader.text), reader.kept, mended, _pick_top(body), native)


def _pick_top(body: JsonObject) -> JsonObject:
    """What chat completions say of themselves too."""
    created, tier = body.get("created_at"), body.get("service_tier")
    top: JsonObject = {"created": int(created)} if isinstance(created, int | float) and created > 0 else {}
    return {**top, "service_tier": tier} if isinstance(tier, str) else top
