"""gunicorn's settings for a gateway that samples itself: the product's own, and a timer on the worker's CPU time. At
each tick the running greenlet's stack is counted. Nothing of this is in the product.

SIGUSR2 makes a worker write the counts since the last time to `BENCH_SAMPLES`.PID, a stack a line: see flame.py."""

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

TICK_SECONDS = 0.001  # of CPU time; most kernels tick only every 4 ms
ROOT = f"{Path(__file__).resolve().parent.parent}{os.sep}"
samples: Counter[tuple[CodeType, ...]] = Counter()


def count(_signal: int, frame: FrameType | None) -> None:
    """Count one sample. Between greenlets there is no frame: that is gevent's loop."""
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    samples[tuple(stack)] += 1


def write(_signal: int, _frame: FrameType | None) -> None:
    """Write all counts and reset them. The file appears only when it is complete."""
    counted = dict(samples)  # the timer keeps ticking meanwhile
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
    """A function by name, file and line; our paths are relative to the project, packages' to site-packages."""
    path = code.co_filename.removeprefix(ROOT).rpartition("site-packages/")[2]
    return f"{code.co_qualname} ({path}:{code.co_firstlineno})".replace(";", ":")


def start() -> None:
    """Start counting."""
    signal.signal(signal.SIGUSR2, write)
    signal.signal(signal.SIGPROF, count)
    signal.setitimer(signal.ITIMER_PROF, TICK_SECONDS, TICK_SECONDS)


def post_worker_init(worker: Any) -> None:  # type: ignore[no-redef]  # in place of the product's
    """Do what the product's does, and start the timer."""
    gunicorn.post_worker_init(worker)
    start()
