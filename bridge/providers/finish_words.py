"""Why an answer ended: the words that servers have for it, in OpenAI's. A word that nobody listed here is a failure: a
broken answer must never be sold as a complete one."""

import re
from collections.abc import Mapping

from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Blame, failed_finish

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
# Letters count, not their case nor what stands between them.
HARMLESS: dict[str, tuple[str, ...]] = {
    "stop": (
        # Together; TGI, Mistral, llama.cpp and their kin
        *(
            "eos",
            "eos_token",
            "eos_found",
            "eot",
            "eot_token",
            "eom",
            "end_of_text",
            "end_of_sequence",
            "stop_sequence",
        ),
        *("stop_token", "stop_word", "stop_words", "stop_string", "stop_str", "stop_criteria", "stop_criteria_met"),
        # Claude's, through proxies; OpenRouter, xAI
        *("end_turn", "end_of_turn", "end_of_message", "pause_turn"),
        # Cohere, Ernie, and hosts that say no more than that it is over
        *("complete", "completed", "completion", "end", "ended", "done", "finish", "finished", "normal", "success"),
        *("natural", "ok"),
    ),
    # DeepSeek's `insufficient_system_resource` cuts an answer short, as a cap does.
    "length": (
        *("max_tokens", "max_token", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "max_len"),
        *("max_length", "max_tokens_reached", "model_length", "length_limit", "token_limit", "limit", "truncated"),
        *("model_context_window_exceeded", "context_window_exceeded", "context_length_exceeded", "context_length"),
        *("max_context", "max_context_length", "context_length_reached", "error_limit", "repetition"),
        *("incomplete", "insufficient_system_resource"),
    ),
    "tool_calls": ("tool_use", "tool_call", "tool", "tools", "function_calls", "tool_requests"),
    "content_filter": (
        *("content_filtered", "filtered", "filter", "safety", "refusal", "sensitive", "blocked", "blocklist", "spii"),
        *("prohibited_content", "recitation", "image_safety", "model_armor", "moderation", "content_policy"),
        *("content_policy_violation", "guardrail", "guardrails", "guardrail_intervened", "error_toxic", "unsafe"),
    ),
}
UNFINISHED = ("null", "none", "unspecified", "not_finished", "unfinished", "undefined", "false", "nil")
_PREFIXES = ("finishreason", "stopreason", "reason")


def _letters(word: str) -> str:
    return re.sub("[^a-z]", "", word.lower())


_OURS = {_letters(word): ours for ours, words in HARMLESS.items() for word in (ours, *words)}
_OURS |= {_letters(word): word for word in FINISH_REASONS}
_UNFINISHED = frozenset(_letters(word) for word in UNFINISHED)


def read_finish(word: Json) -> str | None:
    """OpenAI's word for the end, None where it isn't one yet. Raises AttemptFailed for a failure, and for what nobody
    knows. Some servers send numbers of their own for their words: an end like any other."""
    if word in FINISH_REASONS and isinstance(word, str):
        return str(word)
    if not word or isinstance(word, int | float):
        return "stop" if word else None
    if not isinstance(word, str):
        raise AttemptFailed(Blame.UPSTREAM, "the finish reason is no word")
    text = word.strip()
    if text[:1] == "<" and text[-1:] == ">":  # the token that ended it, as some servers of open models say
        return "stop"
    letters = _letters(text.partition(":")[0])  # Google's `content_filter: SAFETY`
    for prefix in _PREFIXES:
        if letters.startswith(prefix) and letters != prefix:
            letters = letters.removeprefix(prefix)
            break
    if letters in _UNFINISHED or not text:
        return None
    if letters not in _OURS:
        raise AttemptFailed(Blame.UPSTREAM, f"the answer ended with {_show(text)}")
    return _OURS[letters]


def read_foreign_finish(word: Json, table: Mapping[Json, str]) -> str:
    """OpenAI's word for one of another dialect, by that dialect's table; some of its servers use OpenAI's own words.
    Raises AttemptFailed for a failure, and for what nobody knows."""
    found = table.get(word) if isinstance(word, str | int) else None
    if found is not None:
        return found
    if not isinstance(word, str):  # a number means what the table says, or nothing
        raise failed_finish(word)
    try:
        return read_finish(word) or "stop"
    except AttemptFailed:
        raise failed_finish(word) from None


def _show(word: str) -> str:
    """The word, as far as it is one, for the operator."""
    return f'"{word}"' if re.fullmatch(r"[A-Za-z0-9_. :-]{1,60}", word) else "a word that is none"
