"""Cold start: from starting gunicorn to its first answer, and which imports take the time."""

import re
import subprocess
import sys
import time
from collections import Counter

from bench.gateway import Home, running_gateway
from bench.servers import ROOT, BenchError

FIND_IMPORTS = re.compile(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", re.MULTILINE)
IMPORT_SECONDS = 120


def time_first_answer(home: Home) -> float:
    """Seconds from starting the program until /livez was answered."""
    started = time.perf_counter()
    with running_gateway(home):
        return time.perf_counter() - started


def time_imports(home: Home) -> Counter[str]:
    """Microseconds that each package's own modules took to import. Raises BenchError if that can't be read."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import wsgi"],
        cwd=ROOT,
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
    )
    if done.returncode:
        raise BenchError(f"The app can't be imported: {done.stderr[-500:]}")
    return read_imports(done.stderr)


def read_imports(printed: str) -> Counter[str]:
    """The output of `-X importtime`, summed by package."""
    packages: Counter[str] = Counter()
    for own, name in FIND_IMPORTS.findall(printed):
        packages[name.partition(".")[0]] += int(own)
    return packages
