"""Finds the models behind the names that other rooms store, and the names that a filter offers."""

from collections.abc import Collection

import sqlalchemy as sa

from bridge.catalogue.tables import Alias, Channel, Model
from bridge.db import db

MOST_NAMES = 500


def find_model_ids(names: Collection[str]) -> dict[str, str]:
    """Name -> model id, for ids and aliases. A name that no model has is absent."""
    found = {id_: id_ for id_ in db.session.scalars(sa.select(Model.id).where(Model.id.in_(names)))}
    aliases = sa.select(Alias.name, Alias.model_id).where(Alias.name.in_(names))
    found.update({row.name: row.model_id for row in db.session.execute(aliases)})
    return found


def list_names() -> tuple[list[str], list[str]]:
    """The names of all channels, and the ids of all models, at most MOST_NAMES of each."""
    channels = sa.select(sa.literal("channel").label("what"), Channel.name.label("name")).order_by(Channel.name)
    models = sa.select(sa.literal("model"), Model.id).order_by(Model.id)
    parts = [sa.select(part.limit(MOST_NAMES).subquery()) for part in (channels, models)]
    found: dict[str, list[str]] = {"channel": [], "model": []}
    for what, name in db.session.execute(sa.union_all(*parts)):
        found[what].append(name)
    return sorted(found["channel"]), sorted(found["model"])
