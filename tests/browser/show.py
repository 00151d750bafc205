"""Shows scenes to the browser, which is a process of its own: Playwright's loop and gevent's patches do not mix."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.browser.scenes import Scene
from tests.browser.stage import Stage
from tests.installed import install_node
from tests.warm import ROOT

PINS = Path(__file__).parent / "node"
PATIENCE_SECONDS = 900


def show(
    stage: Stage,
    scenes: Sequence[Scene],
    folder: Path | None = None,
    *,
    everywhere: bool = False,
    widths: Sequence[int] = (),
) -> list[str]:
    """What is wrong with these scenes, in the browser's words and in axe-core's. With a folder, pictures of them go
    there. `everywhere`: they are looked at in each theme at each width, otherwise in two of the four by turns, and by
    axe-core in one. `widths`: at each of these, and without axe-core."""
    axe = "" if widths else install_node(PINS) / "node_modules" / "axe-core" / "axe.min.js"
    order = {
        "site": stage.site,
        "cookies": stage.cookies,
        "scenes": [dataclasses.asdict(scene) for scene in scenes],
        "axe": str(axe),
        "folder": str(folder.absolute()) if folder else "",
        "everywhere": everywhere,
        "widths": list(widths),
    }
    command = [sys.executable, "-m", "tests.browser.look"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(order), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"The browser took {found['seconds']} s for {len(scenes)} scenes.", file=sys.stderr)
    return list(found["complaints"])
