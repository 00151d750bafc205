"""Headers name what was dropped or clamped; their text is not checked again."""

from types import SimpleNamespace
from typing import Any

from bridge.inference.attempts import Attempts


def test_a_field_s_name_can_write_no_header_of_its_own():
    attempts: Any = SimpleNamespace(
        dropped=["seed", "a\r\nSet-Cookie: b"], clamped=["temperature=1", "naïve=2"], records=[]
    )
    assert Attempts.adapted_headers(attempts) == [
        ("x-bridge-dropped", "seed, a??Set-Cookie: b"),
        ("x-bridge-clamped", "temperature=1, na?ve=2"),
        ("x-bridge-attempts", "0"),
    ]
