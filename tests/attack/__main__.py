"""`python -m tests.attack` (`make attack`): attacks a gateway of its own on this machine, prints how another customer
fared beside each attack, and ends with 1 if that customer waited too long or an attack got through."""

from gevent import monkey

monkey.patch_all()

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gevent

from tests.attack import answers, customers, people, thousands  # noqa: F401 - each puts its attacks on the list
from tests.attack.arena import Arena, Fared, make_settings, open_arena
from tests.attack.attacks import ATTACKS, Attack, Result, carry_out, judge
from tests.attack.report import write_end, write_head, write_row
from tests.audit.__main__ import migrate_database
from tests.audit.stores import running_cluster, running_redis
from tests.warm import ROOT

CONTROL_SECONDS = 5.0
NICE = -10
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", "node_modules")


def read_arguments(texts: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="Attacks a gateway on this machine.")
    parser.add_argument("--engine", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn (2); on SQLite always 1")
    parser.add_argument("--quick", action="store_true", help="the chief ones, in small numbers")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORDS", help="attacks named like this; repeatable"
    )
    parser.add_argument("--log", type=Path, help="where to leave the gateway's log")
    parser.add_argument("--checkout", type=Path, help="another working copy of this project, whose gateway to attack")
    parser.add_argument("--list", action="store_true", help="name the attacks and end")
    return parser.parse_args(texts)


def choose(arguments: argparse.Namespace) -> list[Attack]:
    """The attacks of this round, in their order."""
    if arguments.only:
        return [each for each in ATTACKS if any(words in each.name for words in arguments.only)]
    return [each for each in ATTACKS if each.quick or not arguments.quick]


@contextlib.contextmanager
def running_arena(arguments: argparse.Namespace) -> Iterator[Arena]:
    """A gateway with all that it stands on, removed at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-attack-")))
        database_url, redis_url = f"sqlite:///{folder / 'bridge.db'}", ""
        if arguments.engine == "postgresql":
            database_url = stack.enter_context(running_cluster()).url
            redis_url = stack.enter_context(running_redis())
        settings = make_settings(folder, database_url, redis_url, arguments.workers)
        migrate_database(settings)
        yield stack.enter_context(open_arena(settings, arguments.log or folder / "log", arguments.quick))


def come_first() -> None:
    """Take priority over everything else on this machine, the attackers included, where that is allowed: real attackers
    don't share the gateway's cores."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


def watch_control(arena: Arena) -> Fared:
    """How the other customer fares when nobody attacks: what the machine itself makes them wait."""
    arena.warm_up()
    memory = arena.begin()
    gevent.sleep(CONTROL_SECONDS / 2 if arena.quick else CONTROL_SECONDS)
    return arena.end(memory)


def attack_checkout(checkout: Path, texts: list[str]) -> int:
    """The same attacks on the gateway of another working copy, of which a copy is made; the exit status."""
    with tempfile.TemporaryDirectory(prefix="bridge-attack-checkout-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(checkout, copy, ignore=NOT_COPIED)
        shutil.rmtree(copy / "tests/attack", ignore_errors=True)
        shutil.copytree(ROOT / "tests/attack", copy / "tests/attack")
        with subprocess.Popen([sys.executable, "-m", "tests.attack", *texts], cwd=copy) as attacking:
            try:
                return attacking.wait()
            except BaseException:
                attacking.terminate()  # it ends what it has started
                raise


def main() -> int:
    """The exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whoever ends us early leaves nothing behind
    arguments = read_arguments()
    if arguments.list:
        print("\n".join(f"{each.name}: {each.sends}" for each in choose(arguments)))
        return 0
    if arguments.checkout:
        at = sys.argv.index("--checkout")
        return attack_checkout(arguments.checkout, sys.argv[1:at] + sys.argv[at + 2 :])
    come_first()
    results: list[Result] = []
    with running_arena(arguments) as arena:
        where = "PostgreSQL and Redis" if arguments.engine == "postgresql" else "SQLite"
        control = watch_control(arena)
        print(write_head(f"{where}, {arena.gateway.settings.workers} workers", control), flush=True)
        for each in choose(arguments):
            results.append(carry_out(arena, each))
            print(write_row(results[-1]), flush=True)
    print(f"\n{write_end(results)}")
    if judge(control):
        print("This machine was too busy: the other customer waited too long without any attack.")
    return 1 if any(result.complaints for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
