"""`flask jobs`: what every worker does beside its requests."""

import click
from flask import current_app
from flask.cli import with_appcontext

from bridge.config import Settings
from bridge.daily import list_days
from bridge.ops.command_line import Command, print_table
from bridge.ops.jobs import Job, list_jobs


@click.command("jobs", cls=Command)
@with_appcontext
def jobs() -> None:
    """List the jobs that run beside the requests.

    Of those of a day, the last run is shown; workers keep no record of the others, whose failures are in the log."""
    settings: Settings = current_app.config["BRIDGE"]
    heading = ("JOB", "HOW OFTEN", "WHERE", "LAST RUN", "WHAT")
    print_table([heading, *(_describe(job) for job in list_jobs(settings))])


def _describe(job: Job) -> tuple[str, ...]:
    period = job.period if job.wanted else "off"
    return job.name, period, job.where, _find_last_run(job), job.description


def _find_last_run(job: Job) -> str:
    if not job.once_a_day:
        return "-"
    last = next(iter(list_days(job.name, limit=1)), None)
    if last is None:
        return "never"
    if last.finished_at is None:
        return f"{last.day}, not finished"
    found = len(last.complaints)
    return f"{last.day}, {f'{found} to look at' if found else 'well'}"
