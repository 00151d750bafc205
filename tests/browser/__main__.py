"""`python -m tests.browser` (`make screenshots`): pictures of every page and state, light and dark, on a desk and on a
phone, of a gateway with a month of use. Ends with 1 if axe-core or the browser has something to complain about."""

from gevent import monkey

monkey.patch_all()

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.audit.__main__ import migrate_database
from tests.browser.scenes import list_scenes
from tests.browser.show import show
from tests.browser.stage import SETTINGS, set_stage
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.warm import ROOT

FOLDER = ROOT / "screenshots"


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description="Takes pictures of all pages.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they go (screenshots/)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only pages with this in their name")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-pages-")))
        settings = make_settings(data, database_url=f"sqlite:///{data}/bridge.db", **SETTINGS)
        migrate_database(settings)
        gateway = Gateway(settings, data / "log")
        stack.callback(gateway.stop)
        stage = set_stage(gateway)
        scenes = [scene for scene in list_scenes(stage) if arguments.only in scene.name]
        complaints = show(stage, scenes, arguments.folder, everywhere=True)
    print("\n".join(complaints or ["Nothing to complain about."]))
    print(f"{4 * len(scenes)} pictures of {len(scenes)} pages and states: {arguments.folder}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
