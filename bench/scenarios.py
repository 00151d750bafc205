"""What is measured, as a list: the load, the figures read from it, and how far each is to get."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from bench.gateway import model_of
from bench.load import Order, Result
from bench.plays import ALONE_CHUNKS, BURST_CHUNKS, CHUNKS_PER_BURST

PROMPT_BYTES = 128 * 1024
PARAGRAPH = (
    'A gateway stands between those who ask and those who answer. It says "yes" or "no" at the door,\n'
    "counts what passes, and hands the rest on as it came – every word of it, in order.\n\n"
)
MAY_ANSWER_UNDER_OVERLOAD = ("200", "429", "503")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number read from a run, or None; the smaller, the better. The targets are for the gateway's ratio to nginx, or
    for its own value with `ratio=False`. `beside_nginx=False`: nginx has no such number. `over_direct`: less what a
    client without any proxy sees."""

    title: str
    unit: str
    read: Callable[[Result], float | None]
    reach: float | None = None
    aim: float | None = None
    ratio: bool = True
    beside_nginx: bool = True
    over_direct: bool = False
    beside: str = ""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A load and its figures. `once`: a second run in the same process would measure what the first left behind."""

    name: str
    order: dict[str, Any]
    figures: tuple[Figure, ...]
    statuses: tuple[str, ...] = ("200",)
    once: bool = False
    alone: bool = False

    def order_for(self, port: int, key: str, seconds: float, processes: dict[str, int]) -> Order:
        """The order for a server, measured for so many seconds."""
        settings = {"seconds": seconds, "warm_seconds": min(0.5, seconds / 4)} | self.order
        return Order(port=port, key=key, processes=processes, **settings)


def ask(play: str, provider: str = "openai", stream: bool = False, prompt: str = "") -> str:
    """A request's body, as the SDKs write it; the play stands in the prompt, which passes through every dialect."""
    body: dict[str, Any] = {
        "model": model_of(provider),
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. Answer briefly."},
            {"role": "user", "content": f"{play}\n{prompt or 'What is the capital of France?'}"},
        ],
        "max_tokens": 8192 if stream else 256,
        "temperature": 0.7,
    }
    if stream:
        body["stream"] = True
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def cpu_per_answer(group: str) -> Callable[[Result], float | None]:
    """Microseconds that the group's processes spent on each answer; None for a group that isn't of this machine."""
    return lambda result: result.cpu[group] / 1000 / max(1, result.answers) if group in result.cpu else None


def cpu_per_frame(result: Result) -> float:
    return result.cpu["server"] / 1000 / max(1, result.frames)


def memory_per_stream(result: Result) -> float:
    grown = result.memory_during["server"] - result.memory_before["server"]
    return grown / 1024 / max(1, result.open_streams)


def count_other_answers(result: Result) -> float:
    return sum(count for status, count in result.statuses.items() if status not in MAY_ANSWER_UNDER_OVERLOAD)


def translation(provider: str, label: str) -> tuple[Scenario, ...]:
    """A dialect that is not OpenAI's: its chunks beside nginx and beside those that pass through, and its answers."""
    streamed = {"body": ask(f"play-{provider}-bursts", provider, stream=True), "clients": 32, "words": BURST_CHUNKS}
    chunks = (
        Figure(f"a chunk translated from {label}, in bursts", "µs CPU", cpu_per_frame, 3, 2.2),
        Figure("  beside one that passes through", "µs CPU", cpu_per_frame, 2.5, beside="bursts"),
    )
    whole = {"body": ask(f"play-{provider}-whole", provider), "clients": 64}
    answers = (
        Figure(f"a request translated for {label}", "µs CPU", cpu_per_answer("server")),
        Figure("  beside one that passes through", "µs CPU", cpu_per_answer("server"), beside="request"),
    )
    return Scenario(provider, streamed, chunks), Scenario(f"{provider}-request", whole, answers)


TRANSLATED = {"anthropic": "Anthropic", "gemini": "Gemini"}
LONG_PROMPT = (PARAGRAPH * (PROMPT_BYTES // len(PARAGRAPH.encode()) + 1))[:PROMPT_BYTES]

SCENARIOS = [
    Scenario(
        "streams",
        {"body": ask("play-slow", stream=True), "clients": 1000, "repeat": False, "per_second": 250.0},
        (
            Figure("memory per open stream, 1,000 open", "KiB", memory_per_stream, 50, 40, ratio=False),
            Figure("first chunk at 1,000 streams, p99", "ms", lambda run: run.first_p99_ms, 100, 30, ratio=False),
        ),
        once=True,
    ),
    Scenario(
        "request",
        {"body": ask("play-whole"), "clients": 64},
        (
            Figure("a request, 64 clients", "µs CPU", cpu_per_answer("server"), 25, 16),
            Figure("  in PostgreSQL", "µs CPU", cpu_per_answer("postgres"), 150, 70, ratio=False, beside_nginx=False),
            Figure("  in Redis", "µs CPU", cpu_per_answer("redis"), ratio=False, beside_nginx=False),
        ),
    ),
    Scenario(
        "prompt",
        {"body": ask("play-whole", prompt=LONG_PROMPT), "clients": 16},
        (Figure("a request with a 128 KiB prompt", "µs CPU", cpu_per_answer("server"), 15, 8),),
    ),
    Scenario(
        "alone",
        {"body": ask("play-alone", stream=True), "clients": 32, "words": ALONE_CHUNKS},
        (Figure("a chunk, each alone", "µs CPU", cpu_per_frame, 2.5, 1.6),),
        alone=True,
    ),
    Scenario(
        "bursts",
        {"body": ask("play-bursts", stream=True), "clients": 32, "words": BURST_CHUNKS},
        (Figure(f"a chunk, in bursts of {CHUNKS_PER_BURST}", "µs CPU", cpu_per_frame, 1.5, 1),),
    ),
    *(scenario for provider, label in TRANSLATED.items() for scenario in translation(provider, label)),
    Scenario(
        "latency",
        {"body": ask("play-whole"), "clients": 1},
        (
            Figure("added latency, one client, mean", "ms", lambda run: run.mean_ms, 2, 1, False, over_direct=True),
            Figure("added latency, one client, p99", "ms", lambda run: run.p99_ms, ratio=False, over_direct=True),
        ),
    ),
    Scenario(
        "overload",
        {"body": ask("play-whole"), "clients": 512},
        (
            Figure("512 clients, p99", "ms", lambda run: run.p99_ms, None, 1500, ratio=False),
            Figure("  answers but 200, 429, 503", "", count_other_answers, 0, 0, ratio=False),
        ),
        statuses=MAY_ANSWER_UNDER_OVERLOAD,
    ),
]
