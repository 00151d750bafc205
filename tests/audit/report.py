"""The audit's report, for people."""

from tests.audit.run import Report

SHOWN = 40


def write_report(report: Report, where: str) -> str:
    """A page of plain text."""
    chaos, findings = report.chaos, report.findings
    figures = [
        ("requests", f"{report.requests:,}", f"from {report.plan.clients} clients, {report.replays:,} of them replays"),
        ("kills", f"{chaos.kills:,}", "kill -9 of workers"),
        ("restarts", f"{chaos.restarts:,}", "SIGTERM, and started again"),
        ("database away", f"{chaos.outages:,}", ""),
        ("Redis emptied", f"{chaos.flushes:,}", ""),
        ("differences", f"{len(findings.differences):,}", ""),
        ("overspend", f"{report.overspend_nanos:,}", "nano-dollars"),
        ("open holds", f"{report.open_holds:,}", ""),
        ("our losses", f"{findings.losses_nanos:,}", "nano-dollars that upstreams took beyond hold and balance"),
        (
            "lost ends",
            f"{len(findings.lost_ends):,}",
            "paid for, and the worker was killed before the last byte went out",
        ),
    ]
    lines = [f"Audit on {where}, seed {report.plan.seed}, {report.seconds:.0f} s", ""]
    lines += [f"  {name:<14} {figure:>12}  {what}".rstrip() for name, figure, what in figures]
    lines += ["", "  How requests ended:"]
    lines += [f"  {count:>8,}  {outcome}" for outcome, count in findings.outcomes.most_common()]
    lines += ["", "  What the upstream did:"]
    lines += [f"  {count:>8,}  {play}" for play, count in report.plays.most_common()]
    if findings.lost_ends:
        lines += ["", "  Lost ends:", *(f"  - {line}" for line in findings.lost_ends[:SHOWN])]
    if findings.differences:
        lines += ["", "  Differences:", *(f"  - {line}" for line in findings.differences[:SHOWN])]
    lines += ["", "Clean." if report.clean else "NOT CLEAN."]
    return "\n".join(lines)
