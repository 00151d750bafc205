"""What was dropped or clamped is named in headers, whose text nobody looks at again."""

from types import SimpleNamespace
from typing import Any

from bridge.v1.relay import Relay


def test_a_field_s_name_can_write_no_header_of_its_own():
    relay: Any = SimpleNamespace(
        dropped=["seed", "a\r\nSet-Cookie: b"], clamped=["temperature=1", "naïve=2"], attempts=[]
    )
    assert Relay.adapted_headers(relay) == [
        ("x-bridge-dropped", "seed, a??Set-Cookie: b"),
        ("x-bridge-clamped", "temperature=1, na?ve=2"),
        ("x-bridge-attempts", "0"),
    ]
