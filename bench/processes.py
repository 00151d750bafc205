"""The resources that a process and its children have used: CPU in nanoseconds by the kernel's own clocks, memory in
bytes."""

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICK_NANOS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
WHOLE_PROCESS = 2  # the clock of all CPU time of a process's threads


def list_tree(root: int) -> list[int]:
    """A process and all its current descendants; empty if it is gone."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _read_stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    if not (PROC / str(root)).exists():
        return []
    found = [root]
    for pid in found:  # grows during the loop
        found.extend(children.get(pid, ()))
    return found


def cpu_nanos(root: int) -> int:
    """CPU time that a process and its descendants have used so far, ended ones included.

    A living process has a clock in nanoseconds, which includes its ended threads. An ended process was added to its
    parent in ticks of 10 ms, so one that ran between two readings is still in the difference."""
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
    """The process's clock, as clock_getcpuclockid(3) would return it. Python has that for its own process only."""
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
