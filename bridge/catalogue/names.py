"""Finds the models behind the names that other rooms store."""

from collections.abc import Collection

import sqlalchemy as sa

from bridge.catalogue.tables import Alias, Model
from bridge.db import db


def find_model_ids(names: Collection[str]) -> dict[str, str]:
    """Name -> model id, for ids and aliases. A name that no model has is absent."""
    found = {id_: id_ for id_ in db.session.scalars(sa.select(Model.id).where(Model.id.in_(names)))}
    aliases = sa.select(Alias.name, Alias.model_id).where(Alias.name.in_(names))
    found.update({row.name: row.model_id for row in db.session.execute(aliases)})
    return found
