"""The keys of a channel as its page shows them."""

import dataclasses
import datetime

from bridge.catalogue.breaker_states import KEY_MARK
from bridge.catalogue.channel_keys import ONLY
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.db import now_utc
from bridge.languages import to_translate, translate

STATES = {
    "out": ("bad", to_translate("Refused")),
    "failing": ("warn", to_translate("Failing")),
    "healthy": ("ok", to_translate("In use")),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ShownKey:
    """One key: what its forms call it, its last four characters, the operator's note, its state as a dot and a word,
    and what it met last."""

    which: str
    last_four: str
    note: str
    state: tuple[str, str]
    last_error: str
    last_error_at: datetime.datetime | None


def describe_keys(channel: Channel) -> list[ShownKey]:
    """All keys of the channel. An only one has no state but the channel's."""
    rows = list_keys(channel)
    if not rows and channel.sealed_key:
        return [ShownKey(ONLY, channel.key_last_four or "", "", ("off", translate("The only one")), "", None)]
    return [
        ShownKey(
            f"{KEY_MARK}{key.id}",
            key.last_four,
            key.note,
            find_key_state(key),
            key.last_error or "",
            key.last_error_at,
        )
        for key in rows
    ]


def find_key_state(key: ChannelKey) -> tuple[str, str]:
    """The key's state as a dot and a word."""
    if key.health == "cooling" and key.cooling_until is not None and key.cooling_until > now_utc():
        return "warn", translate("Cooling down, %(seconds)s s", seconds=(key.cooling_until - now_utc()).seconds + 1)
    if key.health in STATES:
        kind, word = STATES[key.health]
        return kind, translate(word)
    return "off", translate("Not tried since") if key.last_answer_at else translate("Not tried yet")
