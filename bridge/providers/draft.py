"""A request of OpenAI's dialect while it is being fitted to a model."""

import dataclasses
from typing import Any

from bridge.providers.base import ChatOrder
from bridge.providers.conversation import NEUTRAL


@dataclasses.dataclass(slots=True)
class Draft:
    """`out` is the body that goes out. `dropped` and `clamped` name what isn't taken as the client wrote it. `legacy`:
    the client speaks the dialect of `functions`, and the provider doesn't."""

    order: ChatOrder
    out: dict[str, Any]
    dropped: list[str]
    clamped: list[str] = dataclasses.field(default_factory=list)
    legacy: bool = False

    def drop(self, *fields: str) -> None:
        """Take these out, and name those that said something."""
        for field in fields:
            value = self.out.pop(field, None)
            if value is not None and value not in NEUTRAL.get(field, ()) and field not in self.dropped:
                self.dropped.append(field)

    def clamp(self, field: str, value: Any, shown: str = "") -> None:
        """Send this value instead of the client's, and say so. `shown` is for values that are no plain text."""
        self.out[field] = value
        self.clamped.append(f"{field}={shown or value}")
