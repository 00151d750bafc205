"""The request of a client that speaks Responses itself: its own body goes on, as far as its fields are known to choose
no model, host, price or stored state."""

from collections.abc import Collection

from bridge.conversation.request import Native
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import find_cap
from bridge.providers.base import Order, refuse
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.responses.errors import THOUGHTS
from bridge.providers.responses.fields import INCLUDE_LOGPROBS, fit, write_cap, write_fixed, write_reasoning
from bridge.providers.responses.thoughts import drop_loose, is_id, pick_thought, read_thoughts

# What goes on as it came; what is written anew stands in `WRITTEN`, and all else is named.
AS_THEY_CAME = (
    *("instructions", "tools", "tool_choice", "parallel_tool_calls", "truncation", "metadata", "user"),
    *("safety_identifier", "prompt_cache_key", "service_tier", "text", "temperature", "top_p", "top_logprobs"),
    "stream_options",
)
WRITTEN = frozenset({"model", "input", "stream", "store", "include", "reasoning", "max_output_tokens"})
FITTED = ("temperature", "top_p", "top_logprobs")
OF_REASONING = frozenset({"effort", "summary", "generate_summary", "context"})
INCLUDED = frozenset({"reasoning.encrypted_content", INCLUDE_LOGPROBS, "message.input_image.image_url"})
TOOLS = frozenset({"function", "custom", "namespace", "tool_search"})  # which cost nothing but their tokens
CALLS = frozenset({"function_call", "custom_tool_call"})
# Items that a conversation is made of, and how their ids begin.
ITEMS = {
    "message": "msg_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "reasoning": "rs_",
    "additional_tools": "at_",
    "tool_search_call": "tsc_",
    "tool_search_output": "tso_",
    "compaction": "cmp_",
}
SEALED = "ab1."  # how what we have sealed for a client begins


def write_native(order: Order, native: Native) -> Draft:
    """The body that goes out. Raises AttemptFailed for tools and items that have no price here."""
    body, conversation = native.body, order.conversation
    draft = Draft(order, {}, [], [])
    given = body.get("reasoning")
    asked: JsonObject = given if isinstance(given, dict) else {}
    fit(draft, {field: body.get(field) for field in FITTED}, asked.get("effort"))
    fitted, draft.out = draft.out, {"model": order.upstream_id}
    out = draft.out
    for field, value in body.items():
        if value is None or field in WRITTEN:
            continue
        if field not in AS_THEY_CAME:
            draft.name_dropped(field)
        elif field not in FITTED or field in fitted:
            out[field] = fitted.get(field, value)
    _check_tools(out.get("tools"), "tools")
    out["input"] = _write_input(order, body.get("input"))
    known = {name: value for name, value in asked.items() if name in OF_REASONING and value is not None}
    for name in asked.keys() - OF_REASONING:
        draft.name_dropped(f"reasoning.{name}")
    out |= write_reasoning(order, fitted.get("reasoning_effort"), known)
    write_cap(draft, find_cap(conversation, order.output_cap))
    out |= write_fixed(order, False)
    wanted = body.get("include")
    more = [name for name in wanted if name in INCLUDED] if isinstance(wanted, list) else []
    if include := list(dict.fromkeys([*out.get("include", ()), *more])):
        out["include"] = include
    if order.passes:
        out |= take_passed(body, order.passes, out)
    return draft


def _check_tools(tools: Json, place: str) -> None:
    """Tools that run at the provider are billed apart."""
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in TOOLS:
            where = f"{place}[{i}].type"
            raise refuse(where, f"{where}: tools that run at the provider are not offered.", "unsupported_parameter")


def _write_input(order: Order, given: Json) -> Json:
    """The items, each with an id that OpenAI takes or none. Reasoning that is still sealed is another provider's, or
    another account's: it is left out, and so is what led to nothing. Reasoning that the client left out itself, as one
    does that only refers to items, is put back before its call."""
    if not isinstance(given, list):
        return given
    items: list[JsonObject] = []
    told = [item.get("encrypted_content") for item in given if _kind_of(item) == "reasoning"]
    for i, item in enumerate(given):
        kind = _kind_of(item)
        if kind not in ITEMS:
            place = f"input[{i}].type"
            raise refuse(place, f"{place}: this item is not taken here.", "unsupported_parameter")
        if kind == "reasoning":
            thought = None if THOUGHTS in order.without else pick_thought(item)
            if thought is not None and not thought["encrypted_content"].startswith(SEALED):
                items.append(thought)
            continue
        if kind == "additional_tools":
            _check_tools(item.get("tools"), f"input[{i}].tools")
        if "id" in item and not is_id(item["id"], ITEMS[kind]):
            item = {field: value for field, value in item.items() if field != "id"}
        if kind in CALLS and THOUGHTS not in order.without:
            item = _lead_up(items, item, order.kept.get(str(item.get("call_id"))), told)
        items.append(item)
    return _drop_unled(items)


def _lead_up(items: list[JsonObject], call: JsonObject, kept: Json, told: Collection[Json]) -> JsonObject:
    """Add what we kept of the reasoning before this call to the items, as far as the client hasn't told it. Gives the
    call, with the id that OpenAI knows it by."""
    lead, near = (
        [thought for thought in read_thoughts(kept, field) if thought["encrypted_content"] not in told]
        for field in ("lead", "items")
    )
    at = len(items)
    while at and items[at - 1].get("role") == "assistant":
        at -= 1
    items[at:at] = lead
    items += near
    item_id = kept.get("item_id") if isinstance(kept, dict) else None
    return {**call, "id": item_id} if (lead or near) and is_id(item_id, ITEMS[_kind_of(call)]) else call


def _kind_of(item: Json) -> str:
    if not isinstance(item, dict):
        return ""
    kind = item.get("type") or ("message" if "role" in item else "")
    return kind if isinstance(kind, str) else ""


def _drop_unled(items: list[JsonObject]) -> list[JsonObject]:
    """The items without reasoning that leads to nothing of the model's own."""
    kept: list[JsonObject] = []
    for item in items:
        mine = item.get("type") in ("reasoning", "function_call", "custom_tool_call", "tool_search_call")
        if not (mine or item.get("role") == "assistant"):
            kept = drop_loose(kept)
        kept.append(item)
    return drop_loose(kept)
