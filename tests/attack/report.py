"""The attack's report, for people."""

from collections.abc import Sequence

from tests.attack.arena import Fared
from tests.attack.attacks import MOST_WAIT_MS, Result

NAME_WIDTH = 32
SHOWN = 8


def write_head(where: str, control: Fared) -> str:
    """Before the first attack."""
    return (
        f"Attacks on {where}. Without any, the other customer waited {control.worst_ms:.0f} ms at worst (for"
        f" {control.worst_of}), {control.median_ms:.0f} ms in the middle of {control.requests} requests; its own"
        f" process was kept from running for {control.own_ms:.0f} ms. At most {MOST_WAIT_MS} ms is promised.\n\n"
        f"{'attack':<{NAME_WIDTH}}{'worst':>8}{'of its':>8}{'loop':>7}{'machine':>9}{'memory, MiB':>18}   verdict\n"
        f"{'':<{NAME_WIDTH}}{'ms':>8}{'requests':>9}{'ms':>6}{'ms':>8}{'before most after':>19}"
    )


def write_row(result: Result) -> str:
    """One attack, and below it what is wrong."""
    fared = result.fared
    worst = f"{fared.worst_ms:.0f}" if not result.attack.disturbs else "–"
    memory = "{:>6} {:>5} {:>5}".format(*fared.memory_mib)
    lines = [
        f"{result.attack.name:<{NAME_WIDTH}}{worst:>8}{fared.requests:>9}{fared.busy_ms:>6.0f}{fared.own_ms:>8.0f}{memory:>19}"
        f"   {'FAILED' if result.complaints else 'fine'}"
    ]
    answers = ", ".join(f"{count} × {what}" for what, count in result.answers.items())
    lines += [f"    sent: {result.attack.sends} ({result.seconds:.0f} s)", f"    answered: {answers}"]
    complaints = [*result.complaints[:SHOWN]]
    if len(result.complaints) > SHOWN:
        complaints.append(f"and {len(result.complaints) - SHOWN} more")
    return "\n".join([*lines, *(f"    ! {complaint}" for complaint in complaints)])


def write_end(results: Sequence[Result]) -> str:
    """The sum of all."""
    judged = [result for result in results if not result.attack.disturbs]
    worst = max(judged, key=lambda result: result.fared.worst_ms, default=None)
    failed = [result.attack.name for result in results if result.complaints]
    lines = []
    if worst is not None:
        lines.append(f"The other customer's worst wait: {worst.fared.worst_ms:.0f} ms, beside: {worst.attack.name}.")
    lines.append(f"FAILED: {len(failed)} of {len(results)}: {', '.join(failed)}." if failed else "Nobody was hurt.")
    return "\n".join(lines)
