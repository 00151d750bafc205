"""The tool calls of one choice, put in order: whichever way a server cuts and numbers them, each goes out as OpenAI
writes it, with its place, its id and its name once, and its arguments as text.

What a piece belongs to is told by its id, else by its index, else by its name, else it goes on with the last call.
Where these contradict each other, arguments that are whole decide: nothing can follow them."""

import re
from collections.abc import Mapping

import msgspec

from bridge.conversation.answer import NOTHING_KEPT
from bridge.json_types import Json, JsonObject
from bridge.providers.odd_json import Halves, mend_text, mend_texts
from bridge.providers.openai.shapes import SoundCall
from bridge.providers.translated import new_call_id

_MARKS = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
Piece = JsonObject


class Arguments:
    """The text of a call's arguments so far, and whether it is a whole JSON object or list. Each piece is looked at
    once, and only when somebody asks."""

    __slots__ = ("_begun", "_blank", "_depth", "_escaped", "_inside", "_seen", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._seen = self._blank = 0  # pieces that were looked at, and those at the beginning that are blank
        self._depth = 0
        self._begun = self._inside = self._escaped = False

    def are_whole(self) -> bool:
        pieces = self.pieces
        while self._seen < len(pieces):
            self._look_at(pieces[self._seen])
            self._seen += 1
        return self._begun and self._depth <= 0 and not self._inside

    def are_missing(self) -> bool:
        while self._blank < len(self.pieces) and not self.pieces[self._blank].strip():
            self._blank += 1
        return self._blank == len(self.pieces)

    def join(self) -> str:
        """All of it: the pieces are one from now on, so that nobody joins them again."""
        if len(self.pieces) > 1:
            self.are_whole()
            self.pieces[:] = ["".join(self.pieces)]
            self._seen, self._blank = 1, 0
        return self.pieces[0] if self.pieces else ""

    def _look_at(self, piece: str) -> None:
        start = 1 if self._escaped and piece else 0
        self._escaped = self._escaped and not piece
        for found in _MARKS.finditer(piece, start):
            mark = found[0]
            if mark == '"':
                self._inside = not self._inside
            elif mark == "\\":
                self._escaped = True  # the next piece begins with what it escapes
            elif not self._inside and mark in "{[":
                self._begun, self._depth = True, self._depth + 1
            elif not self._inside and mark in "}]":
                self._depth -= 1


class Call:
    """One call. `key` is the server's own index of it, None where it gave none."""

    __slots__ = ("again", "arguments", "begun", "empty", "extra", "held", "id", "index", "key", "kind", "name")

    def __init__(self, index: int, key: int | None, call_id: str = "", name: str = "", kind: str = "function"):
        self.index = index
        self.key = key
        self.id = call_id
        self.name = name
        self.kind = kind
        self.begun = False  # its beginning went out
        self.held: list[str] = []  # arguments that wait for it
        self.again = False  # its name came again once it was whole: perhaps the next one's
        self.empty = False  # an object without anything was said to be them
        self.extra: Json = None
        self.arguments = Arguments()

    def takes_name(self, name: str, offered: frozenset[str] | None) -> bool:
        """Whether this name can be its own: the same, or more of one that came in pieces."""
        if name == self.name or not self.name:
            return True
        if self.begun or offered is None or self.arguments.pieces:
            return False
        longer = name if name.startswith(self.name) else self.name + name
        return any(known.startswith(longer) for known in offered)

    def add_name(self, name: str) -> None:
        if not self.begun and name != self.name:
            self.name = name if name.startswith(self.name) else self.name + name

    def is_nothing(self) -> bool:
        return not (self.begun or self.name or self.arguments.pieces)


class Calls:
    """All calls of a choice. `tools` are those that were offered, None where nobody knows them: a name that is one of
    them is complete, another may still go on. `originals` are the client's names of those that were renamed."""

    def __init__(self, mended: set[str], tools: Json, originals: Mapping[str, str] = NOTHING_KEPT):
        self.list: list[Call] = []
        self.numbered = True  # each piece is to say its place, as in a stream
        self.steady = True  # another piece like the last would be taken in the same way
        self._mended = mended
        self._tools = tools
        self._originals = originals
        self._names: frozenset[str] | None = None
        self._by_id: dict[str, Call] = {}
        self._by_key: dict[int, list[Call]] = {}  # those of one key, the last of them counts
        self._halves: Halves[int] = Halves()
        self._touched: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.list)

    # the short way

    def takes(self, piece: SoundCall) -> bool:
        """Whether this piece is what OpenAI itself would send next: its bytes may go on as they are."""
        function, last = piece.function, self.list[-1] if self.list else None
        if type(function) is msgspec.UnsetType or type(function.arguments) is not str or self._halves:
            return False
        if last is not None and not last.begun:
            return False
        if type(piece.id) is not str:
            if last is None or type(function.name) is str or type(piece.type) is str:
                return False
            return last.key == piece.index == last.index
        if not piece.id or piece.id in self._by_id or piece.index != len(self.list) or type(piece.type) is not str:
            return False
        name = function.name
        return type(name) is str and name not in self._originals and self._is_complete(name)

    def take(self, piece: SoundCall) -> Call:
        """Note such a piece."""
        function = piece.function
        assert not isinstance(function, msgspec.UnsetType)
        if isinstance(piece.id, str):
            call = Call(piece.index, piece.index, piece.id, str(function.name))
            call.begun = True
            self._append(call)
            self._by_id[piece.id] = call
        else:
            call = self.list[-1]
        if function.arguments:
            call.arguments.pieces.append(str(function.arguments))
        return call

    def are_settled(self) -> bool:
        """Whether nothing is left to be said of them."""
        return not self._halves and all(call.begun and not call.arguments.are_missing() for call in self.list)

    # any way

    def read(self, pieces: list[Json]) -> list[Piece]:
        """What goes out for these pieces now. Some wait for their name, or their id."""
        self.steady = len(pieces) == 1
        self._touched = set()
        out: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, dict):
                self._read(piece, out)
        return out

    def finish(self, out: list[Piece], cut: bool) -> list[Piece]:
        """With what is left to be said of them at the end: beginnings that waited, halves of characters, and `{}` for
        calls without arguments, unless the answer was cut."""
        for index, text in self._halves.end().items():
            self._say(self.list[index], text, out, _places(out))
        if self.list and self.list[-1].is_nothing():
            self._drop_last()
        if self.list and not self.list[-1].begun:
            self._begin(self.list[-1], out)
        places = _places(out)
        for call in self.list:
            if call.kind == "function" and call.arguments.are_missing() and (call.empty or not cut):
                self._mended.add("arguments")
                self._say(call, "{}", out, places)
        return out

    def _read(self, piece: Piece, out: list[Piece]) -> None:
        kind = "custom" if isinstance(piece.get("custom"), dict) else "function"
        inner = piece.get(kind)
        inner = inner if isinstance(inner, dict) else piece  # some leave the level out
        call_id, name = (mend_text(one) if isinstance(one, str) else "" for one in (piece.get("id"), inner.get("name")))
        arguments = inner.get("input" if kind == "custom" else "arguments")
        text = self._text_of(arguments)
        key = self._key_of(piece.get("index"))
        call = self._find(key, call_id, name, text)
        if call is None:
            again = self.list[-1] if self.list and self.list[-1].again else None
            if again is not None:
                name, again.again = name or again.name, False
            call = self._new(key, call_id, kind, out)
        elif text and call_id and call.id == call_id and call.arguments.are_whole() and name:
            self.steady = False
            self._mended.add("repeated call")
            return
        self._note_oddities(piece, call, call_id, name, key)
        if name and not call.begun:
            call.add_name(name)
        if call_id and not (call.id or call.begun):
            call.id = self._own(call_id, call)
        call.extra = piece.get("extra_content") or call.extra
        call.empty = call.empty or arguments == {}
        self._touched.add(call.index)
        self._add(call, text, out)
        if call.begun and call.extra:  # it came after the beginning
            self.steady = False
            out.append({"index": call.index, "extra_content": mend_texts(call.extra)})

    def _add(self, call: Call, text: str, out: list[Piece]) -> None:
        text = self._halves.join(call.index, text) if text else ""
        if self._halves:
            self.steady = False
        if text:
            call.arguments.pieces.append(text)
        if call.begun:
            if text:
                out.append(_piece(call, text))
            return
        self.steady = False
        call.held.append(text)
        ready = call.name and (call.arguments.pieces or (call.id and self._is_complete(call.name)))
        if ready:
            self._begin(call, out)

    def _say(self, call: Call, text: str, out: list[Piece], places: dict[int, Piece]) -> None:
        """More arguments, within the piece of this call that goes out already, if there is one (by `places`)."""
        call.arguments.pieces.append(text)
        if not call.begun:
            call.held.append(text)
            return
        field = _field(call)
        piece = places.get(call.index)
        if piece is None:
            out.append(_piece(call, text))
            return
        inner = piece.setdefault(call.kind, {})
        inner[field] = inner.get(field, "") + text

    def _begin(self, call: Call, out: list[Piece]) -> None:
        if not call.id:
            call.id = self._own(new_call_id(), call)
            self._mended.add("id")
        if not call.name:
            self._mended.add("name")
        call.begun, held, call.held = True, "".join(call.held), []
        piece: Piece = {"index": call.index, "id": call.id, "type": call.kind}
        piece[call.kind] = {"name": self._originals.get(call.name, call.name), _field(call): held}
        if call.extra:
            piece["extra_content"], call.extra = mend_texts(call.extra), None
        out.append(piece)

    def _new(self, key: int | None, call_id: str, kind: str, out: list[Piece]) -> Call:
        """The next call. What waited of the one before has waited long enough."""
        self.steady = False
        last = self.list[-1] if self.list else None
        if last is not None and last.is_nothing():
            self._by_id.pop(last.id, None)
            self._drop_last()
        elif last is not None and not last.begun:
            self._begin(last, out)
        call = Call(len(self.list), key, kind=kind)
        self._append(call)
        if call_id:
            call.id = self._own(call_id, call)
        return call

    def _append(self, call: Call) -> None:
        self.list.append(call)
        if call.key is not None:
            self._by_key.setdefault(call.key, []).append(call)

    def _drop_last(self) -> None:
        call = self.list.pop()
        if call.key is not None:
            self._by_key[call.key].pop()

    def _last_of(self, key: int) -> Call | None:
        found = self._by_key.get(key)
        return found[-1] if found else None

    def _own(self, call_id: str, call: Call) -> str:
        """This id, or one of ours where another call of the answer has it."""
        if self._by_id.get(call_id, call) is not call:
            self._mended.add("id")
            call_id = new_call_id()
        self._by_id[call_id] = call
        return call_id

    def _find(self, key: int | None, call_id: str, name: str, text: str) -> Call | None:
        """The call that a piece belongs to; None for a new one."""
        last = self.list[-1] if self.list else None
        if last is None:
            return None
        named = self._by_id.get(call_id) if call_id else None
        if named is not None:
            return named if self._is_repeated(named, key, name, text) else None
        known = last if key is None else self._last_of(key)
        if not name:
            return self._find_nameless(known, last, call_id, text)
        if known is not None and call_id and known.id and known.is_nothing():
            return None
        if known is None or known.index in self._touched or not known.takes_name(name, self._offered()):
            return None
        if known.name and known.arguments.are_whole():
            known.again = known.again or not (text or call_id)
            return None if text or call_id else known
        # with an id of its own but nothing to go on with, it is another call without arguments
        another = call_id and known.id and known.name and not text and known.arguments.are_missing()
        return None if another else known

    def _find_nameless(self, known: Call | None, last: Call, call_id: str, text: str) -> Call | None:
        if known is None:  # an index that nobody announced
            return None if call_id or last.arguments.are_whole() else last
        if call_id:
            return None if known.id and known.arguments.are_whole() else known
        if text and known.again and known.arguments.are_whole():
            return None
        if known is not last and known.arguments.are_whole() and not last.arguments.are_whole():
            self.steady = False
            return last
        return known

    def _is_repeated(self, named: Call, key: int | None, name: str, text: str) -> bool:
        """Whether a known id means its own call again, and not another that got the same."""
        if not name:
            return True
        if named.index in self._touched or not named.takes_name(name, self._offered()):
            return False
        whole = named.arguments.are_whole()
        if key is not None and named.key is not None and key != named.key and whole:
            return False
        return not (whole and text and named.arguments.join() != text)

    def _note_oddities(self, piece: Piece, call: Call, call_id: str, name: str, key: int | None) -> None:
        if (self.numbered or "index" in piece) and (key != call.index or type(piece.get("index")) is not int):
            self._mended.add("index of a call")
        if call.begun and call_id:
            self._mended.add("id")
        if call.begun and name:
            self._mended.add("name")

    def _text_of(self, arguments: Json) -> str:
        """Arguments as text; some send the object itself, or an empty one to begin with."""
        if isinstance(arguments, str):
            return arguments
        if arguments is None or arguments in ({}, []):
            return ""
        self._mended.add("arguments")
        return msgspec.json.encode(mend_texts(arguments)).decode()

    def _key_of(self, index: Json) -> int | None:
        if isinstance(index, str) and index.isdecimal() and len(index) < 10:
            return int(index)
        return int(index) if isinstance(index, int | float) and type(index) is not bool and abs(index) < 1e9 else None

    def _offered(self) -> frozenset[str] | None:
        """The names of the tools: read when the first call comes, since most answers have none."""
        if self._names is None and isinstance(self._tools, list):
            inner = [tool.get(str(tool.get("type"))) for tool in self._tools if isinstance(tool, dict)]
            names = [one.get("name") for one in inner if isinstance(one, dict)]
            self._names = frozenset(name for name in names if isinstance(name, str)) or None
        return self._names

    def _is_complete(self, name: str) -> bool:
        """Whether a name can't go on: it is offered, and no longer one begins with it."""
        offered = self._offered()
        if offered is None or not name:
            return bool(name)
        return name in offered and sum(known.startswith(name) for known in offered) == 1


def _places(out: list[Piece]) -> dict[int, Piece]:
    """The first piece of each call among these."""
    return {piece["index"]: piece for piece in reversed(out)}


def _field(call: Call) -> str:
    return "input" if call.kind == "custom" else "arguments"


def _piece(call: Call, text: str) -> Piece:
    return {"index": call.index, call.kind: {_field(call): text}}
