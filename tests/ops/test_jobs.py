"""Every job is a row that says what it does; the architecture lists the same jobs; a failure is logged and tried
again."""

import re
from pathlib import Path

import gevent
import pytest
from flask import Flask
from structlog.testing import capture_logs

from bridge.config import Settings
from bridge.daily import LEDGER_CHECK
from bridge.ops import worker
from bridge.ops.jobs import EACH_WORKER, ONCE_PER_FLEET, Job, list_jobs
from bridge.ops.nightly import check_nightly

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PATIENCE_SECONDS = 60


@pytest.mark.parametrize("job", list_jobs(Settings()), ids=lambda job: job.name)
def test_a_row_has_a_name_a_period_a_place_and_says_what_it_does(job: Job):
    assert job.name
    assert job.seconds > 0
    assert job.period
    assert job.where in (EACH_WORKER, ONCE_PER_FLEET)
    assert re.fullmatch(r"[A-Z].*\.", job.description)


def test_names_are_given_once():
    names = [job.name for job in list_jobs(Settings())]
    assert len(set(names)) == len(names)


def test_the_architecture_lists_exactly_these():
    section = ARCHITECTURE.read_text().partition("## What runs beside the requests")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE)[1:]
    written = [(name, re.split(r",? \(|, ", often)[0], where, "at start" in often) for name, often, where in rows]
    assert written == [(job.name, job.period, job.where, job.at_once) for job in list_jobs(Settings())]


def test_a_period_is_written_as_people_say_it():
    def period(seconds: float) -> str:
        return Job("x", seconds, lambda _services: None, EACH_WORKER).period

    assert [period(each) for each in (0.25, 1.0, 60.0, 90.0, 600.0)] == ["0.25 s", "1 s", "1 min", "90 s", "10 min"]


@ON_SQLITE
def test_a_worker_begins_every_job_that_its_settings_have_a_use_for(app: Flask, monkeypatch: pytest.MonkeyPatch):
    begun: list[tuple[str, float, bool]] = []

    def note(_app: Flask, seconds: float, _task: object, *, name: str, at_once: bool) -> None:
        begun.append((name, seconds, at_once))

    monkeypatch.setattr(worker, "run_every", note)
    worker.start(app)
    jobs = list_jobs(app.extensions["bridge_services"].settings)
    assert begun == [(job.name, job.seconds, job.at_once) for job in jobs if job.wanted]
    left_out = {job.name for job in jobs if not job.wanted}
    assert left_out == {
        "shared health",
        "leases",
        "idle channels",
        "automatic top-ups",
        "forgotten cards",
        "subscriptions",
    }


@ON_SQLITE
def test_a_job_that_raises_is_logged_and_tried_again(app: Flask):
    tries: list[int] = []
    done = gevent.event.Event()

    def fail_twice() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise RuntimeError("no")
        done.set()

    with capture_logs() as lines:
        job = worker.run_every(app, 0.01, fail_twice, name="mails")
        assert done.wait(PATIENCE_SECONDS)
        job.kill()
    failures = [(line["event"], line["log_level"], line["task"]) for line in lines if "task" in line]
    assert failures == [("background_task_failed", "error", "mails")] * 2


@ON_SQLITE
def test_a_job_that_raises_keeps_no_other_waiting(app: Flask):
    done = gevent.event.Event()

    def fail() -> None:
        raise RuntimeError("no")

    jobs = [worker.run_every(app, 0.01, fail, name="roll-ups"), worker.run_every(app, 0.01, done.set, name="mails")]
    assert done.wait(PATIENCE_SECONDS)
    gevent.killall(jobs)


def test_the_command_lists_every_job_with_its_last_run_where_that_is_kept(app: Flask):
    def last_run() -> str:
        result = app.test_cli_runner().invoke(args=["jobs"])
        assert result.exit_code == 0
        lines = result.stdout.splitlines()[1:]
        jobs = list_jobs(app.config["BRIDGE"])
        assert all(
            line.startswith(job.name) and line.endswith(job.description) for line, job in zip(lines, jobs, strict=True)
        )
        (line,) = (line for line in lines if line.startswith(LEDGER_CHECK))
        return re.split(r"  +", line)[3]

    assert last_run() == "never"
    with app.app_context():
        check_nightly(Settings(nightly_hour=0))
    assert last_run().endswith(", well")
