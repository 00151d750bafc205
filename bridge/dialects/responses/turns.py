"""The input of a Responses request as turns: what the model said and called in a row is one turn of it, and the results
of its calls come right behind, whatever their order was."""

import re
from collections import defaultdict, deque
from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from bridge.conversation.turns import Call, Media, Part, Result, Text, Thoughts, Turn
from bridge.dialects.envelope import open_value
from bridge.dialects.responses.parts import read_parts
from bridge.dialects.responses.request import (
    ITEMS,
    AdditionalToolsItem,
    CustomCallItem,
    FunctionCallItem,
    Item,
    MessageItem,
    OutputItem,
    ReasoningItem,
    ToolSearchCallItem,
    ToolSearchOutputItem,
    check,
    kind_of,
)
from bridge.dialects.responses.tools import Offered
from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

SEARCH = "tool_search"
Read = tuple[int, str, JsonObject, Item]  # its place, its type, as it came, and checked
NOT_FOUND = "invalid_value"
_OURS = re.compile(r"(msg|rs|fc|ctc)_[0-9a-f]{32}_\d+")  # the ids of items that we made


class Input(Struct):
    """What the input says. `carried`: what providers had sealed with calls, by call id. `native`: the items for an
    upstream of this dialect, which gets its own reasoning back and nobody else's."""

    turns: list[Turn] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)
    carried: dict[str, Json] = field(default_factory=dict)
    native: list[JsonObject] = field(default_factory=list)
    has_calls: bool = False


def read_input(items: Sequence[JsonObject], offered: Offered, account_id: int) -> Input:
    """The input, and in `offered` the tools that its items bring. Raises InvalidRequest and msgspec.ValidationError."""
    read: list[Read] = []
    for number, item in enumerate(items):
        place = f"input[{number}]"
        kind = kind_of(item, place)
        read.append((number, kind, item, check(item, ITEMS[kind], place)))
    for at, (number, kind, item, found) in enumerate(read):
        if isinstance(found, AdditionalToolsItem | ToolSearchOutputItem):
            kept = offered.add(found.tools or (), f"input[{number}].tools")
            read[at] = (number, kind, {**item, "tools": kept}, found)
    return _Reader(read, offered, account_id).read()


class _Reader:
    def __init__(self, read: list[Read], offered: Offered, account_id: int):
        self._read, self._offered, self._account_id = read, offered, account_id
        self._results: dict[str, deque[Result]] = defaultdict(deque)  # that were not put behind their call yet
        self._parts: list[Part] = []  # of the model's turn so far
        self._sources: list[Json] = []
        self._calls: list[tuple[int, str]] = []  # of that turn: where, and their ids
        self._place = ""
        self.input = Input()

    def read(self) -> Input:
        """All of it, in order."""
        for number, _, _, found in self._read:
            if isinstance(found, OutputItem | ToolSearchOutputItem) and found.call_id:
                self._results[found.call_id].append(self._read_result(number, found))
        self._check_pairs()
        for number, kind, item, found in self._read:
            self._add(number, kind, item, found)
        self._end_turn()
        return self.input

    def _check_pairs(self) -> None:
        """Each call needs its output, and each output its call: providers answer what lacks one with nonsense."""
        calls: dict[str, list[int]] = defaultdict(list)
        for number, _, _, found in self._read:
            if isinstance(found, FunctionCallItem | CustomCallItem | ToolSearchCallItem) and found.call_id:
                calls[found.call_id].append(number)
        for call_id, places in calls.items():
            if len(self._results.get(call_id, ())) < len(places):
                param = f"input[{places[-1]}].call_id"
                message = f"No tool output found for function call {call_id[:80]}."
                raise InvalidRequest(message, param=param, code=NOT_FOUND)
        for call_id, results in self._results.items():
            if len(results) > len(calls.get(call_id, ())):
                param = f"{results[-1].place}.call_id"
                message = f"No tool call found for function call output with call_id {call_id[:80]}."
                raise InvalidRequest(message, param=param, code=NOT_FOUND)

    def _add(self, number: int, kind: str, item: JsonObject, found: Item) -> None:
        place = f"input[{number}]"
        native: JsonObject | None = item
        if isinstance(found, MessageItem):
            self._add_message(found, item, place)
        elif isinstance(found, FunctionCallItem):
            self._add_call(number, item, found.call_id, self._flat(found), found.arguments)
        elif isinstance(found, CustomCallItem):
            arguments = msgspec.json.encode({"input": found.input}).decode()
            self._add_call(number, item, found.call_id, self._flat(found), arguments)
        elif isinstance(found, ToolSearchCallItem):
            if found.call_id:
                arguments = msgspec.json.encode(found.arguments or {}).decode()
                self._add_call(number, item, found.call_id, SEARCH, arguments)
        elif isinstance(found, OutputItem) and not found.call_id:
            native = self._add_stray(found, place)
        elif isinstance(found, OutputItem | ToolSearchOutputItem):
            self._end_turn()
        elif isinstance(found, ReasoningItem):
            native = self._add_reasoning(found, item, place)
        if native is not None:
            self._pass_on(native, kind)

    def _pass_on(self, native: JsonObject, kind: str) -> None:
        if _OURS.fullmatch(str(native.get("id"))):  # which means nothing there
            native = {field: value for field, value in native.items() if field != "id"}
        self.input.native.append(native if "type" in native else {"type": kind, **native})

    def _flat(self, found: FunctionCallItem | CustomCallItem) -> str:
        return self._offered.names.flatten(found.name, found.namespace)

    def _add_message(self, found: MessageItem, item: JsonObject, place: str) -> None:
        parts = read_parts(found.content, f"{place}.content", found.role)
        if found.role == "assistant":
            said = [part for part in parts if not isinstance(part, Text) or part.text]
            self._say(said, item, place)
            return
        self._end_turn()
        self._keep_media(parts)
        role = "user" if found.role == "user" else "system"
        self.input.turns.append(Turn(role, parts, place, item))

    def _add_stray(self, found: OutputItem, place: str) -> JsonObject:
        """What was put out for nobody's call is something that the user says."""
        self._end_turn()
        parts = read_parts(found.output or "", f"{place}.output")
        self._keep_media(parts)
        content = (
            found.output if isinstance(found.output, list) else [{"type": "input_text", "text": found.output or ""}]
        )
        message: JsonObject = {"type": "message", "role": "user", "content": content}
        self.input.turns.append(Turn("user", parts, place, message))
        return message

    def _add_call(self, number: int, item: JsonObject, call_id: str, name: str, arguments: str) -> None:
        place = f"input[{number}]"
        self._say([Call(call_id, name, arguments, place)], item, place)
        self._calls.append((number, call_id))
        self.input.has_calls = True

    def _add_reasoning(self, found: ReasoningItem, item: JsonObject, place: str) -> JsonObject | None:
        """Reasoning that the client gives back; what stands in no envelope of ours is another's, and for an upstream of
        this dialect alone. Gives the item for such a one, None where it isn't its own."""
        sealed: list[Json] = []
        native: JsonObject | None = {field: value for field, value in item.items() if value is not None}
        if (text := found.encrypted_content or "").startswith("ab1."):
            opened = open_value(text, self._account_id) or {}
            value, call_id = opened.get("value"), opened.get("call_id")
            if call_id:
                self.input.carried[call_id] = value
            elif value is not None:
                sealed.append(value)
            theirs = value.get("encrypted_content") if isinstance(value, dict) else None
            native = {**native, "encrypted_content": theirs} if native and isinstance(theirs, str) else None
        elif not text:
            native = None  # without state there, they know it by nothing else
        thoughts = [part.text for part in (found.summary or []) or (found.content or []) if part.text]
        if thoughts or sealed:
            self._say([Thoughts("\n\n".join(thoughts), sealed=sealed)], item, place)
        return native

    def _say(self, parts: Sequence[Part], item: JsonObject, place: str) -> None:
        if not self._parts:
            self._place = place
        self._parts += parts
        self._sources.append(item)

    def _end_turn(self) -> None:
        """The model's turn is over: it, and the results of its calls."""
        if any(not isinstance(part, Thoughts) for part in self._parts):
            self.input.turns.append(Turn("assistant", self._parts, self._place, self._sources))
        results: list[Result] = []
        for _, call_id in self._calls:
            result = self._results[call_id].popleft()
            results.append(result)
            self._keep_media(result.parts)
        if results:
            source = [_describe(result) for result in results]
            self.input.turns.append(Turn("user", results, results[0].place, source))
        self._parts, self._sources, self._calls = [], [], []

    def _read_result(self, number: int, found: OutputItem | ToolSearchOutputItem) -> Result:
        place = f"input[{number}]"
        if isinstance(found, ToolSearchOutputItem):
            names = [tool.get("name") for tool in found.tools or ()]
            parts: Sequence[Text | Media] = [Text(msgspec.json.encode({"tools": names}).decode())]
        else:
            parts = read_parts(found.output or "", f"{place}.output")
        return Result(found.call_id or "", None, parts, place)

    def _keep_media(self, parts: Sequence[Text | Media]) -> None:
        self.input.media += [part for part in parts if isinstance(part, Media)]


def _describe(result: Result) -> Json:
    """What tells it from other results: its call and its texts, or what stands for the rest."""
    return [result.call_id, [part.text if isinstance(part, Text) else part.source[:1024] for part in result.parts]]
