"""The list of what is measured: the load, the figures read from it, and their targets."""

import dataclasses
from collections.abc import Callable
from typing import Any

from bench.dialects import INPUTS, TEXT
from bench.doors import DOORS, PROOFS, ask
from bench.load import LoadSpec, Result
from bench.plays import ALONE_CHUNKS, BURST_CHUNKS, CHUNKS_PER_BURST, SHORTER, SLOW_CHUNKS, name_play

PROMPT_BYTES = 128 * 1024
PARAGRAPH = (
    'A gateway stands between those who ask and those who answer. It says "yes" or "no" at the door,\n'
    "counts what passes, and hands the rest on as it came – every word of it, in order.\n\n"
)
MAY_ANSWER_UNDER_OVERLOAD = ("200", "429", "503")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number read from a run of `target`, or None; smaller is better. reach and aim apply to its ratio to nginx in
    the same round, or to the number itself with `ratio=False`. `beside_nginx=False`: nginx has no such number.
    `beside`: the gateway's own figure in that scenario replaces nginx's. `over_direct`: less what a client sees without
    a proxy."""

    title: str
    unit: str
    read: Callable[[Result], float | None]
    reach: float | None = None
    aim: float | None = None
    ratio: bool = True
    beside_nginx: bool = True
    over_direct: bool = False
    beside: str = ""
    target: str = "gateway"


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A load, the servers that get it by turns, and the figures. `spec` and, in a short round, `quick` are fields of a
    LoadSpec. `door`: the endpoint that is asked. `once`: a second run in the same process would measure what the first
    left behind. `alone`: each chunk must arrive by itself. `refused`: of so many requests one has a key that is
    refused; 0: none. `in_quick`: a short round has it."""

    name: str
    spec: dict[str, Any]
    figures: tuple[Figure, ...]
    provider: str = "openai"
    door: str = "chat"
    targets: tuple[str, ...] = ("nginx", "gateway")
    statuses: tuple[str, ...] = ("200",)
    once: bool = False
    alone: bool = False
    refused: int = 0
    in_quick: bool = True
    quick: dict[str, Any] = dataclasses.field(default_factory=dict)

    def spec_for(self, target: str, port: int, keys: tuple[str, ...], seconds: float, **more: Any) -> LoadSpec:
        """The LoadSpec for a server, measured for this long. Through a plain proxy, streams end as their provider's
        do."""
        door = DOORS[self.door]
        dialect = self.provider if target in ("nginx", "direct") else door.dialect
        proof = {"path": door.path, "text": TEXT, **dataclasses.asdict(PROOFS[dialect])}
        settings = {"seconds": seconds, "warm_seconds": min(0.5, seconds / 4)} | proof | self.spec | more
        return LoadSpec(port=port, keys=keys, **settings)


def cpu_per_answer(group: str) -> Callable[[Result], float | None]:
    """Microseconds that the group's processes spent on each answer; None if the group isn't on this machine."""
    return lambda result: result.cpu[group] / 1000 / result.answers if group in result.cpu and result.answers else None


def cpu_per_frame(result: Result) -> float | None:
    """Microseconds that the server spent on each chunk of a stream."""
    return result.cpu["server"] / 1000 / result.frames if result.frames else None


def time_of(name: str) -> Callable[[Result], float | None]:
    """Reads a time from the result; None if nothing was answered in time."""
    return lambda result: getattr(result, name) if result.answers else None


def memory_per_stream(result: Result) -> float:
    """KiB by which the server grew for each open stream."""
    grown = result.memory_during["server"] - result.memory_before["server"]
    return grown / 1024 / max(1, result.open_streams)


def count_incomplete(result: Result) -> float:
    """The number of incomplete streams, checked word by word and by their end mark."""
    return sum(count for status, count in result.statuses.items() if status != "200")


def count_other_answers(result: Result) -> float:
    """The number of answers with a status that an overloaded gateway may not give."""
    return sum(count for status, count in result.statuses.items() if status not in MAY_ANSWER_UNDER_OVERLOAD)


def translation(provider: str, label: str) -> tuple[Scenario, ...]:
    """The scenarios of another dialect than OpenAI's: its chunks beside nginx and beside those that pass through, and
    its answers."""
    streamed = {"body": ask(f"play-{provider}-bursts", provider, stream=True), "clients": 64, "words": BURST_CHUNKS}
    chunks = (
        Figure(f"a chunk translated from {label}, in bursts", "µs CPU", cpu_per_frame, 3, 2.2),
        Figure("  beside one that passes through", "µs CPU", cpu_per_frame, 2.5, beside="bursts"),
    )
    whole = {"body": ask(f"play-{provider}-whole", provider), "clients": 64}
    answers = (
        Figure(f"a request translated for {label}", "µs CPU", cpu_per_answer("server")),
        Figure("  beside one that passes through", "µs CPU", cpu_per_answer("server"), beside="request"),
    )
    short = {"body": ask(f"play-{provider}-bursts-short", provider, stream=True), "words": BURST_CHUNKS // SHORTER}
    return Scenario(provider, streamed, chunks, provider, quick=short), Scenario(
        f"{provider}-request", whole, answers, provider
    )


def from_responses() -> Scenario:
    """Chat out of OpenAI's second dialect."""
    return Scenario(
        "chat-responses",
        _stream_of("responses", "chat", "bursts"),
        (Figure("a chunk translated from OpenAI's Responses, in bursts", "µs CPU", cpu_per_frame, 3, 2.2),),
        "responses",
        in_quick=False,
        quick=_stream_of("responses", "chat", "bursts-short"),
    )


def at_door(door: str, provider: str, kind: str = "bursts") -> Scenario:
    """The chunks of another endpoint than chat completions, beside chat's own out of the same upstream. One that passes
    its own dialect's on stands beside chat passing on its own."""
    passes = DOORS[door].dialect == provider
    what = "passed on" if passes else f"from {LABELS[provider]}"
    how = "each alone" if kind == "alone" else "in bursts"
    beside = kind if passes or provider == "openai" else CHAT_FROM[provider]
    name = f"{door}-{provider}" if kind == "bursts" else f"{door}-{provider}-{kind}"
    title = f"a chunk of {door.title()} {what}, {how}, beside chat's"
    return Scenario(
        name,
        _stream_of(provider, door, kind),
        (Figure(title, "µs CPU", cpu_per_frame, 1.1 if passes else 1.2, 1, beside=beside),),
        provider,
        door,
        targets=("gateway",),
        alone=kind == "alone",
        in_quick=name in QUICK_AT_DOORS,
        quick=_stream_of(provider, door, f"{kind}-short"),
    )


def resumable(kind: str) -> Scenario:
    """The chunks of chat's streams with their events numbered and kept, beside the same ones without."""
    how = "each alone" if kind == "alone" else "in bursts"
    return Scenario(
        "resume" if kind == "alone" else f"resume-{kind}",
        _stream_of("openai", "chat", kind) | RESUMABLE,
        (
            Figure(
                f"a chunk of a resumable stream, {how}, beside another's",
                "µs CPU",
                cpu_per_frame,
                1.3,
                1.15,
                beside=kind,
            ),
        ),
        targets=("gateway",),
        alone=kind == "alone",
        in_quick=kind == "alone",
        quick=_stream_of("openai", "chat", f"{kind}-short") | RESUMABLE,
    )


def whole_at_door(door: str) -> Scenario:
    """Whole answers at another endpoint than chat completions, beside chat's own."""
    figure = Figure(f"a request of {door.title()}, beside chat's", "µs CPU", cpu_per_answer("server"), beside="request")
    spec = {"body": ask("play-whole", door=door), "clients": 64}
    return Scenario(f"{door}-request", spec, (figure,), door=door, targets=("gateway",), in_quick=False)


def _stream_of(provider: str, door: str, kind: str) -> dict[str, Any]:
    chunks = {"alone": ALONE_CHUNKS, "bursts": BURST_CHUNKS}[kind.removesuffix("-short")]
    body = ask(name_play(provider, kind), provider, stream=True, door=door)
    return {"body": body, "clients": 64, "words": chunks // SHORTER if kind.endswith("-short") else chunks}


RESUMABLE = {"header": "x-bridge-resume: true"}
TRANSLATED = {"anthropic": "Anthropic", "gemini": "Gemini"}
LABELS = {**TRANSLATED, "openai": "OpenAI's chat", "responses": "OpenAI's Responses"}
CHAT_FROM = {"anthropic": "anthropic", "gemini": "gemini", "responses": "chat-responses"}
ALONE_AT_DOORS = [(door, of) for door in ("messages", "responses") for of in ("openai", DOORS[door].dialect)]
QUICK_AT_DOORS = ("messages-openai", "responses-responses")  # every push waits for them
LONG_PROMPT = (PARAGRAPH * (PROMPT_BYTES // len(PARAGRAPH.encode()) + 1))[:PROMPT_BYTES]
WITHOUT = ("ledger", "limits", "key-limits", "upstream", "app")

SCENARIOS = [
    Scenario(
        "streams",
        {"body": ask("play-slow", stream=True), "clients": 1000, "repeat": False, "per_second": 250.0}
        | {"words": SLOW_CHUNKS},
        (
            Figure("memory per open stream, 1,000 open", "KiB", memory_per_stream, 50, 40, ratio=False),
            Figure("  first chunk, p50", "ms", time_of("first_p50_ms"), ratio=False),
            Figure("  first chunk, p99", "ms", time_of("first_p99_ms"), 100, 30, ratio=False),
            Figure("  streams not complete", "", count_incomplete, 0, 0, ratio=False),
        ),
        once=True,
        quick={"body": ask("play-slow-short", stream=True), "words": SLOW_CHUNKS // 2}
        | {"clients": 500, "per_second": 500.0, "hold_seconds": 0.5},
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
        "refusals",
        {"body": ask("play-whole"), "clients": 64},
        (
            Figure(
                "a request, a tenth of them refused, beside none",
                "µs CPU",
                cpu_per_answer("server"),
                1,
                0.95,
                beside="request",
            ),
        ),
        targets=("gateway",),
        statuses=("200", "429"),
        refused=10,
    ),
    Scenario(
        "prompt",
        {"body": ask("play-whole", prompt=LONG_PROMPT), "clients": 16},
        (Figure("a request with a 128 KiB prompt", "µs CPU", cpu_per_answer("server"), 15, 8),),
    ),
    Scenario(
        "alone",
        {"body": ask("play-alone", stream=True), "clients": 64, "words": ALONE_CHUNKS},
        (Figure("a chunk, each alone", "µs CPU", cpu_per_frame, 2.5, 1.6),),
        alone=True,
        quick={"body": ask("play-alone-short", stream=True), "words": ALONE_CHUNKS // SHORTER},
    ),
    Scenario(
        "bursts",
        {"body": ask("play-bursts", stream=True), "clients": 64, "words": BURST_CHUNKS},
        (Figure(f"a chunk, in bursts of {CHUNKS_PER_BURST}", "µs CPU", cpu_per_frame, 1.5, 1),),
        quick={"body": ask("play-bursts-short", stream=True), "words": BURST_CHUNKS // SHORTER},
    ),
    *map(resumable, ("alone", "bursts")),
    *(scenario for provider, label in TRANSLATED.items() for scenario in translation(provider, label)),
    from_responses(),
    *(at_door(door, provider) for provider in LABELS for door in ("messages", "responses")),
    *(at_door(door, provider, "alone") for door, provider in ALONE_AT_DOORS),
    *(whole_at_door(door) for door in ("messages", "responses")),
    Scenario(
        "embeddings",
        {"body": ask("play-embeddings", "embeddings", door="embeddings"), "clients": 64, "text": '"embedding"'},
        (
            Figure(
                f"embeddings of {INPUTS} inputs, beside a chat request",
                "µs CPU",
                cpu_per_answer("server"),
                1.2,
                1,
                beside="request",
            ),
        ),
        door="embeddings",
        targets=("gateway",),
    ),
    Scenario(
        "picture",
        {"body": ask("play-picture", "images", door="images"), "clients": 8, "text": '"b64_json"'},
        (Figure("a picture of 1.5 MB", "µs CPU", cpu_per_answer("server"), ratio=False, beside_nginx=False),),
        door="images",
        targets=("gateway",),
        in_quick=False,
    ),
    Scenario(
        "latency",
        {"body": ask("play-whole"), "clients": 1},
        (
            Figure("added latency, one client, mean", "ms", time_of("mean_ms"), 2, 1, False, over_direct=True),
            Figure("  p50", "ms", time_of("p50_ms"), ratio=False, over_direct=True),
            Figure("  p99", "ms", time_of("p99_ms"), ratio=False, over_direct=True),
        ),
        targets=("direct", "nginx", "gateway"),
    ),
    Scenario(
        "overload",
        {"body": ask("play-whole"), "clients": 512},
        (
            Figure("512 clients, p99", "ms", time_of("p99_ms"), None, 1500, ratio=False),
            Figure("  answers but 200, 429, 503", "", count_other_answers, 0, 0, ratio=False),
        ),
        statuses=MAY_ANSWER_UNDER_OVERLOAD,
        quick={"seconds": 1.5},
    ),
]
PARTS = Scenario(
    "parts",
    {"body": ask("play-whole"), "clients": 64},
    (
        Figure("a request with all its parts", "µs CPU", cpu_per_answer("server")),
        *(
            Figure(f"  without the {part}", "µs CPU", cpu_per_answer("server"), target=f"gateway without {part}")
            for part in WITHOUT
        ),
    ),
    targets=("nginx", "gateway", *(f"gateway without {part}" for part in WITHOUT)),
)


@dataclasses.dataclass(frozen=True)
class Setup:
    """One way to serve, and the names of what is measured in it."""

    name: str
    title: str
    scenarios: tuple[str, ...]
    on_sqlite: bool = False
    workers: int = 1


ALL = tuple(scenario.name for scenario in SCENARIOS)
MAIN = ("request", "alone", "bursts", "latency", "overload")
SETUPS = [
    Setup("one-worker", "One worker, PostgreSQL and Redis", (*ALL, "parts")),
    Setup("sqlite", "One worker, SQLite alone", MAIN, on_sqlite=True),
    Setup("two-workers", "Two workers, PostgreSQL and Redis", MAIN, workers=2),
]
