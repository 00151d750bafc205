"""The test of a channel: one small real request through it, its result, and its cost."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flask import current_app

from bridge.catalogue.channel_events import record_test
from bridge.catalogue.channel_keys import find_key
from bridge.catalogue.channel_state import ANSWERED
from bridge.catalogue.channel_wire import place_model
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.key_health import list_keys, name_key
from bridge.catalogue.listing import ListedModel
from bridge.catalogue.outcomes import LETTERS
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel, load_catalogue
from bridge.catalogue.rules import find_upstream_id, serves
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel, ChannelKey, Model
from bridge.catalogue.upstreams import hide_key, hide_key_in, open_channel
from bridge.config import Settings
from bridge.conversation.answer import Choice
from bridge.conversation.completion import CompletionRequest
from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.gathering import Gathered
from bridge.conversation.images import ImageRequest
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES
from bridge.conversation.request import Conversation, Native, Request
from bridge.conversation.turns import Text, Turn
from bridge.conversation.usage import Usage
from bridge.db import db, read_plain
from bridge.errors import BridgeError, InvalidRequest, MisconfiguredError
from bridge.money import format_dollars, take_share
from bridge.providers import PROVIDERS, is_trial_model
from bridge.providers.base import AttemptFailed, Blame, Order, Provider, StreamOrder, Translator
from bridge.providers.recast import read_any_answer
from bridge.providers.tally import usage_of
from bridge.providers.wire.http import Timeouts
from bridge.turns import in_slices

PROMPT = "Say hello."
PICTURE = "A dot."  # what a model that draws is asked for
TEST_OUTPUT_TOKENS = 16
TEST_THINKING_TOKENS = 512  # thoughts count as output: with fewer tokens many models would have none left for text
TEST_TIMEOUT_SECONDS = 30
TEST_ANSWER_BYTES = 2**20
SHOWN_CHARACTERS = 4000
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
    upstream_id: str = ""  # of the model that was asked
    first_ms: int | None = None  # to its first words, of a streamed answer
    cost_bps: int = 10_000  # of the price's costs, what the channel pays
    failure: AttemptFailed | None = None  # what came instead of an answer

    @property
    def cost_nanos(self) -> int:
        """What the operator pays for it."""
        if self.usage is None or self.price is None:
            return 0
        return take_share(self.price.cost(self.usage), self.cost_bps)

    @property
    def ended(self) -> str:
        """How the call ended, as a channel's last calls have it; "" if that says nothing of the channel."""
        if self.ok:
            return ANSWERED
        return "" if self.failure is None else LETTERS.get(self.failure.blame, "")

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


class _Far(NamedTuple):
    """What is asked: the channel, with one of its keys."""

    provider: str
    base_url: str | None
    sealed_key: str | None
    sealed_wire: str | None


def probe_channel(
    name: str, model: str | None = None, stream: bool = False, key: str = "", *, by: str = ""
) -> ChannelTest:
    """Ask a model of the channel, enabled or not, to say hello: the given model or alias, or its cheapest model.

    The test costs the operator a few tokens and is noted in the channel's timeline, with who asked for it (`by`). If it
    is answered, a channel that was out is back. Of several keys it takes the one that ends in `key`, or the first.
    Raises NotFound for an unknown channel or key and InvalidRequest for a model that it doesn't serve. Whatever the
    upstream does is in the result."""
    channel = find_channel(name)
    row = find_key(channel, list_keys(channel), key)
    key_id, said = (row.id, f" With key {name_key(row)}.") if row else (0, "")
    test = _probe(channel, row, model, stream)
    record_test(
        *(name, test.ok, f"{test.detail}{said} {test.took_ms} ms"),
        ended=test.ended,
        cost_nanos=test.cost_nanos if test.ok or test.failure else None,
        by=by,
        key_id=key_id,
        upstream_id=test.upstream_id,
    )
    return dataclasses.replace(test, detail=test.detail + said)


def _probe(channel: Channel, key: ChannelKey | None, model: str | None, stream: bool) -> ChannelTest:
    served, upstream_id = _choose_model(channel, model)
    if served is None:
        return ChannelTest(False, "This channel serves no model of the catalogue.", 0)
    sealed_key = key.sealed if key else channel.sealed_key
    test = ask_channel(channel, served, upstream_id, sealed_key, stream=stream)
    return dataclasses.replace(test, upstream_id=upstream_id)


def ask_channel(  # noqa: PLR0913 - what a request is made of
    channel: Channel,
    served: ServedModel,
    upstream_id: str,
    sealed_key: str | None,
    *,
    stream: bool = False,
    most_tokens: int | None = None,
) -> ChannelTest:
    """Send one small request for the model through the channel, with this one of its keys. Nothing is noted.
    `most_tokens`: of its answer; None: enough for a greeting. Whatever the upstream does is in the result."""
    settings: Settings = current_app.config["BRIDGE"]
    far = _Far(channel.provider, channel.base_url, sealed_key, channel.sealed_wire)
    db.session.commit()  # gives the connection back: an upstream may take its time
    progress = _Progress()
    try:
        _ask(far, served, upstream_id, stream, settings, progress, most_tokens)
    except (AttemptFailed, BridgeError) as failure:  # the latter is a failure that the sandbox plays
        took_ms = progress.passed_ms()
        if isinstance(failure, AttemptFailed):
            hide_key(failure, far)
        why = (
            _explain(failure, channel, upstream_id, progress.status) if isinstance(failure, AttemptFailed) else failure
        )
        known = failure if isinstance(failure, AttemptFailed) else None
        return ChannelTest(False, f"{upstream_id} did not answer. {why}", took_ms, failure=known)
    took_ms = progress.passed_ms()
    detail = f"{upstream_id} answered."
    if progress.first_ms is not None:
        detail = f"{upstream_id} answered, its first words after {progress.first_ms} ms."
    if not progress.text and progress.all_text:
        detail += " It thought until its output was at its end, and said nothing."
    usage = progress.usage or _estimate(progress.all_text)
    text = hide_key_in(progress.text[:SHOWN_CHARACTERS], far)
    return ChannelTest(
        *(True, detail, took_ms, text, usage, progress.usage is None, served.price),
        first_ms=progress.first_ms,
        cost_bps=channel.cost_bps,
    )


def list_served_models(channel: Channel) -> list[str]:
    """The ids of the models that this channel serves, or would serve if it were enabled, in the order in which a test
    chooses.

    The first is the cheapest that talks and doesn't think. For the sandbox it is the model that answers, not one that
    plays a failure."""
    channels, catalogue = list_channels(), load_catalogue()

    def place(model: Model) -> tuple[bool, bool, bool, int, str]:
        rehearses, talks = not is_trial_model(channel.provider, model.id), CHAT in model.kinds
        price = catalogue.models[model.id].price
        return rehearses, not talks, model.thinks, price.costs[0].output if price else 2**62, model.id

    models = sorted((model for model in read_plain(Model) if model.status == "live"), key=place)
    return [model.id for model in in_slices(models) if serves(channel, model, channels)]


def rank_served(channel: Channel, models: Iterable[ListedModel], channels: Sequence[Channel]) -> list[str]:
    """Of these models, listed just now, the ids of those that a test may ask of this channel, in the same order.
    `channels` must be all channels. Reads nothing."""

    def place(model: ListedModel) -> tuple[bool, bool, bool, int, str]:
        rehearses = not is_trial_model(channel.provider, model.id)
        return rehearses, CHAT not in model.kinds, model.thinks, model.price.costs[0].output, model.id

    live = (model for model in models if model.status != "retired" and serves(channel, model, channels))
    return [model.id for model in sorted(in_slices(live), key=place)]


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


def _ask(  # noqa: PLR0913 - what a request is made of
    far: _Far,
    model: ServedModel,
    upstream_id: str,
    stream: bool,
    settings: Settings,
    progress: _Progress,
    most_tokens: int | None,
) -> None:
    provider = PROVIDERS[far.provider]
    translator, order = _write_order(provider, model, upstream_id, stream, most_tokens)
    stream = stream and order.request.stream
    outgoing = translator.write_request(order)
    patience = Timeouts(settings.connect_timeout_seconds, TEST_TIMEOUT_SECONDS, TEST_TIMEOUT_SECONDS)
    try:
        upstream = open_channel(far, settings, upstream_id)
    except MisconfiguredError:
        raise AttemptFailed(Blame.CREDENTIAL, "none of FERNET_KEYS opens the channel's key") from None
    try:
        answer = upstream.send(outgoing, timeouts=patience)
        try:
            progress.status = answer.status
            if answer.status != 200:
                data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
                raise provider.read_error(answer.status, answer.headers, data)
            if stream:
                gathered = Gathered()
                listening = StreamOrder(gathered, TEST_ANSWER_BYTES)
                _read_stream(translator.open_reader(outgoing, listening), answer, progress)
                progress.text = _text_of(gathered.end())
            else:
                data = answer.read_all(max(TEST_ANSWER_BYTES, outgoing.answer_bytes), TEST_TIMEOUT_SECONDS)
                completion = read_any_answer(translator, data, outgoing)
                progress.text = _text_of(completion.choices[:1])
                progress.all_text, progress.usage = "".join(completion.text), usage_of(completion.usage)
                if completion.vectors and progress.usage is None:
                    progress.usage = Usage(_count(PROMPT), 0)
        finally:
            answer.close()
    finally:
        upstream.close()


def _write_order(
    provider: Provider, model: ServedModel, upstream_id: str, stream: bool, most_tokens: int | None
) -> tuple[Translator, Order]:
    """What a model is asked for a test, and who says it: a word or, of one that has none, a vector or a
    picture."""
    enough = TEST_THINKING_TOKENS if model.thinks else TEST_OUTPUT_TOKENS
    cap = min(most_tokens or enough, model.max_output_tokens)
    kind = next((kind for kind in (CHAT, COMPLETIONS, EMBEDDINGS, IMAGES) if kind in model.kinds), CHAT)
    if kind == CHAT:
        turn = Turn("user", [Text(PROMPT)], "messages[0]")
        conversation = Conversation(endpoint=CHAT, model=model.id, turns=[turn], stream=stream, options={})
        wire = next((route.wire for route in model.routes), "")
        return provider, Order(conversation, upstream_id, cap, wire=wire)
    translator = provider.translators.get(kind)
    if translator is None:
        raise AttemptFailed(Blame.SETUP, f"{find_label(provider.name)} has no {kind}")
    request: Request
    if kind == IMAGES:
        drawn = ImageRequest(endpoint=IMAGES, model=model.id, prompt=PICTURE, fields={"quality": "low"}, options={})
        return translator, Order(drawn, upstream_id, model.max_output_tokens)
    if kind == COMPLETIONS:
        native = Native(COMPLETIONS, {"prompt": PROMPT})
        request = CompletionRequest(
            endpoint=COMPLETIONS, model=model.id, prompts=[PROMPT], stream=stream, options={}, native=native
        )
    else:
        request = EmbeddingRequest(endpoint=EMBEDDINGS, model=model.id, inputs=[PROMPT], written=PROMPT, options={})
    return translator, Order(request, upstream_id, cap)


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
    return Usage(_count(PROMPT), _count(text))


def _count(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def _explain(failure: AttemptFailed, channel: Channel, upstream_id: str, status: int | None) -> str:
    """What a failure means for the operator, and what to do about it. `status` is None if nothing answered at all."""
    label, reason = find_label(channel.provider), failure.reason
    where = place_model(channel.base_url, upstream_id) or PROVIDERS[channel.provider].base_url
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
