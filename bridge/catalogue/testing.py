"""The test of a channel: one small real request through it, its result, and its cost."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from flask import current_app

from bridge.catalogue.channel_events import record_test
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel, load_catalogue
from bridge.catalogue.rules import find_upstream_id, serves
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel, Model
from bridge.catalogue.upstreams import hide_key, hide_key_in, open_channel
from bridge.config import Settings
from bridge.conversation.answer import Choice
from bridge.conversation.gathering import Gathered
from bridge.conversation.request import CHAT, Conversation
from bridge.conversation.turns import Text, Turn
from bridge.conversation.usage import Usage
from bridge.db import db, read_plain
from bridge.errors import BridgeError, InvalidRequest
from bridge.money import format_dollars
from bridge.providers import PROVIDERS, is_trial_model
from bridge.providers.base import AttemptFailed, Blame, Order, StreamOrder
from bridge.providers.recast import read_any_answer
from bridge.providers.tally import usage_of
from bridge.providers.wire.http import Timeouts
from bridge.turns import in_slices

PROMPT = "Say hello."
TEST_OUTPUT_TOKENS = 16
TEST_THINKING_TOKENS = 512  # thoughts count as output: with fewer tokens many models would have none left for text
TEST_TIMEOUT_SECONDS = 30
TEST_ANSWER_BYTES = 2**20
SHOWN_CHARACTERS = 200
BYTES_PER_TOKEN = 3  # deliberately low, so that an estimate counts too much


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelTest:
    """The result of a test request: `detail` is a sentence for the operator, `text` is what the model said.

    `usage` is None if nothing was used; `estimated` says that the provider gave no counts, so these are ours."""

    ok: bool
    detail: str
    took_ms: int
    text: str = ""
    usage: Usage | None = None
    estimated: bool = False
    price: PriceVersion | None = None

    @property
    def cost(self) -> str:
        """The tokens by class and what the provider charges for them, as a sentence; "" if nothing was used."""
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
class _Progress:
    """How far a test got: the status once something answered, and the text of the answer."""

    started: float = dataclasses.field(default_factory=time.monotonic)
    status: int | None = None
    first_ms: int | None = None
    text: str = ""
    all_text: str = ""  # including thoughts
    usage: Usage | None = None

    def passed_ms(self) -> int:
        return round((time.monotonic() - self.started) * 1000)


def probe_channel(name: str, model: str | None = None, stream: bool = False) -> ChannelTest:
    """Ask a model of the channel, enabled or not, to say hello: the given model or alias, or its cheapest model.

    The test costs the operator a few tokens and is noted in the channel's timeline. If it is answered, a channel that
    was out is back. Raises NotFound for an unknown channel and InvalidRequest for a model that it doesn't serve.
    Whatever the upstream does is in the result."""
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
    progress = _Progress()
    try:
        _ask(channel, served, upstream_id, stream, settings, progress)
    except (AttemptFailed, BridgeError) as failure:  # the latter is a failure that the sandbox plays
        took_ms = progress.passed_ms()
        if isinstance(failure, AttemptFailed):
            hide_key(failure, channel)
        why = (
            _explain(failure, channel, upstream_id, progress.status) if isinstance(failure, AttemptFailed) else failure
        )
        return ChannelTest(False, f"{upstream_id} did not answer. {why}", took_ms)
    took_ms = progress.passed_ms()
    detail = f"{upstream_id} answered."
    if progress.first_ms is not None:
        detail = f"{upstream_id} answered, its first words after {progress.first_ms} ms."
    if not progress.text and progress.all_text:
        detail += " It thought until its output was at its end, and said nothing."
    usage = progress.usage or _estimate(progress.all_text)
    text = hide_key_in(progress.text[:SHOWN_CHARACTERS], channel)
    return ChannelTest(True, detail, took_ms, text, usage, progress.usage is None, served.price)


def list_served_models(channel: Channel) -> list[str]:
    """The ids of the models that this channel serves, or would serve if it were enabled, in the order in which a test
    chooses.

    The first is the cheapest that doesn't think. For the sandbox it is the model that answers, not one that plays a
    failure."""
    channels, catalogue = list_channels(), load_catalogue()

    def place(model: Model) -> tuple[bool, bool, int, str]:
        rehearses = not is_trial_model(channel.provider, model.id)
        price = catalogue.models[model.id].price
        return rehearses, model.thinks, price.costs[0].output if price else 2**62, model.id

    models = sorted((model for model in read_plain(Model) if model.status == "live"), key=place)
    return [model.id for model in in_slices(models) if serves(channel, model, channels)]


def _choose_model(channel: Channel, wanted: str | None) -> tuple[ServedModel | None, str]:
    """The model and the upstream's name of it; None if the channel serves none."""
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
    channel: Channel, model: ServedModel, upstream_id: str, stream: bool, settings: Settings, progress: _Progress
) -> None:
    provider = PROVIDERS[channel.provider]
    turn = Turn("user", [Text(PROMPT)], "messages[0]")
    conversation = Conversation(endpoint=CHAT, model=model.id, turns=[turn], stream=stream, options={})
    cap = TEST_THINKING_TOKENS if model.thinks else TEST_OUTPUT_TOKENS
    wire = next((route.wire for route in model.routes), "")
    outgoing = provider.write_request(Order(conversation, upstream_id, min(cap, model.max_output_tokens), wire=wire))
    patience = Timeouts(settings.connect_timeout_seconds, TEST_TIMEOUT_SECONDS, TEST_TIMEOUT_SECONDS)
    upstream = open_channel(channel, settings)
    try:
        answer = upstream.send(outgoing, timeouts=patience)
        try:
            progress.status = answer.status
            if answer.status != 200:
                data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
                raise provider.read_error(answer.status, answer.headers, data)
            if stream:
                gathered = Gathered()
                order = StreamOrder(gathered, TEST_ANSWER_BYTES)
                _read_stream(provider.open_reader(outgoing, order), answer, progress)
                progress.text = _text_of(gathered.end())
            else:
                data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
                completion = read_any_answer(provider, data, outgoing)
                progress.text = _text_of(completion.choices[:1])
                progress.all_text, progress.usage = "".join(completion.text), usage_of(completion.usage)
        finally:
            answer.close()
    finally:
        upstream.close()


def _read_stream(reader: Any, answer: Any, progress: _Progress) -> None:
    """Collect what a stream says until it ends. Raises AttemptFailed if it exceeds its time or size, or doesn't end."""
    received = 0
    while not reader.finished:
        data = answer.read_some(1.0)
        if not data and (data == b"" or reader.ended):  # some upstreams never send their end mark
            reader.end()
            break
        if data:
            reader.feed(data)
        else:
            reader.pause()
        received += len(data or b"")
        if reader.started and progress.first_ms is None:
            progress.first_ms = progress.passed_ms()
        if progress.passed_ms() > TEST_TIMEOUT_SECONDS * 1000 or received > TEST_ANSWER_BYTES:
            raise AttemptFailed(Blame.UPSTREAM, "the stream found no end")
    if not reader.finish_reason:
        raise AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
    progress.all_text = "".join(reader.text)
    progress.usage = usage_of(reader.usage)


def _text_of(choices: Sequence[Choice]) -> str:
    """What was said, without thoughts."""
    return "".join(choice.text for choice in choices)


def _estimate(text: str) -> Usage:
    prompt, completion = (len(said.encode()) // BYTES_PER_TOKEN + 1 for said in (PROMPT, text))
    return Usage(prompt, completion)


def _explain(failure: AttemptFailed, channel: Channel, upstream_id: str, status: int | None) -> str:
    """What a failure means for the operator, and what to do about it. `status` is None if nothing answered at all."""
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
