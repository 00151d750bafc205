"""The audit's upstream: behaves and misbehaves by a seed, and writes down for each request what it served.

What is written down comes before the bytes go out: nobody can have received more than is written."""

import collections
import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

import gevent

from tests.audit.drawn import Pictures, Vectors
from tests.audit.said import AROUND_A_PROMPT, Scale, count_prompt, read_tag, say
from tests.audit.voices import OVERLOADED, Anthropic, Gemini, OpenAI, Responses, Texts, Usage, Voice
from tests.upstream import CUT, STALL, STREAM_HEAD, Received, Step, whole

FAULTS_BOTH = ("500", "429", "hang up", "stall", "rubbish", "error in a 200", "slow", "no usage", "wrong counts")
FAULTS_WHOLE = (*FAULTS_BOTH, "half a body", "drip")
FAULTS_STREAM = (
    *FAULTS_BOTH,
    "hang up after headers",
    "cut",
    "cut at the end",
    "stall midway",
    "garbage midway",
    "error midway",
    "endless",
)
GOOD_SHARE = 0.5
MOST_WORDS = 40
WRONG_COUNTS: tuple[tuple[Any, Any], ...] = ((None, 0), (None, 7), (2**31, 2**31), (-5, -5), ("many", "few"))


VOICES: dict[str, Voice] = {
    "/v1/chat/completions": OpenAI(),
    "/v1/responses": Responses(),
    "/v1/messages": Anthropic(),
    "/v1/completions": Texts(),
    "/v1/embeddings": Vectors(),
    "/v1/images/generations": Pictures(),
}


@dataclasses.dataclass
class Served:
    """One attempt: what was sent, in tokens and bytes of all its choices. `counts` is what it claimed if that was
    false; `finished` is whether it was sent to its end."""

    tag: int
    play: str
    attempt: int
    prompt_tokens: int
    scale: Scale
    words: int = 0
    text_bytes: int = 0
    finished: bool = False
    first_tokens: int = 0
    counts: Usage | None = None

    @property
    def sent_tokens(self) -> int:
        """One token per word, and one for the end; of a stream that has only begun, what it counts of that."""
        return max(self.first_tokens, self.words + self.finished)

    @property
    def counted(self) -> tuple[int, int]:
        """Prompt and completion of a whole answer, as it counted them or, if it didn't, as we have to."""
        if self.play == "no usage":
            return self.scale.count(self.prompt_tokens - AROUND_A_PROMPT, self.words, self.text_bytes)
        return self.prompt_tokens, self.sent_tokens


class Plays:
    """What a ScriptedUpstream plays for the audit, and the record of it."""

    def __init__(self, seed: int, faults: bool = True):
        self.seed, self.faults = seed, faults
        self.book: dict[int, list[Served]] = collections.defaultdict(list)

    def __call__(self, request: Received) -> Iterator[Step]:
        voice = Gemini() if "/models/" in request.path else VOICES[request.path]
        asked = voice.read(request)
        tag = read_tag(asked.prompt)
        attempt = len(self.book[tag])
        chance = random.Random(f"{self.seed}/{tag}/{attempt}")
        play = chance.choice(FAULTS_STREAM if asked.streams else FAULTS_WHOLE)
        if not self.faults or chance.random() < GOOD_SHARE:
            play = "good"
        served = Served(tag, play, attempt, count_prompt(asked.prompt), voice.scale)
        self.book[tag].append(served)
        words = max(1, min(chance.randint(1, MOST_WORDS), asked.cap - 1))
        perform = _stream if asked.streams else _answer
        return perform(voice, served, chance, words, asked.choices)


def _fail(served: Served) -> list[Step] | None:
    """The faults in which nothing is said; None for all others."""
    error = json.dumps({"error": {"message": "It went wrong.", "type": "server_error", "code": None}}).encode()
    return {
        "500": [whole(error, 500)],
        "429": [whole(error, 429, "Retry-After: 1\r\n")],
        "hang up": [CUT],
        "stall": [STALL],
    }.get(served.play)


def _claim(served: Served, chance: random.Random, tokens: int) -> Usage | None:
    """The counts that go out."""
    if served.play == "no usage":
        return None
    if served.play == "wrong counts" and served.counts is None:
        prompt, completion = chance.choice(WRONG_COUNTS)
        if prompt is None:
            prompt, completion = served.prompt_tokens, completion and tokens + completion
        served.counts = (prompt, completion)
    return served.counts or (served.prompt_tokens, tokens)


def _answer(voice: Voice, served: Served, chance: random.Random, words: int, choices: int) -> Iterator[Step]:
    """A whole answer."""
    if steps := _fail(served):
        yield from steps
        return
    if served.play == "rubbish":
        yield whole(b"<html>Bad gateway</html>", content_type="text/html")
        return
    if served.play == "error in a 200":
        yield whole(json.dumps({"error": OVERLOADED}).encode())
        return
    if served.play == "drip":
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            gevent.sleep(0.1)
            yield b"1\r\n \r\n"
    if served.play == "slow":
        gevent.sleep(chance.uniform(0.1, 1.0))
    text = "".join(say(served.attempt, place) for place in range(words))
    usage = _claim(served, chance, words * choices + 1)
    data = whole(json.dumps(voice.whole([text] * choices, usage)).encode())
    if served.play == "half a body":
        yield data[: len(data) // 2]
        yield CUT
        return
    served.words, served.text_bytes, served.finished = words * choices, len(text) * choices, True
    yield data


def _stream(voice: Voice, served: Served, chance: random.Random, words: int, choices: int) -> Iterator[Step]:
    """A stream, word by word, choice beside choice."""
    if steps := _fail(served):
        yield from steps
        return
    if served.play == "rubbish":
        yield whole(b"<html>Bad gateway</html>", content_type="text/html")
        return
    yield STREAM_HEAD
    if served.play == "error in a 200":
        yield voice.fail()
        yield CUT
        return
    broken_off = {
        "cut": CUT,
        "stall midway": STALL,
        "garbage midway": b"8\r\ndata: {\n\r\n",
        "error midway": voice.fail(),
    }.get(served.play)
    end = chance.randint(1, words) if broken_off else words
    usage = _claim(served, chance, words * choices + 1)
    served.first_tokens = voice.first_tokens if usage else 0
    yield voice.begin(choices, usage)
    if served.play == "hang up after headers":
        yield CUT
        return
    pause = chance.uniform(0.02, 0.2) if served.play == "slow" else chance.choice((0.0, 0.0, 0.01))
    place = 0
    while place < end or served.play == "endless":
        for index in range(choices):
            word = say(served.attempt, place)
            served.words += 1
            served.text_bytes += len(word)
            so_far = usage and (usage[0], served.words)
            yield voice.say(index, word, so_far)
        place += 1
        gevent.sleep(0.005 if served.play == "endless" else pause)
    if broken_off:
        yield broken_off
        yield CUT
        return
    served.finished = True
    text = "".join(say(served.attempt, each) for each in range(place))
    yield voice.end([text] * choices, usage)
    if served.play == "cut at the end":
        yield CUT
        return
    yield voice.close()
    yield b"0\r\n\r\n"
