"""A task for a coding agent, and a model of any provider that does it: two calls of a tool that the agent really
offers, then a text that quotes what the tool gave back."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests import responses_answers
from tests.replay import CUTS, stream_steps, wants_stream
from tests.replies import Call, Reply, cut_in_arguments, write_stream, write_whole
from tests.upstream import CUT, Received, Step, whole

PROMPT = "Write two lines to notes.txt and tell me what is in it."
# The shell computes what is looked for, so that it is nowhere before a command has really run.
COMMANDS = (
    "printf 'first-%d\\n' $((40 + 2)) > notes.txt; cat notes.txt",
    "printf 'second-%d\\n' $((50 + 3)) | tee -a notes.txt",
)
NOTES = "first-42\nsecond-53\n"
TURNS = len(COMMANDS) + 1
THOUGHT, SIGNATURE = "I look at the folder first.", "c2lnbmVkLWJ5LXRoZS1wcm92aWRlcg=="
# What a model says to whatever has no shell: a title is asked for as JSON, a summary as text.
ASIDE = Reply('{"title": "Notes"}')
Shell = Callable[[str], dict[str, Any]]
# The agents' shells by name, and how each takes a command.
SHELLS: dict[str, Shell] = {
    "Bash": lambda command: {"command": command, "description": "Works on the notes"},
    "exec_command": lambda command: {"cmd": command},
    "bash": lambda command: {"command": command, "description": "Works on the notes"},
    "run_commands": lambda command: {"commands": [command]},
    # Qwen Code reads no more output once a command has ended, and on a busy machine the last of it comes after that
    "run_shell_command": lambda command: {"command": f"{command}; sleep 1", "is_background": False},
}
# Those that take text, and no JSON.
TEXT_SHELLS: dict[str, Callable[[str], str]] = {
    "exec": lambda command: f"text((await tools.exec_command({{cmd: {json.dumps(command)}}})).output);",
}


@dataclasses.dataclass(frozen=True)
class Offered:
    """A tool as a request names it. `inner` is its name without its namespace."""

    name: str
    custom: bool = False
    namespace: str | None = None

    @property
    def inner(self) -> str:
        return self.name.rpartition("__")[2]


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a request to a provider says, whatever its dialect: the tools, and what they gave so far."""

    request: Received
    tools: tuple[Offered, ...]
    results: tuple[str, ...]


class Agentic:
    """A provider's model that does the task; a scenario for an upstream. It notes its turns, and what it was asked
    besides. `first`, if given, plays the first turn instead, or so many of them."""

    def __init__(self, provider: str, first: "Callable[[str, Turn], list[Step]] | None" = None, firsts: int = 1):
        self.provider = provider
        self._first, self._firsts = first, firsts
        self.turns: list[Turn] = []
        self.asides: list[Turn] = []

    def __call__(self, request: Received) -> list[Step]:
        turn = read_turn(self.provider, request)
        if find_shell(turn) is None:
            self.asides.append(turn)
            return answer(self.provider, turn)
        self.turns.append(turn)
        is_first = len(self.turns) <= self._firsts
        return (self._first if self._first and is_first else answer)(self.provider, turn)


def answer(provider: str, turn: Turn) -> list[Step]:
    """The provider's bytes for what comes next: a call of the shell, or at the end a text."""
    if is_responses(turn.request):
        return responses_answers.answers(*_items(turn), usage=_responses_usage(reply_to(turn)))(turn.request)
    reply = reply_to(turn)
    if wants_stream(turn.request):
        return stream_steps(write_stream(provider, reply), CUTS)
    return [whole(write_whole(provider, reply))]


def break_off(provider: str, turn: Turn) -> list[Step]:
    """The answer until the middle of its call's arguments, and then the connection is gone."""
    if is_responses(turn.request):
        steps = list(answer(provider, turn))
        place = next(number for number, step in enumerate(steps) if b"function_call_arguments.delta" in step)
        return [*steps[: place + 3], CUT]
    return [*stream_steps(cut_in_arguments(write_stream(provider, reply_to(turn))), CUTS)[:-1], CUT]


def leave_out_the_end(provider: str, turn: Turn) -> list[Step]:
    """The whole answer with its finish reason and usage, and then the connection is gone: the end mark is missing."""
    body = write_stream(provider, reply_to(turn)).rstrip().rpartition(b"\n\n")[0] + b"\n\n"
    return [*stream_steps(body, CUTS)[:-1], CUT]


def reply_to(turn: Turn) -> Reply:
    """What comes next, with counts that tell the turns apart."""
    shell = find_shell(turn)
    if shell is None:
        return ASIDE
    done = len(turn.results)
    counts = {"prompt_tokens": 1_000 * (done + 1), "cached_tokens": 100 * done, "completion_tokens": 300 + done}
    if done == len(COMMANDS):
        return Reply(f"The file says: {quote(turn.results)}.", **counts)
    call = Call(f"call_{done}", shell.name, _arguments(shell, COMMANDS[done]))
    thinks = {"thought": THOUGHT, "signature": SIGNATURE, "reasoning_tokens": 5}
    return Reply("I use the shell.", calls=(call,), **thinks, **counts)


def quote(results: tuple[str, ...]) -> str:
    """What the commands printed, as far as it came back."""
    return ", ".join(re.findall(r"(?:first|second)-\d+", " ".join(results)))


def find_shell(turn: Turn) -> Offered | None:
    """The tool by which this agent runs commands; None for a request that has none."""
    known = {*SHELLS, *TEXT_SHELLS}
    return next((tool for tool in turn.tools if tool.inner in known), None)


def _arguments(shell: Offered, command: str) -> dict[str, Any]:
    if shell.inner in TEXT_SHELLS:  # a custom tool is a function of one text to who knows none
        return {"input": TEXT_SHELLS[shell.inner](command)}
    return SHELLS[shell.inner](command)


# Requests, in each dialect


def is_responses(request: Received) -> bool:
    return request.path.endswith("/responses")


def read_turn(provider: str, request: Received) -> Turn:
    """The request, read as the provider reads it."""
    if is_responses(request):
        read = _read_responses
    else:
        read = {"anthropic": _read_anthropic, "gemini": _read_gemini}.get(provider, _read_chat)
    tools, results = read(request.json)
    return Turn(request, tuple(tools), tuple(map(_text_of, results)))


Read = tuple[list[Offered], list[Any]]


def _read_chat(body: dict[str, Any]) -> Read:
    tools = [Offered(tool["function"]["name"]) for tool in body.get("tools", ())]
    return tools, [message["content"] for message in body["messages"] if message["role"] == "tool"]


def _read_anthropic(body: dict[str, Any]) -> Read:
    tools = [Offered(tool["name"]) for tool in body.get("tools", ())]
    contents = [message["content"] for message in body["messages"] if not isinstance(message["content"], str)]
    blocks = [block for content in contents for block in content]
    return tools, [block.get("content", "") for block in blocks if block["type"] == "tool_result"]


def _read_gemini(body: dict[str, Any]) -> Read:
    declared = [each for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    parts = [part for content in body["contents"] for part in content["parts"]]
    results = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    return [Offered(each["name"]) for each in declared], results


def _read_responses(body: dict[str, Any]) -> Read:
    items = [item for item in body["input"] if isinstance(item, dict)] if isinstance(body["input"], list) else []
    given = [*body.get("tools", ())]
    for item in items:
        if item.get("type") == "additional_tools":
            given += item["tools"]
    results = [
        item["output"] for item in items if item.get("type") in ("function_call_output", "custom_tool_call_output")
    ]
    return list(_open_namespaces(given)), results


def _open_namespaces(tools: list[dict[str, Any]]) -> Iterator[Offered]:
    for tool in tools:
        if tool["type"] == "namespace":
            for each in tool["tools"]:
                yield Offered(each["name"], each["type"] == "custom", tool["name"])
        elif tool["type"] in ("function", "custom"):
            yield Offered(tool["name"], tool["type"] == "custom")


def _text_of(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result)


# Answers of OpenAI's Responses


def _items(turn: Turn) -> list[responses_answers.Item]:
    reply, shell, done = reply_to(turn), find_shell(turn), len(turn.results)
    if not reply.calls or shell is None:
        return [responses_answers.message(reply.text)]
    if shell.custom:
        text = TEXT_SHELLS[shell.inner](COMMANDS[done])
        called = responses_answers.custom_call(f"call_{done}", shell.name, text)
    else:
        called = responses_answers.call(f"call_{done}", shell.name, json.dumps(reply.calls[0].arguments))
    if shell.namespace:
        called["namespace"] = shell.namespace
    return [responses_answers.thought(done, THOUGHT), called]


def _responses_usage(reply: Reply) -> dict[str, Any]:
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
