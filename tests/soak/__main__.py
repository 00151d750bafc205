"""`python -m tests.soak` (`make soak`): soaks a gateway of its own, prints a report, ends with 1 if anything stayed."""

from gevent import monkey

monkey.patch_all()

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.audit.__main__ import migrate_database
from tests.audit.run import Plan
from tests.audit.stores import running_cluster, running_redis
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.soak.run import SLACK, run
from tests.soak.test_soak import CALM, hold_open
from tests.upstream import ScriptedUpstream


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Soaks a gateway in dropped streams.")
    parser.add_argument("--streams", type=int, default=20_000, help="how many (20,000)")
    parser.add_argument("--clients", type=int, default=200, help="at once (200)")
    parser.add_argument("--held-open", type=int, default=500, help="streams open at once, after that (500)")
    parser.add_argument("--pool", type=int, default=5, help="database connections in each pool (5)")
    parser.add_argument("--slack", type=int, default=SLACK, help="descriptors more or less")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-soak-")))
        cluster, redis_url = stack.enter_context(running_cluster()), stack.enter_context(running_redis())
        settings = make_settings(folder, **CALM, database_url=cluster.url, redis_url=redis_url, web_concurrency=2)
        migrate_database(settings)
        upstream = stack.enter_context(contextlib.closing(ScriptedUpstream()))
        environ = {"VITALS": str(folder), "POOL": str(arguments.pool), "PYTHONPATH": "."}
        gateway = Gateway(settings, folder / "log", environ, "tests.soak.gunicorn")
        stack.callback(gateway.stop)
        plan = Plan(arguments.seed, arguments.clients, requests=arguments.streams)
        complaints = run(gateway, upstream, folder, plan, arguments.slack)
        hold_open(gateway, upstream, arguments.held_open)
        print(f"{arguments.held_open} streams at once, on pools of {arguments.pool} connections: all served.")
        print("\n".join(complaints or ["Everything is as it was before."]))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
