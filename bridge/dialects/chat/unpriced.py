"""What a chat body may ask for that a provider bills apart, and the catalogue has no price for."""

from bridge.dialects.chat.request import ChatRequest
from bridge.errors import InvalidRequest
from bridge.json_types import Json

FREE_SERVICE_TIERS = (None, "auto", "default")
CLIENT_TOOLS = ("function", "custom")  # which the client runs; a provider bills for those that it runs itself


def refuse_unpriced(request: ChatRequest) -> None:
    """Raises InvalidRequest for it."""
    found: tuple[str, Json] | None = None
    if request.service_tier not in FREE_SERVICE_TIERS:
        found = ("service_tier", "Only auto and default are offered.")
    elif request.web_search_options is not None:
        found = ("web_search_options", "Web search is not offered.")
    elif "audio" in (request.modalities or ()) or request.audio is not None:
        found = ("modalities" if request.modalities else "audio", "Audio output is not offered.")
    for place, tool in enumerate(request.tools or ()):
        if tool.type not in CLIENT_TOOLS:
            found = (f"tools[{place}].type", f"Only {' and '.join(CLIENT_TOOLS)} are offered.")
    if found:
        raise InvalidRequest(f"{found[0]}: {found[1]}", param=found[0], code="unsupported_parameter")
