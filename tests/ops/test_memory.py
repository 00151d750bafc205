"""The memory of large requests goes back to the system."""

import platform
import subprocess
import sys

import pytest

from tests.warm import ROOT

# Bodies are freed while a small object that came later stays.
LARGE_REQUESTS = """
import sys
from bridge.ops.memory import give_back_large_blocks

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

if sys.argv[1] == "yes":
    give_back_large_blocks()
before = resident_mib()
b"x" * (30 << 20)
bodies = [b"x" * (8 << 20) for _ in range(20)]
small = bytearray(100_000)
del bodies
print(resident_mib() - before)
"""


def measure_kept_mib(given_back: str) -> int:
    command = [sys.executable, "-c", LARGE_REQUESTS, given_back]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give it back by themselves")
def test_what_large_requests_took_is_given_back_though_something_small_stays():
    assert measure_kept_mib("no") > 100  # otherwise there would be nothing to fix
    assert measure_kept_mib("yes") < 20
