"""What Gemini's answers are made of, as far as it is read: candidates of parts, counts, probabilities."""

import msgspec
from msgspec import Raw, Struct

from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.finish_words import read_foreign_finish
from bridge.providers.odd_json import RUBBISH, decode_odd, may_be_odd, mend_texts
from bridge.providers.openai.usage import MOST_BELIEVED
from bridge.providers.tally import Tally

# By the names of Google's enum, and by its numbers: behind some proxies those arrive. What isn't here is a failure,
# such as OTHER, MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, and whatever comes to be.
FINISH_REASONS: dict[str | int, str] = {
    **dict.fromkeys(("STOP", 1, "NO_IMAGE"), "stop"),
    "MAX_TOKENS": "length",
    2: "length",
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"), "content_filter"),
    **dict.fromkeys(("LANGUAGE", 3, 4, 6, 7, 8, 9), "content_filter"),
    **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"), "content_filter"),
}
UNFINISHED = (None, "", 0, "FINISH_REASON_UNSPECIFIED")
UNBLOCKED = (None, "", 0, "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
Enum = str | int | None


# `gc=False`: nothing here can refer to itself, and so many are made that the collector would run for them alone.


class FunctionCall(Struct, gc=False):
    name: str | None = None
    args: Json = None
    id: str | None = None


class Inline(Struct, rename="camel", gc=False):
    """A picture, or something else that is no text, in base64."""

    mime_type: str = ""
    data: str = ""


class Part(Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    function_call: FunctionCall | None = None
    inline_data: Inline | None = None
    thought_signature: str | None = None


class Content(Struct, gc=False):
    parts: list[Part] | None = None


class Candidate(Struct, rename="camel", gc=False):
    content: Content | None = None
    finish_reason: Enum = None
    logprobs_result: Raw = Raw()


class Feedback(Struct, rename="camel", gc=False):
    block_reason: Enum = None


class Answer(Struct, rename="camel", gc=False):
    """A whole answer, or a chunk of one. The counts are decoded only when they are wanted."""

    candidates: list[Candidate] | None = None
    usage_metadata: Raw = Raw()
    prompt_feedback: Feedback | None = None
    error: Raw = Raw()
    odd: Json = False  # ours: its texts may end in half a character


class Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class TopTokens(Struct):
    candidates: list[Token] | None = None


class Logprobs(Struct, rename="camel"):
    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_logprobs = msgspec.json.Decoder(Logprobs).decode


def decode_answer(data: bytes) -> Answer:
    """An answer, or a chunk of one. Raises what RUBBISH names."""
    try:
        return _decode_answer(data)
    except msgspec.DecodeError as error:
        if not may_be_odd(error):
            raise
        value = decode_odd(data)
    if not isinstance(value, dict):
        raise msgspec.ValidationError("no object")
    _keep_raw(value, "usageMetadata", "error")
    candidates = value.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        _keep_raw(candidate, "logprobsResult")
    answer = msgspec.convert(value, Answer)
    answer.odd = True
    return answer


def _keep_raw(value: Json, *fields: str) -> None:
    """What is decoded only when it is wanted, as the JSON that it should have been."""
    for field in fields:
        if isinstance(value, dict) and field in value:
            value[field] = Raw(msgspec.json.encode(mend_texts(value[field])))


def says(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def find_plain_text(candidate: Candidate) -> str | None:
    """The text of a candidate that is one piece of text and nothing else."""
    content = candidate.content
    if content is None or candidate.finish_reason is not None or candidate.logprobs_result:
        return None
    parts = content.parts
    if not parts or len(parts) != 1:
        return None
    part = parts[0]
    more = part.thought or part.function_call is not None or part.thought_signature
    return None if more else part.text


def is_blocked(answer: Answer) -> bool:
    return answer.prompt_feedback is not None and answer.prompt_feedback.block_reason not in UNBLOCKED


def read_finish_reason(reason: Enum, *, called: bool) -> str:
    """OpenAI's word for it. Raises AttemptFailed for what speaks of a failure, and for what is unknown."""
    found = read_foreign_finish("STOP" if reason in UNFINISHED else reason, FINISH_REASONS)
    return "tool_calls" if called and found == "stop" else found


def read_picture(part: Part, index: int) -> JsonObject | None:
    """A picture of the answer, as clients know those of OpenAI's dialect; None for anything else, and for one that the
    model only thought of."""
    found = part.inline_data
    if found is None or part.thought or not found.data or not found.mime_type.startswith("image/"):
        return None
    url = f"data:{found.mime_type};base64,{found.data}"
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


def read_counts(raw: Raw) -> Counts | None:
    """The counts, None where nothing is said. Thoughts stand beside the candidates' own tokens, and what tools of
    Google's put into the prompt beside the prompt's. What the total has more than its parts is output."""
    try:
        usage = msgspec.json.decode(raw) if says(raw) else None
    except RUBBISH:
        return Counts(odd=True)
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return Counts(odd=True)
    tally = Tally()
    prompt, completion = _read_wholes(usage, tally)
    if prompt is None and completion is None and not tally.odd:
        return None
    of_prompt, of_cache = usage.get("promptTokensDetails"), usage.get("cacheTokensDetails")
    heard_before, seen_before = _count(of_cache, "AUDIO"), _count(of_cache, "IMAGE")
    return Counts(
        prompt,
        completion,
        tally.part(usage, "cachedContentTokenCount"),
        tally.part(usage, "thoughtsTokenCount"),
        audio_tokens=max(0, _count(of_prompt, "AUDIO") - heard_before),
        cached_audio_tokens=heard_before,
        audio_output_tokens=_count(usage.get("candidatesTokensDetails"), "AUDIO"),
        image_tokens=max(0, _count(of_prompt, "IMAGE") - seen_before),
        odd=tally.odd,
    )


def _read_wholes(usage: JsonObject, tally: Tally) -> tuple[int | None, int | None]:
    """All of the prompt, and all that was written. A part below zero makes a sum that is none."""
    prompt, added = tally.first(usage, "promptTokenCount"), tally.part(usage, "toolUsePromptTokenCount")
    said, thoughts = tally.first(usage, "candidatesTokenCount"), tally.part(usage, "thoughtsTokenCount")
    total = tally.read(usage.get("totalTokenCount"))
    if total is not None and not 0 < total <= MOST_BELIEVED:
        total = None
    if prompt is not None:
        prompt = min(prompt, added) if min(prompt, added) < 0 else prompt + added
    least = min(said or 0, thoughts)
    if least < 0:
        return prompt, least
    written = None if said is None else said + thoughts
    if total is not None and prompt is not None and prompt >= 0:  # it is left out when every token was a thought
        written = max(total - prompt, (said or 0) + thoughts)
    elif total is not None and prompt is None and written is not None and written < total:
        prompt = total - written
    return prompt, written


def _count(details: Json, modality: str) -> int:
    """The tokens of one kind: TEXT, IMAGE, VIDEO, AUDIO, DOCUMENT."""
    tally, found = Tally(), 0
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and one.get("modality") == modality:
            found += max(0, tally.part(one, "tokenCount"))
    return found


def read_logprobs(raw: Raw) -> JsonObject | None:
    """The tokens' probabilities in OpenAI's shape, None where there are none."""
    try:
        found = _decode_logprobs(raw) if says(raw) else Logprobs()
    except RUBBISH:
        return None
    tops = found.top_candidates or []
    content = []
    for place, token in enumerate(found.chosen_candidates or ()):
        top = (tops[place].candidates or []) if place < len(tops) else []
        content.append({**_write_token(token), "top_logprobs": [_write_token(one) for one in top]})
    return {"content": content, "refusal": None} if content else None


def _write_token(token: Token) -> JsonObject:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}
