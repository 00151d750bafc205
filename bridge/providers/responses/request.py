"""A conversation as a request for OpenAI's Responses."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bridge.conversation.request import RESPONSES
from bridge.providers.asked import find_cap, list_called_tools, list_dropped
from bridge.providers.base import Order, Outgoing, refuse
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.responses.errors import PATH, THOUGHTS
from bridge.providers.responses.fields import FITTED, fit, write_cap, write_fixed, write_reasoning
from bridge.providers.responses.items import InputWriter
from bridge.providers.responses.native import write_native
from bridge.providers.responses.tools import write_format, write_tools
from bridge.providers.tool_names import SafeNames
from bridge.providers.tool_schemas import ToolRule

AS_THEY_ARE = ("user", "safety_identifier", "prompt_cache_key", "service_tier", "metadata")
TAKEN = frozenset({*FITTED, *AS_THEY_ARE, "web_search_options"})  # the last is refused


class Reading(Struct, frozen=True):
    """What the answer's reader has to know of the request: whether functions are asked for in the old way, the client's
    names of renamed tools, and whether the client speaks this dialect itself."""

    legacy: bool = False
    names: Mapping[str, str] = {}
    native: bool = False


def write_responses(order: Order, rule: ToolRule, unknown: list[str]) -> Outgoing:
    """The request for `/responses`; `unknown` are the fields inside others that nobody knows. Raises AttemptFailed for
    what can't be said here."""
    conversation = order.conversation
    native = conversation.find_native(RESPONSES)
    if native is not None:
        draft = write_native(order, native)
        reading = Reading(native=True)
    else:
        names = SafeNames([*(tool.name for tool in conversation.tools), *list_called_tools(conversation)], rule.names)
        draft = _write(order, rule, names, unknown)
        reading = Reading(conversation.legacy, names.originals)
    body = msgspec.json.encode(draft.out)
    return Outgoing(PATH, body, dropped=tuple(draft.dropped), clamped=tuple(draft.clamped), reading=reading)


def _write(order: Order, rule: ToolRule, names: SafeNames, unknown: list[str]) -> Draft:
    conversation, options = order.conversation, order.conversation.options
    if options.get("web_search_options") is not None:
        raise refuse("web_search_options", "This model is not offered with web search.", "unsupported_parameter")
    taken = TAKEN | order.passes if order.passes else TAKEN
    draft = Draft(order, {}, [*list_dropped(options, taken), *unknown], [])
    fit(draft, conversation.options, conversation.effort)
    if conversation.stop:
        draft.name_dropped("stop")
    fitted, draft.out = draft.out, {"model": order.upstream_id}
    out, kept = draft.out, None if THOUGHTS in order.without else order.kept
    out["input"] = InputWriter(names, kept).write(conversation)
    out |= write_tools(draft, rule, names)
    if "parallel_tool_calls" in fitted and "tools" in out:
        out["parallel_tool_calls"] = fitted["parallel_tool_calls"]
    out |= write_format(conversation, fitted.get("verbosity"))
    out |= write_reasoning(order, fitted.get("reasoning_effort"))
    out |= {field: fitted[field] for field in ("temperature", "top_p", "top_logprobs") if field in fitted}
    out |= {field: options[field] for field in AS_THEY_ARE if options.get(field) is not None}
    write_cap(draft, find_cap(conversation, order.output_cap))
    out |= write_fixed(order, bool(fitted.get("logprobs")))
    if order.passes:
        out |= take_passed(options, order.passes, out)
    return draft


def reading_of(reading: object) -> Reading:
    """What the request's writer left for the answer's reader."""
    return reading if isinstance(reading, Reading) else Reading()


def is_of(outgoing: Outgoing) -> bool:
    """Whether a request went by Responses."""
    return isinstance(outgoing.reading, Reading)
