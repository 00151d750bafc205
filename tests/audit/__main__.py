"""`python -m tests.audit` (`make audit`): audits a gateway of its own, prints the report, ends with 1 if it isn't
clean."""

from gevent import monkey

monkey.patch_all()

import argparse
import contextlib
import itertools
import os
import random
import sys
import tempfile
from pathlib import Path

import flask_migrate

from bridge.catalogue.sync import sync_catalogue
from bridge.db import db
from bridge.extensions import migrate
from tests.audit.chaos import Chaos
from tests.audit.last_cents import race
from tests.audit.report import write_report
from tests.audit.run import TIMES, Audit, Plan
from tests.audit.stores import Cluster, running_cluster, running_redis
from tests.failover import FAULTS, LEAST_ANSWERED, MOST_ATTEMPTS, Course, drive
from tests.failover import TIMES as FAILOVER_TIMES
from tests.gateway import Gateway
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.upstream import ScriptedUpstream

AT_ONCE, A_SECOND = (8, 40, 100), 40


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description="Audits the gateway's money.")
    parser.add_argument("--seconds", type=float, default=600, help="how long (600)")
    parser.add_argument("--seed", type=int, help="a number of your choice, to begin the same way again")
    parser.add_argument("--engine", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=4, help="of gunicorn (4); on SQLite always 1")
    parser.add_argument("--clients", type=int, default=200, help="at once (200)")
    parser.add_argument("--strike-every", type=float, default=5.0, help="seconds between two misfortunes (5)")
    parser.add_argument("--last-cents", type=int, metavar="ROUNDS", help="the race for the last cents instead")
    parser.add_argument(
        "--failover",
        type=int,
        metavar="REQUESTS",
        help="instead, one of three channels fails",
    )
    parser.add_argument(
        "--fault", action="append", default=[], choices=list(FAULTS), help="only this fault; repeatable"
    )
    parser.add_argument("--log", type=Path, help="where to leave the gateway's log")
    return parser.parse_args()


def main() -> int:
    """The exit status."""
    arguments = read_arguments()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-audit-")))
        cluster: Cluster | None = None
        changes = {**TIMES, "database_url": f"sqlite:///{folder / 'bridge.db'}", "web_concurrency": 1}
        if arguments.engine == "postgresql":
            cluster = stack.enter_context(running_cluster())
            redis_url = stack.enter_context(running_redis())
            changes |= {"database_url": cluster.url, "redis_url": redis_url, "web_concurrency": arguments.workers}
        if arguments.failover:
            changes |= FAILOVER_TIMES
        settings = make_settings(folder, **changes)
        migrate_database(settings)
        upstream = stack.enter_context(contextlib.closing(ScriptedUpstream()))
        gateway = Gateway(settings, arguments.log or folder / "log")
        stack.callback(gateway.stop)
        where = "PostgreSQL and Redis" if cluster else "SQLite"
        where += f" with {gateway.settings.workers} workers" if cluster else " with one worker"
        print(f"Auditing on {where}, seed {seed} …", file=sys.stderr, flush=True)
        if arguments.failover:
            return _fail_over(gateway, arguments.failover, arguments.fault)
        if arguments.last_cents:
            lines = race(gateway, upstream, clients=arguments.clients, rounds=arguments.last_cents)
            print(
                "\n".join(lines or [f"{arguments.last_cents} rounds: exactly what each balance pays for was served."])
            )
            return 1 if lines else 0
        plan = Plan(seed, arguments.clients, seconds=arguments.seconds, strike_every=arguments.strike_every)
        report = Audit(gateway, upstream, plan, Chaos(gateway, seed, cluster, (1.0, 6.0))).run()
        print(write_report(report, where))
        return 0 if report.clean else 1


def _fail_over(gateway: Gateway, requests_count: int, faults: list[str]) -> int:
    """Every fault in turn, by few and by many at once, and 40 a second; the exit status."""
    wrong = 0
    print(f"promised: {LEAST_ANSWERED:.1%} answered, {MOST_ATTEMPTS} attempts each at the most\n")
    print(f"{'fault':<26}{'at once':>12}{'mode':>8}{'answered':>10}{'attempts':>10}")
    for fault in faults or FAULTS:
        for clients, mode in itertools.product(AT_ONCE, ("whole", "stream")):
            course = drive(gateway, fault, requests_count=max(requests_count, 3 * clients), clients=clients, mode=mode)
            wrong += _say(fault, str(clients), mode, course)
        course = drive(gateway, fault, requests_count=requests_count, a_second=A_SECOND)
        wrong += _say(fault, f"{A_SECOND} a second", "both", course)
    course = drive(gateway, "500", requests_count=50, broken=3)
    fine = not (course.answered or course.most_attempts > 3 or course.complaints)
    print(f"all fail: {course.most_attempts} attempts at the most; {course.complaints or 'nothing charged'}")
    return 1 if wrong or not fine else 0


def _say(fault: str, at_once: str, mode: str, course: Course) -> int:
    """One line of the table; 1 if it is below what is promised."""
    share, attempts = course.answered / course.requests, course.attempts / course.requests
    mark = "" if course.is_as_promised else "   < promised"
    print(f"{fault:<26}{at_once:>12}{mode:>8}{share:>10.2%}{attempts:>10.3f}{mark}", flush=True)
    for line in [*course.complaints[:10], *course.refusals[:10]]:
        print(f"    {line}", flush=True)
    return int(not course.is_as_promised)


def migrate_database(settings: object) -> None:
    """Give an empty database its tables and the catalogue."""
    os.environ.setdefault("FLASK_SKIP_DOTENV", "1")
    app = open_rooms(settings)  # type: ignore[arg-type]
    migrate.init_app(app, db)
    with app.app_context():
        flask_migrate.upgrade()
        sync_catalogue(settings)  # type: ignore[arg-type]
    close_rooms(app)


if __name__ == "__main__":
    sys.exit(main())
