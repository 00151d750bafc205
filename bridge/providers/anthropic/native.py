"""The request of a client who speaks Anthropic's own dialect: it goes on as it came, blocks and all, but for what
chooses a host, state or a price, and for what would have Anthropic refuse it."""

from collections.abc import Callable, Iterable

from bridge.conversation.request import Native
from bridge.json_types import Json, JsonObject
from bridge.providers.anthropic.betas import HEADER, pick_betas
from bridge.providers.anthropic.errors import GIVEN_BACK
from bridge.providers.anthropic.models import Claude
from bridge.providers.anthropic.thinking import LEAST_BUDGET
from bridge.providers.anthropic.turns import OPENING, THOUGHTS
from bridge.providers.base import Order
from bridge.providers.openai.request_fields import show_field
from bridge.providers.sides import remind
from bridge.providers.tool_names import ANTHROPIC_IDS, SafeNames

# What goes on; all else may choose a model, a host, a price or stored state there.
FIELDS = frozenset(
    {"model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences"}
    | {"tools", "tool_choice", "thinking", "output_config", "output_format", "cache_control", "context_management"}
    | {"service_tier", "metadata"}
)
SILENT = frozenset({"speed", "inference_geo"})  # which hold what is so anyway
OURS = "ab1."  # how the envelopes begin in which clients carry other providers' reasoning
TOOL_SEARCH = "tool_search_tool_"


class Written:
    """The body and the headers, with what was left out or changed."""

    def __init__(self, body: JsonObject, headers: tuple[tuple[str, str], ...], dropped: list[str], clamped: list[str]):
        self.body, self.headers, self.dropped, self.clamped = body, headers, dropped, clamped


def write_native(order: Order, native: Native, claude: Claude, default_cap: int) -> Written:
    """The request as it goes out. Nothing of the client's own is changed in place."""
    given, dropped, clamped = native.body, list[str](), list[str]()
    allowed = FIELDS | order.passes
    out: JsonObject = {field: value for field, value in given.items() if field in allowed and value is not None}
    dropped += [show_field(field) for field in given if field not in allowed and field not in SILENT]
    out["model"] = order.upstream_id
    out["max_tokens"] = cap = order.output_cap or given.get("max_tokens") or default_cap
    _write_metadata(out)
    _write_tools(out, dropped)
    unwanted = _is_thought if GIVEN_BACK in order.without else is_foreign_thought
    messages = _fit_ids(_without_thoughts(given["messages"], unwanted))
    out["messages"] = _place_system(out, messages, claude)
    _write_thinking(out, cap, claude, clamped)
    betas = pick_betas(native.betas, order.context_tokens)
    headers = ((HEADER, ",".join(betas)),) if betas else ()
    return Written(out, headers, dropped, clamped)


def _write_metadata(out: JsonObject) -> None:
    """Whose request it is, and nothing else of it."""
    who = (out.pop("metadata", None) or {}).get("user_id")
    if isinstance(who, str) and who:
        out["metadata"] = {"user_id": who}


def _write_tools(out: JsonObject, dropped: list[str]) -> None:
    """Without the search for tools, which is Anthropic's own to run: then all tools are sent at once."""
    tools: list[JsonObject] = out.get("tools") or []
    searches = [place for place, tool in enumerate(tools) if str(tool.get("type") or "").startswith(TOOL_SEARCH)]
    if not searches:
        return
    dropped += [f"tools.{place}" for place in searches]
    kept = [tool for place, tool in enumerate(tools) if place not in searches]
    kept = [{field: value for field, value in tool.items() if field != "defer_loading"} for tool in kept]
    del out["tools"]
    if kept:
        out["tools"] = kept


def _write_thinking(out: JsonObject, cap: int, claude: Claude, clamped: list[str]) -> None:
    """A budget fits below the cap; and where the turn that the model goes on with has lost its thoughts, there can be
    none."""
    thinking = out.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if claude.takes_budget and not may_think(out["messages"]):
        del out["thinking"]
        clamped.append("thinking=disabled")
    elif isinstance(budget, int) and budget >= cap > LEAST_BUDGET:
        out["thinking"] = {**thinking, "budget_tokens": cap - 1}
        clamped.append(f"thinking.budget_tokens={cap - 1}")
    elif isinstance(budget, int) and cap <= LEAST_BUDGET:
        del out["thinking"]
        clamped.append("thinking=disabled")


def may_think(messages: Iterable[JsonObject]) -> bool:
    """Whether thinking with a budget is possible: the turn that the model goes on with, which reaches back over its
    tool calls, has to begin with its thoughts."""
    first_of_turn = None
    for message in messages:
        kinds = [block.get("type") for block in message["content"] if isinstance(block, dict)]
        if message["role"] == "assistant":
            first_of_turn = first_of_turn or (kinds[0] if kinds else "text")
        elif message["role"] == "user" and "tool_result" not in kinds:
            first_of_turn = None
    return first_of_turn is None or first_of_turn in THOUGHTS


def _without_thoughts(messages: list[JsonObject], goes: Callable[[JsonObject], bool]) -> list[JsonObject]:
    """Without these thoughts, and without turns in which nothing else was said. Those that Anthropic never signed it
    would refuse in every later turn too."""
    written = []
    for message in messages:
        content = message["content"]
        if message["role"] == "assistant" and isinstance(content, list):
            kept = [block for block in content if not goes(block)]
            if len(kept) < len(content):
                if not kept:
                    continue
                message = {**message, "content": kept}
        written.append(message)
    return written or [{"role": "user", "content": OPENING}]


def _is_thought(block: JsonObject) -> bool:
    return block.get("type") in THOUGHTS


def is_foreign_thought(block: JsonObject) -> bool:
    """Whether the block is of thoughts without a signature, or with one of ours."""
    kind = block.get("type")
    if kind not in THOUGHTS:
        return False
    proof: Json = block.get("signature" if kind == "thinking" else "data")
    return not isinstance(proof, str) or not proof or proof.startswith(OURS)


def _fit_ids(messages: list[JsonObject]) -> list[JsonObject]:
    """Calls that another provider's model made may have ids that Anthropic refuses."""
    ids = [
        block["id"]
        for message in messages
        if message["role"] == "assistant" and isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_use"
    ]
    safe = SafeNames(ids, ANTHROPIC_IDS)
    if all(safe.write(call_id) == call_id for call_id in ids):
        return messages
    return [{**message, "content": _with_ids(message["content"], safe)} for message in messages]


def _with_ids(content: Json, safe: SafeNames) -> Json:
    if not isinstance(content, list):
        return content
    written = []
    for block in content:
        if block.get("type") == "tool_use":
            block = {**block, "id": safe.write(block["id"])}
        elif block.get("type") == "tool_result":
            block = {**block, "tool_use_id": safe.write(block["tool_use_id"])}
        written.append(block)
    return written


def _place_system(out: JsonObject, messages: list[JsonObject], claude: Claude) -> list[JsonObject]:
    """Messages of role system: those before all others are the system's; later ones stay where the model takes them
    (after a user's turn, and before the model's or at the end), otherwise they are a part of the user's turn."""
    if all(message["role"] != "system" for message in messages):
        return messages
    first = 0
    while first < len(messages) and messages[first]["role"] == "system":
        first += 1
    if first:
        before = _blocks_of(out.get("system") or [])
        out["system"] = [*before, *(block for message in messages[:first] for block in _blocks_of(message["content"]))]
    placed: list[JsonObject] = []
    waiting: list[JsonObject] = []  # what no user's turn came before
    for number, message in enumerate(messages[first:], first):
        follows = bool(placed) and placed[-1]["role"] == "user"
        leads = number + 1 == len(messages) or messages[number + 1]["role"] == "assistant"
        if message["role"] != "system" or claude.takes_system_turns and follows and leads:
            placed.append(message)
        else:
            waiting += _remind(message["content"])
        if waiting and placed and placed[-1]["role"] == "user":
            placed[-1] = {**placed[-1], "content": [*_blocks_of(placed[-1]["content"]), *waiting]}
            waiting = []
    if waiting:
        placed.append({"role": "user", "content": waiting})
    return placed or [{"role": "user", "content": OPENING}]


def _remind(content: Json) -> list[JsonObject]:
    """The system's words within the user's turn, behind its results."""
    blocks = [block for block in _blocks_of(content) if block.get("type") == "text"]
    return [{**block, "text": remind(block["text"])} for block in blocks]


def _blocks_of(content: Json) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return list(content)
