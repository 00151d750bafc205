"""What OpenAI's refusals ask for: the other dialect, or the same request without a part of it."""

from bridge.json_types import JsonObject
from bridge.providers.base import AttemptFailed, Blame, Remedy
from bridge.providers.blame.error_bodies import Said, list_said
from bridge.providers.openai.wires import BY_CHAT, BY_RESPONSES, BY_RESPONSES_WITH_TOOLS

PATH = "/responses"
# Parts of a request, as Order.without names them.
THOUGHTS, SUMMARY, ENCRYPTED = "thoughts", "summary", "encrypted"
NO_PATH = (404, 405)
WITHOUT_THOUGHTS = Remedy(without=THOUGHTS)
WITHOUT_SUMMARY = Remedy(without=SUMMARY, lasts=True)
WITHOUT_ENCRYPTED = Remedy(without=ENCRYPTED, lasts=True)
WITH_TOOLS = Remedy(wire=BY_RESPONSES_WITH_TOOLS, lasts=True)
ALWAYS = Remedy(wire=BY_RESPONSES, lasts=True)
BY_CHAT_INSTEAD = Remedy(wire=BY_CHAT, lasts=True, path=PATH)


def _read(said: Said) -> Remedy | None:
    text, param = said.message.lower(), said.param or ""
    if param == "reasoning_effort" and "/v1/responses" in text:
        return WITH_TOOLS
    if "only supported in v1/responses" in text:
        return ALWAYS
    if "not supported with the responses api" in text:
        return BY_CHAT_INSTEAD
    if said.code == "invalid_encrypted_content" or "without its required following item" in text:
        return WITHOUT_THOUGHTS
    if "encrypted content is not supported" in text:
        return WITHOUT_ENCRYPTED
    if param == "reasoning.summary" or ("reasoning summar" in text and "verified" in text):
        return WITHOUT_SUMMARY
    return None


def with_remedy(failure: AttemptFailed, status: int, data: bytes) -> AttemptFailed:
    """The failure, and how the request that was refused so goes to the same channel once more: nothing where nothing is
    known to help."""
    said = list_said(data)
    failure.remedy = next((remedy for one in said if (remedy := _read(one)) is not None), None)
    if failure.remedy is None and failure.blame is Blame.SETUP and status in NO_PATH:
        of_model = any("model" in (one.message + one.code).lower() for one in said)
        failure.remedy = None if of_model else BY_CHAT_INSTEAD  # a server that knows chat completions alone
    return failure


def error_of(event: JsonObject) -> JsonObject:
    """The error that an event or a failed response holds, as the body of an error."""
    found = event.get("error")
    if not isinstance(found, dict):
        found = {name: event[name] for name in ("code", "message", "param") if event.get(name) is not None}
    return {"error": found}
