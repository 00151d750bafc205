"""A request of OpenAI's dialect while it is being fitted to a model."""

import msgspec

from bridge.json_types import Json, JsonObject
from bridge.providers.asked import NEUTRAL
from bridge.providers.base import Order
from bridge.providers.openai.request_fields import MAX_DROPPED


class Draft(msgspec.Struct):
    """`out` is the body that goes out, `messages` its conversation: in `out` they may still stand as the client's own
    JSON. `sound`: no field of the messages had to go, none is empty, and every function has a name that is taken.
    `dropped` and `clamped` name what isn't taken as the client wrote it. `legacy`: the client speaks the dialect of
    `functions`, and the provider doesn't. `names` are the client's names of renamed functions."""

    order: Order
    out: JsonObject
    dropped: list[str]
    messages: list[JsonObject]
    clamped: list[str] = msgspec.field(default_factory=list)
    legacy: bool = False
    sound: bool = False
    names: dict[str, str] = msgspec.field(default_factory=dict)

    def drop(self, *fields: str) -> None:
        """Take these out, and name those that said something."""
        for field in fields:
            value = self.out.pop(field, None)
            if value is not None and value not in NEUTRAL.get(field, ()):
                self.name_dropped(field)

    def name_dropped(self, field: str) -> None:
        if field not in self.dropped and len(self.dropped) < MAX_DROPPED:
            self.dropped.append(field)

    def clamp(self, field: str, value: Json, shown: str = "") -> None:
        """Send this value instead of the client's, and say so. `shown` is for values that are no plain text."""
        self.out[field] = value
        self.clamped.append(f"{field}={shown or value}")

    def write_messages(self, messages: list[JsonObject]) -> None:
        """This conversation instead of the client's own."""
        self.messages = self.out["messages"] = messages
