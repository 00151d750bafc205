"""What Gemini's answers are made of, as far as it is read: candidates of parts, counts, probabilities."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from bridge.providers.base import UNBELIEVABLE, Usage
from bridge.providers.finish_words import read_foreign_finish
from bridge.providers.odd_json import RUBBISH, decode_odd, may_be_odd, mend_texts
from bridge.providers.openai import clamp_usage

# By the names of Google's enum, and by its numbers: behind some proxies those arrive.
FINISH_REASONS: dict[str | int, str] = {
    "MAX_TOKENS": "length",
    2: "length",
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"), "content_filter"),
    **dict.fromkeys((3, 4, 7, 8, 9), "content_filter"),
    **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"), "content_filter"),
}
UNEXPECTED_CALL = ("UNEXPECTED_TOOL_CALL", 12)
UNFINISHED = (None, "", 0, "FINISH_REASON_UNSPECIFIED")
UNBLOCKED = (None, "", 0, "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
Enum = str | int | None


# `gc=False`: nothing here can refer to itself, and so many are made that the collector would run for them alone.


class Call(Struct, gc=False):
    name: str | None = None
    args: Any = None
    id: str | None = None


class Part(Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    function_call: Call | None = None
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
    odd: Any = False  # ours: its texts may end in half a character


class Modality(Struct, rename="camel"):
    """How many of the tokens are of a kind: TEXT, IMAGE, VIDEO, AUDIO, DOCUMENT."""

    modality: str | None = None
    token_count: int | None = None


class Counts(Struct, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    cache_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class TopTokens(Struct):
    candidates: list[Token] | None = None


class Logprobs(Struct, rename="camel"):
    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_counts = msgspec.json.Decoder(Counts).decode
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


def _keep_raw(value: Any, *fields: str) -> None:
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
    return None if part.thought or part.function_call is not None else part.text


def is_blocked(answer: Answer) -> bool:
    return answer.prompt_feedback is not None and answer.prompt_feedback.block_reason not in UNBLOCKED


def read_finish_reason(reason: Enum, *, called: bool) -> str:
    """OpenAI's word for it; what has none, and what is unknown, is a stop. Raises AttemptFailed for a failure."""
    found = FINISH_REASONS.get(reason or "") or read_foreign_finish(reason)
    return "tool_calls" if called and found == "stop" else found


def read_counts(raw: Raw) -> Usage | None:
    """The counts, None where the prompt's is missing. Thoughts stand beside the candidates' own
    tokens, and what tools of Google's put into the prompt beside the prompt's."""
    try:
        counts = _decode_counts(raw) if says(raw) else Counts()
    except RUBBISH:
        return UNBELIEVABLE
    if counts.prompt_token_count is None:
        return None
    prompt = counts.prompt_token_count + (counts.tool_use_prompt_token_count or 0)
    thoughts, said = counts.thoughts_token_count or 0, counts.candidates_token_count
    if said is None:  # left out when every token was a thought
        said = max(0, (counts.total_token_count or 0) - prompt - thoughts)
    if min(counts.prompt_token_count, prompt, thoughts, said) < 0:
        return UNBELIEVABLE
    heard, heard_before = (
        _count(found, "AUDIO") for found in (counts.prompt_tokens_details, counts.cache_tokens_details)
    )
    seen, seen_before = (
        _count(found, "IMAGE") for found in (counts.prompt_tokens_details, counts.cache_tokens_details)
    )
    return clamp_usage(
        prompt,
        said + thoughts,
        counts.cached_content_token_count or 0,
        thoughts,
        audio=heard - heard_before,
        cached_audio=heard_before,
        audio_output=_count(counts.candidates_tokens_details, "AUDIO"),
        image=seen - seen_before,
    )


def _count(details: list[Modality] | None, modality: str) -> int:
    """The tokens of one kind."""
    return sum(max(0, one.token_count or 0) for one in details or () if one.modality == modality)


def read_logprobs(raw: Raw) -> dict[str, Any] | None:
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


def _write_token(token: Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}
