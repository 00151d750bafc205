"""The test button of a channel: one small real request through it, what came back, and what that cost."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import current_app
from sqlalchemy import select

from bridge.catalogue.channel_events import record_test
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel, load_catalogue
from bridge.catalogue.rules import SANDBOX, find_upstream_id, serves
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel, Model
from bridge.catalogue.upstreams import open_channel
from bridge.config import Settings
from bridge.db import db
from bridge.errors import BridgeError, InvalidRequest
from bridge.money import format_dollars
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, ChatOrder, StreamOrder, Usage
from bridge.providers.http import Timeouts
from bridge.providers.recast import read_any_answer
from bridge.providers.sse import EventSplitter
from bridge.providers.tally import usage_of

PROMPT = "Say hello."
TEST_OUTPUT_TOKENS = 16
TEST_THINKING_TOKENS = 512  # thoughts count as output: with fewer, many a model has none left to speak with
TEST_TIMEOUT_SECONDS = 30
TEST_ANSWER_BYTES = 2**20
SHOWN_CHARACTERS = 200
BYTES_PER_TOKEN = 3  # deliberately low, so that an estimate counts too much


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelTest:
    """What a channel made of a test request: `detail` is a sentence for the operator, `text` what the model said.

    `usage` is None where nothing was used; `estimated` says that the provider gave no counts and these are ours."""

    ok: bool
    detail: str
    took_ms: int
    text: str = ""
    usage: Usage | None = None
    estimated: bool = False
    price: PriceVersion | None = None

    @property
    def cost(self) -> str:
        """The tokens by class and what the provider takes for them, as a sentence; "" where nothing was used."""
        if self.usage is None:
            return ""
        counts = _describe_tokens(self.usage) + (" (our estimate: it gave no counts)" if self.estimated else "")
        if self.price is None:
            return f"{counts}; the model has no price yet."
        price, usage = self.price, self.usage
        hour, rates = usage.cache_write_hour_tokens, price.costs[0]
        classes = [
            (True, "in", rates.input),
            (usage.cached_tokens, "cached", rates.cached),
            (usage.cache_write_tokens > hour, "cache writes", rates.cache_write),
            (hour, "writes for an hour", rates.cache_write_hour),
            (True, "out", rates.output),
        ]
        said = ", ".join(f"{word} ${format_dollars(nanos, 2)}" for used, word, nanos in classes if used)
        return f"{counts}: ${format_dollars(price.cost(usage), 2)}. A million tokens: {said}."


def _describe_tokens(usage: Usage) -> str:
    read = [(usage.cached_tokens, "cached"), (usage.cache_write_tokens, "written to the cache")]
    prompt = ", ".join(f"{count} {word}" for count, word in read if count)
    thought = f" ({usage.reasoning_tokens} thinking)" if usage.reasoning_tokens else ""
    return f"{usage.prompt_tokens} tokens in{f' ({prompt})' if prompt else ''}, {usage.completion_tokens} out{thought}"


@dataclasses.dataclass(slots=True)
class _Course:
    """How far a test came: the status once something answered, and what it said."""

    started: float = dataclasses.field(default_factory=time.monotonic)
    status: int | None = None
    first_ms: int | None = None
    text: str = ""
    all_text: str = ""  # with thoughts
    usage: Usage | None = None

    def passed_ms(self) -> int:
        return round((time.monotonic() - self.started) * 1000)


def probe_channel(name: str, model: str | None = None, stream: bool = False) -> ChannelTest:
    """Ask a model of the channel, enabled or not, to say hello: the given one (an alias will do), or its cheapest.

    It costs the operator a few tokens, is noted in the channel's timeline, and brings back a channel that was out if
    it is answered. Raises NotFound for an unknown channel and InvalidRequest for a model that it doesn't serve;
    whatever the upstream does is told in the result."""
    test = _probe(name, model, stream)
    record_test(name, test.ok, f"{test.detail} {test.took_ms} ms")
    return test


def _probe(name: str, model: str | None, stream: bool) -> ChannelTest:
    channel = find_channel(name)
    served, upstream_id = _choose_model(channel, model)
    if served is None:
        return ChannelTest(False, "This channel serves no model of the catalogue.", 0)
    settings: Settings = current_app.config["BRIDGE"]
    db.session.commit()  # gives the connection back: an upstream may take its time
    course = _Course()
    try:
        _ask(channel, served, upstream_id, stream, settings, course)
    except (AttemptFailed, BridgeError) as failure:  # the latter is the sandbox rehearsing
        took_ms = course.passed_ms()
        why = _explain(failure, channel, upstream_id, course.status) if isinstance(failure, AttemptFailed) else failure
        return ChannelTest(False, f"{upstream_id} did not answer. {why}", took_ms)
    took_ms = course.passed_ms()
    detail = f"{upstream_id} answered."
    if course.first_ms is not None:
        detail = f"{upstream_id} answered, its first words after {course.first_ms} ms."
    if not course.text and course.all_text:
        detail += " It thought until its output was at its end, and said nothing."
    usage = course.usage or _estimate(course.all_text)
    text = course.text[:SHOWN_CHARACTERS]
    return ChannelTest(True, detail, took_ms, text, usage, course.usage is None, served.price)


def list_served_models(channel: Channel) -> list[str]:
    """The ids of the models that this channel serves, or would if it were enabled: the one that a test takes first.

    It is the cheapest that doesn't think; of the sandbox's, the one that answers, not one that rehearses a failure."""
    channels, catalogue = list_channels(), load_catalogue()

    def place(model: Model) -> tuple[bool, bool, int, str]:
        rehearses = channel.provider == SANDBOX and model.id != "sandbox-echo"
        price = catalogue.models[model.id].price
        return rehearses, model.thinks, price.costs[0].output if price else 2**62, model.id

    models = db.session.scalars(select(Model).where(Model.status == "live"))
    return [model.id for model in sorted(models, key=place) if serves(channel, model, channels)]


def _choose_model(channel: Channel, wanted: str | None) -> tuple[ServedModel | None, str]:
    """The model, and what the upstream calls it; None where the channel serves none."""
    catalogue, ids = load_catalogue(), list_served_models(channel)
    if wanted:
        wanted = catalogue.aliases.get(wanted, wanted)
        if wanted not in ids:
            some = f" It serves {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}." if ids else ""
            raise InvalidRequest(f"{channel.name} does not serve {wanted}.{some}", param="model")
        ids = [wanted]
    row = db.session.get(Model, ids[0]) if ids else None
    return (catalogue.models[row.id], find_upstream_id(channel, row)) if row else (None, "")


def _ask(
    channel: Channel, model: ServedModel, upstream_id: str, stream: bool, settings: Settings, course: _Course
) -> None:
    provider = PROVIDERS[channel.provider]
    body: dict[str, Any] = {"model": model.id, "messages": [{"role": "user", "content": PROMPT}]}
    if stream:
        body["stream"] = True
    cap = TEST_THINKING_TOKENS if model.thinks else TEST_OUTPUT_TOKENS
    outgoing = provider.write_chat(ChatOrder(body, upstream_id, min(cap, model.max_output_tokens)))
    patience = Timeouts(settings.connect_timeout_seconds, TEST_TIMEOUT_SECONDS, TEST_TIMEOUT_SECONDS)
    upstream = open_channel(channel, settings)
    try:
        answer = upstream.send(outgoing, timeouts=patience)
        try:
            course.status = answer.status
            if answer.status != 200:
                data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
                raise provider.read_error(answer.status, answer.headers, data)
            if stream:
                order = StreamOrder("chatcmpl-test", model.id, 0, False, TEST_ANSWER_BYTES)
                _read_stream(provider.open_reader(outgoing, order), answer, course)
            else:
                data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
                completion = read_any_answer(provider, data, outgoing)
                content = completion.body["choices"][0]["message"].get("content")
                course.text = content if isinstance(content, str) else ""
                course.all_text, course.usage = "".join(completion.text), usage_of(completion.usage)
        finally:
            answer.close()
    finally:
        upstream.close()


def _read_stream(reader: Any, answer: Any, course: _Course) -> None:
    """Note what a stream says until it ends. Raises AttemptFailed when it doesn't, in its time and bounds."""
    frames, received = b"", 0
    while not reader.finished:
        data = answer.read_some(1.0)
        if not data and (data == b"" or reader.ended):  # whose end mark some never send
            frames += reader.end()
            break
        frames += reader.feed(data) if data else reader.pause()
        received += len(data or b"")
        if reader.started and course.first_ms is None:
            course.first_ms = course.passed_ms()
        if course.passed_ms() > TEST_TIMEOUT_SECONDS * 1000 or received > TEST_ANSWER_BYTES:
            raise AttemptFailed(Blame.UPSTREAM, "the stream found no end")
    if not reader.finish_reason:
        raise AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
    course.text, course.all_text = "".join(_list_content(frames)), "".join(reader.text)
    course.usage = usage_of(reader.usage)


def _list_content(frames: bytes) -> Iterator[str]:
    """What the frames for a client say, without thoughts."""
    for event in EventSplitter(TEST_ANSWER_BYTES).feed(frames):
        for choice in msgspec.json.decode(event).get("choices") or ():
            content = (choice.get("delta") or {}).get("content")
            yield content if isinstance(content, str) else ""


def _estimate(text: str) -> Usage:
    prompt, completion = (len(said.encode()) // BYTES_PER_TOKEN + 1 for said in (PROMPT, text))
    return Usage(prompt, completion)


def _explain(failure: AttemptFailed, channel: Channel, upstream_id: str, status: int | None) -> str:
    """Whom a failure speaks against, and what to do about it. `status` is None where nothing answered at all."""
    label, reason = find_label(channel.provider), failure.reason
    where = channel.base_url or PROVIDERS[channel.provider].base_url
    if failure.blame is Blame.CREDENTIAL and not channel.sealed_key:
        return f"The channel has no API key, and {where} wants one ({reason})."
    if failure.blame is Blame.CREDENTIAL:
        return f"{label} refuses the key ({reason}): check that it is right, what it may do, and the credit behind it."
    if failure.blame is Blame.SETUP and status is None:
        return f"The channel's address can't be used: {reason}."
    if failure.blame is Blame.SETUP:
        return f"{where} has no {upstream_id} ({reason}): check what the upstream calls the model, and the base URL."
    if failure.blame is Blame.RATE:
        seconds = failure.retry_after_seconds
        return (
            f"{label} limits this key ({reason}): try again {f'in {seconds:.0f} s' if seconds else 'a little later'}."
        )
    if failure.blame is Blame.REQUEST:
        return f"{label} takes no such request for this model ({reason}): {failure.message or 'it does not say why.'}"
    if status is None:
        return f"Nothing answers at {where} ({reason}): check the address and the network."
    if status == 200:
        return f"What answers at {where} does not speak as {label} does ({reason}): check the address."
    return f"{label} is failing ({reason}): the channel is not at fault, try again later."
