"""What the items of an answer of OpenAI's Responses say, in the words of a Choice."""

from collections.abc import Iterator

from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.base import failed_finish
from bridge.providers.finish_words import read_foreign_finish
from bridge.providers.openai.usage import read_openai_usage

CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
UNFINISHED = ("queued", "in_progress", "failed", "cancelled")
MAX_CITATIONS = 1000
TEXT, REFUSAL, SUMMARY, OPEN = "text", "refusal", "summary", "reasoning_text"
Said = tuple[str, int, str, JsonObject]  # what kind of text, its place, itself, and all of its part


def text_of(value: Json) -> str:
    return value if isinstance(value, str) else ""


def list_of(value: Json) -> list[JsonObject]:
    """The objects of a list, and nothing else that may stand there."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def list_texts(item: JsonObject) -> Iterator[Said]:
    """The texts of a message, or of what was thought, in order."""
    if item.get("type") == "reasoning":
        for place, part in enumerate(list_of(item.get("summary"))):
            yield SUMMARY, place, text_of(part.get("text")), part
        for place, part in enumerate(list_of(item.get("content"))):
            yield OPEN, place, text_of(part.get("text")), part
        return
    for place, part in enumerate(list_of(item.get("content"))):
        if part.get("type") == "refusal":
            yield REFUSAL, place, text_of(part.get("refusal")), part
        elif part.get("type") in ("output_text", "text"):
            yield TEXT, place, text_of(part.get("text")), part


def write_logprobs(logprobs: Json, field: str = "content") -> JsonObject | None:
    """As chat completions have them."""
    found = list_of(logprobs)
    return {"content": None, "refusal": None, field: found} if found else None


def cite(annotations: Json, start: int) -> list[JsonObject]:
    """Citations of pages as chat completions have them; `start` is where their text begins in the answer. Those of
    files have no equal there."""
    cited = []
    for annotation in list_of(annotations)[:MAX_CITATIONS]:
        url = annotation.get("url")
        if annotation.get("type") != "url_citation" or not isinstance(url, str):
            continue
        begin, end = annotation.get("start_index"), annotation.get("end_index")
        place: JsonObject = {
            "url": url,
            "title": text_of(annotation.get("title")),
            "start_index": start + (begin if isinstance(begin, int) else 0),
            "end_index": start + (end if isinstance(end, int) else 0),
        }
        cited.append({"type": "url_citation", "url_citation": place})
    return cited


def say_why(response: JsonObject, called: bool) -> str:
    """Why the answer ended, in the words of chat completions. Raises AttemptFailed where it has not, or failed."""
    status = response.get("status") or "completed"
    if status == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return read_foreign_finish(reason or "max_output_tokens", CUT)
    if status in UNFINISHED or not isinstance(status, str):
        raise failed_finish(status)
    read_foreign_finish(status, {"completed": "stop"})  # which a word that nobody knows doesn't survive
    return "tool_calls" if called else "stop"


def read_counts(response: JsonObject) -> Counts | None:
    return read_openai_usage(response.get("usage"))


def is_failed(response: JsonObject) -> bool:
    """Whether it says itself what went wrong."""
    return response.get("status") == "failed" or isinstance(response.get("error"), dict)
