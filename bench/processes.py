"""What a process and its children have used: CPU in nanoseconds by the kernel's own clocks, memory in bytes."""

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICK_NANOS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
WHOLE_PROCESS = 2  # which of a process's clocks: that of what the scheduler gave all its threads


def list_tree(root: int) -> list[int]:
    """A process and all that descend from it, as they are now; empty when it is gone."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _read_stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    if not (PROC / str(root)).exists():
        return []
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def cpu_nanos(root: int) -> int:
    """CPU time that a process, its descendants and those of them that have ended used so far.

    Of the living each has a clock in nanoseconds, threads that ended included. What has ended was added to its parent
    in ticks of 10 ms, so that a process which came and went between two readings is still in the difference."""
    return sum(_own_nanos(pid) + _reaped_nanos(pid) for pid in list_tree(root))


def memory_bytes(root: int) -> int:
    """Memory of a process and its descendants (PSS: a page that several share is counted once)."""
    return sum(_pss_bytes(pid) for pid in list_tree(root))


def _read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name: state, parent's pid and so on."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _own_nanos(pid: int) -> int:
    """What clock_getcpuclockid(3) gives, which Python has for its own process alone."""
    try:
        return time.clock_gettime_ns(~pid << 3 | WHOLE_PROCESS)
    except OSError:
        return 0


def _reaped_nanos(pid: int) -> int:
    fields = _read_stat(pid)
    return (int(fields[13]) + int(fields[14])) * TICK_NANOS if fields else 0


def _pss_bytes(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
