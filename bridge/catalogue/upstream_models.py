"""What an upstream lists beside what its channel serves: models to add, models that nobody here knows, and models that
it lists no longer. Nothing changes before an operator says so."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from flask import current_app

from bridge.acts import COMMAND, Actor
from bridge.catalogue.discovery import list_upstream_models
from bridge.catalogue.editing import change_fields, find_channel, list_channels
from bridge.catalogue.rules import ChannelLike, find_upstream_id, serves
from bridge.catalogue.tables import Alias, Channel, Model
from bridge.config import Settings
from bridge.db import db, read_plain, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.providers.base import FoundModel
from bridge.turns import in_slices
from bridge.versions import bump, wait_until_seen

# a name without a date or tag means a dated one of the list: claude-x for claude-x-20250929, llama3 for llama3:latest
DATED = re.compile(r"([-@:](\d{4}-?\d{2}-?\d{2}|latest|\d{3}|v\d+))+")


@dataclasses.dataclass(frozen=True, slots=True)
class Addable:
    """A listed model that the catalogue knows and the channel doesn't serve, and its public name here."""

    upstream_id: str
    public: str


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """A model that the channel serves under a name that its upstream doesn't list."""

    public: str
    upstream_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """An upstream's list beside its channel's models. `serves_all`: the channel has no list of its own, and would get
    one with the first change."""

    listed: int
    served: int
    addable: tuple[Addable, ...]
    unknown: tuple[FoundModel, ...]
    missing: tuple[Missing, ...]
    serves_all: bool

    @property
    def is_even(self) -> bool:
        """Whether there is nothing to add or to take out."""
        return not (self.addable or self.unknown or self.missing)


def compare_models(channel: Channel, settings: Settings) -> Comparison:
    """Ask the channel's upstream for its list and compare. It may take 20 seconds. Raises what
    `list_upstream_models` raises."""
    served = list_served(channel)
    known = _Known()
    serves_all = channel.models is None
    db.session.expunge(channel)
    db.session.commit()  # gives the connection back while the upstream takes its time
    return _compare(list_upstream_models(channel, settings), served, known, serves_all)


def _compare(found: tuple[FoundModel, ...], served: Mapping[str, str], known: "_Known", all_: bool) -> Comparison:
    here, listed = set(served.values()), [model.id for model in found]
    addable, unknown, met = [], [], set(served)
    for model in in_slices(found):
        if model.id in here or any(means(own, model.id) for own in here):
            continue
        public = known.find(model.id)
        if public is None:
            unknown.append(model)
        elif public not in met:
            met.add(public)
            addable.append(Addable(model.id, public))
    names = set(listed)
    missing = [
        Missing(public, own)
        for public, own in served.items()
        if own not in names and not any(means(own, each) for each in listed)
    ]
    return Comparison(len(found), len(served), tuple(addable), tuple(unknown), tuple(missing), all_)


def change_models(
    name: str, add: Mapping[str, str], remove: Iterable[str], *, actor: Actor = COMMAND
) -> dict[str, str]:
    """Add models to the channel's list (public -> upstream; "" for the catalogue's own name) and take others out. A
    channel that serves all of its provider's gets a list of those. Returns what it serves then. Raises NotFound,
    or InvalidRequest naming the field."""
    with transaction() as session:
        channel = find_channel(name)
        models = dict(list_served(channel))
        gone = set(remove)
        if strangers := gone - models.keys():
            raise InvalidRequest(
                translate("%(name)s does not serve %(value)s.", name=name, value=min(strangers)), param="models"
            )
        models = {public: upstream for public, upstream in models.items() if public not in gone} | dict(add)
        if not models:
            raise InvalidRequest(translate("That would leave no model: disable the channel instead."), param="models")
        change_fields(session, channel, {"models": models}, actor)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])
    return models


def list_served(channel: Channel) -> dict[str, str]:
    """Public -> upstream name, of all models on sale that the channel serves or would serve if it were enabled."""
    channels: list[ChannelLike] = list(list_channels())
    models = (model for model in read_plain(Model, Model.id) if model.status == "live")
    return {model.id: find_upstream_id(channel, model) for model in models if serves(channel, model, channels)}


class _Known:
    """The catalogue's models by whatever an upstream may call them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        models = list(read_plain(Model, Model.id))
        for alias in read_plain(Alias, Alias.name):
            self._names[alias.name] = alias.model_id
        for model in models:
            self._names[model.upstream_id] = model.id
        for model in models:  # the public name says most
            self._names[model.id] = model.id

    def find(self, upstream_id: str) -> str | None:
        """The model that is meant by an upstream's id, also by one that has its maker before it (openai/gpt-4o) or a
        date behind it."""
        for name in (upstream_id, upstream_id.rpartition("/")[2]):
            if name in self._names:
                return self._names[name]
        bare = upstream_id.rpartition("/")[2]
        return next((id_ for name, id_ in self._names.items() if means(name, bare)), None)


def means(name: str, listed: str) -> bool:
    """Whether a listed id is this name with a date or a tag."""
    return listed.startswith(name) and DATED.fullmatch(listed, len(name)) is not None
