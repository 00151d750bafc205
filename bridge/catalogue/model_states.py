"""How each model fares, as everyone may read it: by the states of its channels, none of which it names."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bridge.catalogue.channel_state import (
    DEGRADED,
    UNAVAILABLE,
    fails_for,
    find_availability,
    find_model_state,
    was_called,
)
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel, Model, Price
from bridge.db import now_utc, read_plain
from bridge.languages import to_translate
from bridge.providers import stands_in

# from the worst to the least: its dot, its word, and what it means for a call
STATES = {
    "not_served": ("bad", to_translate("Not served"), to_translate("calls fail and cost nothing")),
    "limited": ("warn", to_translate("Degraded"), to_translate("its provider limits or fails some calls")),
    "recovering": ("warn", to_translate("Recovering"), to_translate("it answers again, few calls so far")),
    "reduced": ("warn", to_translate("Degraded"), to_translate("answers, with less in reserve than usual")),
    "answering": ("ok", to_translate("Answering"), ""),
    "uncalled": ("off", to_translate("No calls"), to_translate("none in 90 days")),
    "untested": ("off", to_translate("Not called yet"), to_translate("nothing is known of it")),
    "made_up": ("off", to_translate("Sandbox"), to_translate("answers are made up")),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ModelState:
    """A model and its state now: `code` is one of STATES, `status` what `GET /v1/models` says of it."""

    id: str
    provider: str  # who makes it, as people call them
    code: str
    status: str

    @property
    def rank(self) -> int:
        """Its place in a list that begins with the worst."""
        return list(STATES).index(self.code)

    @property
    def kind(self) -> str:
        """Its dot: ok, warn, bad or off."""
        return STATES[self.code][0]

    @property
    def word(self) -> str:
        """What pages say, in English."""
        return STATES[self.code][1]

    @property
    def why(self) -> str:
        """What it means for a call, in English."""
        return STATES[self.code][2]


def list_model_states(group: str | None) -> list[ModelState]:
    """Those of all models that are offered to accounts of a group (None: any) and that a channel serves, well or not.
    Two statements."""
    priced = sa.select(Price.id).where(Price.model_id == Model.id).exists()
    models, channels = read_plain(Model, where=priced & (Model.status != "retired")), list(read_plain(Channel))
    index, now = ChannelIndex(channels), now_utc()
    found = []
    for model in models:
        serving = () if stands_in(model.provider) else index.of(model, group)
        if serving:
            code, status = _judge(serving, now), find_availability(serving, now)
            found.append(ModelState(model.id, find_label(model.provider), code, status))
    return found


def _judge(serving: Sequence[tuple[Any, str]], now: datetime.datetime) -> str:
    availability = find_availability(serving, now)
    if availability == UNAVAILABLE:
        return "not_served"
    if availability == DEGRADED:
        return "limited"
    usable = [(channel, upstream_id) for channel, upstream_id in serving if not fails_for(channel, upstream_id)]
    if all(stands_in(channel.provider) for channel, _ in usable):
        return "made_up"
    called = [(channel, upstream_id) for channel, upstream_id in usable if was_called(channel)]
    if not called:
        return "untested"
    codes = {find_model_state(channel, upstream_id, now).code for channel, upstream_id in called}
    if codes == {"recovering"}:
        return "recovering"
    if codes <= {"recovering", "unsteady", "cooling"}:
        return "limited"
    return "answering" if len(usable) == len(serving) else "reduced"
