"""gunicorn's settings for a gateway that looks where it is: the product's own, and a clock that ticks with the worker's
CPU time. At each tick the running greenlet's stack is counted. Nothing of this is in the product.

SIGUSR2 to a worker writes what was counted since the last time to `BENCH_SAMPLES`.PID, a stack a line: see flame.py.
"""

from gevent import monkey

monkey.patch_all()

import os
import signal
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bridge.ops import gunicorn
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here

TICK_SECONDS = 0.001  # of CPU time; kernels tick more rarely, mostly every 4 ms
ROOT = f"{Path(__file__).resolve().parent.parent}{os.sep}"
samples: Counter[tuple[CodeType, ...]] = Counter()


def count(_signal: int, frame: FrameType | None) -> None:
    """One sample. Between greenlets there is no frame: that is gevent's loop."""
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    samples[tuple(stack)] += 1


def write(_signal: int, _frame: FrameType | None) -> None:
    """Everything counted so far; the count begins anew. The file is there as soon as it is whole."""
    counted = dict(samples)  # the clock goes on ticking meanwhile
    samples.clear()
    lines = [
        f"{';'.join(describe(code) for code in reversed(stack)) or 'gevent loop'} {number}\n"
        for stack, number in counted.items()
    ]
    path = Path(f"{os.environ['BENCH_SAMPLES']}.{os.getpid()}")
    part = path.with_suffix(".part")
    part.write_text("".join(lines))
    part.replace(path)


def describe(code: CodeType) -> str:
    """A function by name, file and line: of ours below the project, of packages below site-packages."""
    path = code.co_filename.removeprefix(ROOT).rpartition("site-packages/")[2]
    return f"{code.co_qualname} ({path}:{code.co_firstlineno})".replace(";", ":")


def start() -> None:
    """Count from now on."""
    signal.signal(signal.SIGUSR2, write)
    signal.signal(signal.SIGPROF, count)
    signal.setitimer(signal.ITIMER_PROF, TICK_SECONDS, TICK_SECONDS)


def post_worker_init(worker: Any) -> None:
    """As the product's, and the clock."""
    gunicorn.post_worker_init(worker)
    start()
