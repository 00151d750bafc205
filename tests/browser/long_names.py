"""Gives everything on the stage that people name as long a name as it may have, without a space to break it at."""

import dataclasses

import sqlalchemy as sa

from bridge.accounts.tables import Account, Key, Member, Passkey
from bridge.catalogue.incident_tables import Incident
from bridge.catalogue.tables import Channel
from bridge.db import transaction
from bridge.ledger.tables import UsageRecord
from bridge.payments.plan_tables import Plan
from tests.browser.stage import Stage
from tests.gateway import Gateway

NAMES = (  # the column, and what a name of it may have
    *((Account.name, 200), (Account.suspend_reason, 500), (Key.name, 100), (Member.name, 100), (Passkey.name, 60)),
    *((Channel.name, 64), (Plan.name, 60), (Incident.title, 120), (UsageRecord.end_user, 64)),
)


def name_at_length(gateway: Gateway, stage: Stage) -> Stage:
    """The stage with the new names; channels are found by theirs."""
    channels = {stage.ids[name] for name in ("channel", "channel_slow", "channel_partly")}
    with gateway.make.app.app_context(), transaction() as session:
        rows = session.execute(sa.select(Channel.name, Channel.id).where(Channel.name.in_(channels)))
        found = {row.name: row.id for row in rows}
        for column, length in NAMES:
            key = next(iter(column.class_.__table__.primary_key.columns))
            fill = "n" * (length - 20)
            session.execute(sa.update(column.class_).values({column: sa.literal(fill) + sa.cast(key, sa.String)}))
        email = sa.literal("m" * 64 + "@") + sa.cast(Member.id, sa.String) + sa.literal("d" * 60 + ".example")
        session.execute(sa.update(Member).values(email=email))
        names = {row.id: row.name for row in session.execute(sa.select(Channel.id, Channel.name))}
    renamed = {id_: names[found[value]] for id_, value in stage.ids.items() if value in channels}
    return dataclasses.replace(stage, ids={**stage.ids, **renamed})
