#!/usr/bin/env python
"""Run the quick starts of the docs page as they are shown, with base URL and key filled in, and print the answers.

    .venv/bin/python scripts/quick_starts.py http://127.0.0.1:8000/v1 sk-…

Python runs with the `openai` package of .venv, Node with the packages that scripts/node pins, from a temporary folder,
and curl with the system's. Ends with status 1 if one of them fails, answers nothing, or costs nothing."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

NODE_FOLDER = Path(__file__).parent / "node"  # the SDK, and a Node of the major that it wants: npm carries that as well
BETWEEN = "--- streamed:"
RUN_SECONDS = 600  # as long as the gateway waits; a real model on a small machine takes its time
INSTALL_SECONDS = 300


class CodeBlocks(html.parser.HTMLParser):
    """The page's code by section and label: `blocks["quick-start", "Python"]`."""

    def __init__(self, page: str):
        super().__init__()
        self.blocks: dict[tuple[str, str], str] = {}
        self._section = ""
        self._label: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self._section = found.get("id") or ""
        elif tag == "pre":
            self._label = found.get("aria-label") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._label = None

    def handle_data(self, data: str) -> None:
        if self._label is not None:
            place = (self._section, self._label)
            self.blocks[place] = self.blocks.get(place, "") + data


def read_snippets(base_url: str, api_key: str) -> dict[str, str]:
    """The code on the site's docs page, by label, with only base URL and key changed."""
    blocks = CodeBlocks(fetch(base_url.removesuffix("/v1") + "/docs").text).blocks
    shown = {label: blocks["quick-start", label] for label in ("Python", "Node", "curl")}
    shown["streaming"] = blocks["streaming", "Python"]
    match = re.search(r'base_url="([^"]+)"', shown["Python"])
    if not match or "YOUR_API_KEY" not in shown["Python"]:
        raise SystemExit(f"The docs page of {base_url} has no quick start as we know it.")
    own = match.group(1)
    return {label: code.replace(own, base_url).replace("YOUR_API_KEY", api_key) for label, code in shown.items()}


def fetch(url: str, **headers: str) -> requests.Response:
    """A GET, past any proxy. Raises requests.HTTPError."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer


def ask(base_url: str, api_key: str, path: str) -> dict[str, Any]:
    """A GET of the API, as JSON."""
    found: dict[str, Any] = fetch(base_url + path, Authorization=f"Bearer {api_key}").json()
    return found


def run(command: list[str], folder: Path, seconds: float = RUN_SECONDS) -> str:
    """What the command printed. Raises SystemExit with all its output if it fails or prints nothing."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{' '.join(command)[:200]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def run_python(snippets: dict[str, str], folder: Path) -> str:
    """The quick start, then the streaming example, which uses its client."""
    (folder / "quick.py").write_text(f'{snippets["Python"]}\nprint("{BETWEEN}")\n{snippets["streaming"]}')
    output = run([sys.executable, "quick.py"], folder)
    whole, _, streamed = output.partition(BETWEEN)
    if not whole.strip() or not streamed.strip():
        raise SystemExit(f"Python answered in part only:\n{output}")
    return output


def run_node(snippets: dict[str, str], folder: Path) -> str:
    """The quick start as a module, by a Node that the SDK's current major accepts."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_FOLDER / name, folder)
    run(["npm", "ci", "--no-audit", "--no-fund"], folder, INSTALL_SECONDS)
    (folder / "quick.mjs").write_text(snippets["Node"])
    (node,) = folder.glob("node_modules/node-*/bin/node")
    return run([str(node), "quick.mjs"], folder)


def run_curl(snippets: dict[str, str], folder: Path, base_url: str, api_key: str) -> str:
    """The quick start, and the receipt of its answer."""
    output = run(["bash", "-c", snippets["curl"]], folder)
    answer = json.loads(output)
    if "choices" not in answer:  # curl takes an error for an answer like any other
        raise SystemExit(f"curl was refused: {output}")
    receipt = ask(base_url, api_key, f"/requests/{answer['id']}")
    if receipt["outcome"] != "complete" or Decimal(receipt["charge"]) <= 0:
        raise SystemExit(f"The receipt is not that of a paid answer: {receipt}")
    return f"{output}\nIts receipt: {json.dumps(receipt)}"


def run_all(base_url: str, api_key: str) -> None:
    """Run each quick start, print its answer, and check that the balance paid for it."""
    snippets = read_snippets(base_url, api_key)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, show in (
            ("Python", lambda: run_python(snippets, folder)),
            ("Node", lambda: run_node(snippets, folder)),
            ("curl", lambda: run_curl(snippets, folder, base_url, api_key)),
        ):
            before = Decimal(ask(base_url, api_key, "/credits")["total_used"])
            output = show()
            paid = Decimal(ask(base_url, api_key, "/credits")["total_used"]) - before
            print(f"== {label}\n{output}\n-- paid: ${paid}\n", flush=True)
            if paid <= 0:
                raise SystemExit(f"{label} was answered, and nothing was paid.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    run_all(sys.argv[1].rstrip("/"), sys.argv[2])
