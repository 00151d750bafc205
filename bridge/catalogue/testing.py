"""The test button of a channel: one small real request through it."""

import dataclasses
import time

from flask import current_app
from sqlalchemy import select

from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.rules import SANDBOX, find_upstream_id, serves
from bridge.catalogue.tables import Channel, Model
from bridge.catalogue.upstreams import open_channel
from bridge.config import Settings
from bridge.db import db
from bridge.errors import BridgeError
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, ChatOrder, Completion
from bridge.providers.http import Timeouts

TEST_OUTPUT_TOKENS = 16
TEST_TIMEOUT_SECONDS = 30
TEST_ANSWER_BYTES = 2**20
SHOWN_CHARACTERS = 200


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelTest:
    """What a channel made of a test request: `detail` is a sentence for the operator, `text` what the model said."""

    ok: bool
    detail: str
    took_ms: int
    text: str


def test_channel(name: str) -> ChannelTest:
    """Ask the first model that the channel serves, enabled or not, to say hello. It costs the operator a few tokens.

    Raises NotFound for an unknown channel; whatever the upstream does is told in the result."""
    channel = find_channel(name)
    model = _find_first_model(channel)
    if model is None:
        return ChannelTest(False, "This channel serves no model of the catalogue.", 0, "")
    settings: Settings = current_app.config["BRIDGE"]
    upstream_id = find_upstream_id(channel, model)
    db.session.commit()  # gives the connection back: an upstream may take its time
    started = time.monotonic()
    try:
        completion = _ask(channel, model.id, upstream_id, settings)
    except (AttemptFailed, BridgeError) as failure:  # the latter is the sandbox rehearsing
        took_ms = round((time.monotonic() - started) * 1000)
        return ChannelTest(False, f"{upstream_id} did not answer: {failure}", took_ms, "")
    took_ms = round((time.monotonic() - started) * 1000)
    return ChannelTest(True, f"{upstream_id} answered.", took_ms, "".join(completion.text)[:SHOWN_CHARACTERS])


def _ask(channel: Channel, public_id: str, upstream_id: str, settings: Settings) -> Completion:
    provider = PROVIDERS[channel.provider]
    body = {"model": public_id, "messages": [{"role": "user", "content": "Say hello."}]}
    upstream = open_channel(channel, settings)
    outgoing = provider.write_chat(ChatOrder(body, upstream_id, TEST_OUTPUT_TOKENS))
    patience = Timeouts(settings.connect_timeout_seconds, TEST_TIMEOUT_SECONDS, TEST_TIMEOUT_SECONDS)
    answer = upstream.send(outgoing, timeouts=patience)
    try:
        data = answer.read_all(TEST_ANSWER_BYTES, TEST_TIMEOUT_SECONDS)
        if answer.status != 200:
            raise provider.read_error(answer.status, answer.headers, data)
        return provider.read_answer(data, outgoing)
    finally:
        answer.close()
        upstream.close()


def _find_first_model(channel: Channel) -> Model | None:
    """By id; of the sandbox's, the one that answers, not one that rehearses a failure."""
    channels = list_channels()
    models = db.session.scalars(select(Model).where(Model.status == "live").order_by(Model.id))
    served = [model for model in models if serves(channel, model, channels)]
    if channel.provider == SANDBOX:
        served.sort(key=lambda model: model.id != "sandbox-echo")
    return served[0] if served else None
