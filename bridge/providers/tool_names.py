"""Gives tools names that a provider takes in place of the client's, and finds the client's again: each provider's rule,
and what applies it."""

import re
from collections.abc import Iterable, Iterator

from bridge.json_types import JsonObject


class NameRule:
    """`letters` is what a name is made of, as in a regular expression's brackets; `first` what it begins with, where
    that is less; `most` how many characters it may have."""

    def __init__(self, letters: str, most: int, first: str = ""):
        self.most = most
        self.fits = re.compile(f"[{first or letters}][{letters}]{{0,{most - 1}}}").fullmatch
        self._foreign = re.compile(f"[^{letters}]")
        self._begins = re.compile(f"[{first or letters}]").match

    def bend(self, name: str) -> str:
        """A name that fits and reads like this one, with room for a number behind it."""
        bent = self._foreign.sub("_", name[: self.most - 8]) or "call"
        return bent if self._begins(bent) else f"_{bent}"


ANTHROPIC_NAMES = NameRule("a-zA-Z0-9_-", 128)
ANTHROPIC_IDS = NameRule("a-zA-Z0-9_-", 256)
ANTHROPIC_KEYS = NameRule("a-zA-Z0-9_.-", 64)  # of a tool's properties
GEMINI_NAMES = NameRule("a-zA-Z0-9_.-", 64, first="a-zA-Z_")  # newer models take 128: nobody misses the difference
OPENAI_NAMES = NameRule("a-zA-Z0-9_-", 64)  # DeepSeek's too, and what servers of the dialect check
MOONSHOT_NAMES = NameRule("a-zA-Z0-9_-", 64, first="a-zA-Z_")


class SafeNames:
    """Names by a provider's rule, each for one of the client's only: what is fit stays as it is."""

    def __init__(self, originals: Iterable[str], rule: NameRule):
        self._own = {name for name in originals if rule.fits(name)}
        self._taken = set(self._own)
        self._next: dict[str, int] = {}
        self._written: dict[str, str] = {}
        self._rule = rule

    def write(self, name: str) -> str:
        """The same for the same name."""
        if name not in self._written:
            fit = name in self._own or (name not in self._taken and self._rule.fits(name))
            self._written[name] = name if fit else self.draw(name)
            self._taken.add(self._written[name])
        return self._written[name]

    def find(self, name: str) -> str:
        """What was written for a name; the name itself where nothing was."""
        return self._written.get(name, name)

    def draw(self, name: str) -> str:
        """One that nobody else has."""
        base = self._rule.bend(name)
        found, number = base, self._next.get(base, 2)
        while found in self._taken:
            found, number = f"{base}_{number}", number + 1
        self._next[base] = number
        self._taken.add(found)
        return found

    def add(self, name: str) -> str:
        """A name of our own making, like this one: `write` leaves it as it is."""
        found = self.draw(name)
        self._written[found] = found
        return found

    @property
    def originals(self) -> dict[str, str]:
        """The client's by the provider's, where they differ."""
        return {safe: name for name, safe in self._written.items() if safe != name}


def list_called(messages: Iterable[JsonObject]) -> Iterator[str]:
    """The names in a conversation: of the calls made in it, and of results that name themselves."""
    for message in messages:
        if message["role"] == "assistant":
            for call in message.get("tool_calls") or ():
                if isinstance(named := call.get("function") or call.get("custom"), dict):
                    yield from _name_of(named)
            yield from _name_of(message.get("function_call") or {})
        elif message["role"] in ("tool", "function"):
            yield from _name_of(message)


def rename_calls(message: JsonObject, names: SafeNames) -> JsonObject:
    """The message with its calls, or the name of its result, in the provider's names."""
    if message["role"] in ("tool", "function"):
        return _rename(message, names)
    changed: JsonObject = {}
    if message.get("tool_calls"):
        changed["tool_calls"] = [rename_inside(call, names) for call in message["tool_calls"]]
    if message.get("function_call"):
        changed["function_call"] = _rename(message["function_call"], names)
    return {**message, **changed} if changed else message


def rename_inside(thing: JsonObject, names: SafeNames) -> JsonObject:
    """A tool, call or choice with the name that its `function` or `custom` holds, or those of its `allowed_tools`."""
    for field in ("function", "custom"):
        if isinstance(thing.get(field), dict):
            return {**thing, field: _rename(thing[field], names)}
    allowed = thing.get("allowed_tools")
    if isinstance(allowed, dict) and isinstance(allowed.get("tools"), list):
        tools = [rename_inside(tool, names) if isinstance(tool, dict) else tool for tool in allowed["tools"]]
        return {**thing, "allowed_tools": {**allowed, "tools": tools}}
    return _rename(thing, names)


def _name_of(named: JsonObject) -> Iterator[str]:
    if isinstance(name := named.get("name"), str):
        yield name


def _rename(named: JsonObject, names: SafeNames) -> JsonObject:
    return {**named, "name": names.write(named["name"])} if isinstance(named.get("name"), str) else named
