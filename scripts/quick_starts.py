"""Run the code of the docs as it is shown, with base URL and key filled in, and print the answers.

    .venv/bin/python -m scripts.quick_starts http://127.0.0.1:8000/v1 sk-…

Python runs with the `openai` and `anthropic` packages of .venv, Node with the packages that scripts/node pins, from a
temporary folder, and curl with the system's. Ends with status 1 if a block fails, answers nothing, or costs what it
should not."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from scripts.docs_code import LANGUAGES, Block, find_shown_site, list_blocks, list_pages

NODE_FOLDER = Path(__file__).parent / "node"  # the SDKs and a Node that they run on: npm carries that as well
RUN_SECONDS = 600  # as long as the gateway waits; a real model on a small machine takes its time
INSTALL_SECONDS = 300
ANSWERS = ("choices", "content", "output", "data")  # what holds it: of chat, Messages, Responses, embeddings
# The last events of streams that are whole.
ENDS = ("data: [DONE]", "event: message_stop", "event: response.completed")
FREE = ("messages-count", "quote", "account", "models", "errors")  # the examples that cost nothing
RESUMED = "resume"  # the one whose streams are read on, behind their second event
LABELS = ("labels", "labels-messages")  # those whose receipts have an end user and tags
# What an example has to print, in every language.
SAID = {"errors": "model_not_found", "receipt": "completion"}
# Files that readers have of their own.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
FILES = {"chart.png": PIXEL, "invoice.pdf": b"%PDF-1.4\n%%EOF\n"}
# Run each block by itself in one process, and print what it printed and how it failed: importing an SDK takes seconds.
RUN_PYTHON = """
import contextlib, io, json, runpy, sys, traceback
for name in sys.argv[1:]:
    printed, failure = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(name, run_name="__main__")
        except Exception:
            failure = traceback.format_exc()
    print(json.dumps([printed.getvalue(), failure]), flush=True)
"""
RUN_NODE = """
import { resolve } from 'node:path'
const write = process.stdout.write.bind(process.stdout)
for (const name of process.argv.slice(2)) {
  let printed = '', failure = ''
  process.stdout.write = (text) => { printed += text; return true }
  try { await import(resolve(name)) } catch (error) { failure = String(error?.stack ?? error) }
  process.stdout.write = write
  write(JSON.stringify([printed, failure]) + '\\n')
}
"""


class Wrong(Exception):
    """A block of the docs doesn't do what they say."""


class Site:
    """A running gateway, and the account that pays."""

    def __init__(self, base_url: str, api_key: str):
        self.base_url, self.headers = base_url, {"Authorization": f"Bearer {api_key}"}
        self.api_key = api_key

    def ask(self, path: str) -> dict[str, Any]:
        """A GET of the API, as JSON."""
        found: dict[str, Any] = fetch(self.base_url + path, self.headers).json()
        return found

    def total_used(self) -> Decimal:
        """What the account has paid so far, in dollars."""
        return Decimal(self.ask("/credits")["total_used"])

    def check(self, block: Block, output: str, before: Decimal = Decimal(0)) -> Decimal:
        """Whether a block that ran printed what it should. Gives what it cost, in dollars, for an account that had paid
        so much before. Raises Wrong."""
        if block.language == "curl":
            self._check_answer(block, output)
        elif block.example in LABELS and not all(word in output for word in ("customer-42", "search", "prod", "0.01")):
            raise Wrong(f"{block.name}: the receipt does not say whom the request was for: {output}")
        if SAID.get(block.example, "") not in output:
            raise Wrong(f"{block.name} does not print {SAID[block.example]}: {output}")
        if block.example == RESUMED:
            _check_resumed(block, output)
        paid = self.total_used() - before
        if (paid <= 0) != (block.example in FREE):
            raise Wrong(f"{block.name} cost ${paid}.")
        return paid

    def _check_answer(self, block: Block, output: str) -> None:
        """curl takes an error for an answer like any other."""
        if "curl -N" in block.code:
            if not any(end in output for end in ENDS):
                raise Wrong(f"{block.name}: this stream has no end: {output}")
            return
        answer = _read_answer(block, output)
        if answer.get("error") and block.example != "errors":
            raise Wrong(f"{block.name} was refused: {output}")
        if block.example in FREE:
            return
        if not any(answer.get(field) for field in (*ANSWERS, "charge")):
            raise Wrong(f"{block.name} answered nothing: {output}")
        receipt = self.ask(f"/requests/{answer['id']}")
        if receipt["outcome"] != "complete" or Decimal(receipt["charge"]) <= 0:
            raise Wrong(f"{block.name}: the receipt is not that of a paid answer: {receipt}")
        if (block.example in LABELS) != bool(receipt["end_user"] and receipt["tags"] and receipt["stop_at"]):
            raise Wrong(f"{block.name}: the receipt does not say whom the request was for: {receipt}")


def _read_answer(block: Block, output: str) -> dict[str, Any]:
    """The last of the JSON objects that curl printed."""
    try:
        last = json.loads(f"[{output.replace('}{', '},{')}]")[-1]
    except (ValueError, IndexError):
        raise Wrong(f"{block.name}: this is no answer: {output}") from None
    answer: dict[str, Any] = last
    return answer


def _check_resumed(block: Block, output: str) -> None:
    """A stream that is read on says every word once, and curl shows the events behind the second one again."""
    numbers = [int(line[4:]) for line in output.splitlines() if line.startswith("id: ")]
    last = max(numbers, default=0)
    if block.language == "curl" and numbers != [*range(1, last + 1), *range(3, last + 1)]:
        raise Wrong(f"{block.name}: these are not the events from the third on: {output}")


def read_blocks(base_url: str) -> tuple[str, list[Block]]:
    """The site's address as its docs show it, and the code of all their pages in one of LANGUAGES."""
    site = base_url.removesuffix("/v1")
    home = fetch(f"{site}/docs").text
    pages = {"/docs": home} | {path: fetch(site + path).text for path in list_pages(home)}
    blocks = [block for path, page in pages.items() for block in list_blocks(page, path)]
    return find_shown_site(home), [block for block in blocks if block.language in LANGUAGES]


def run_blocks(blocks: Sequence[Block], folder: Path) -> list[str]:
    """What each of these blocks printed, all of one language: one process runs them. Node's packages have to be in the
    folder. Raises Wrong for one that fails or prints nothing."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    if blocks[0].language == "curl":
        return [_run(["bash", "-c", block.code], folder) for block in blocks]
    suffix = ".py" if blocks[0].language == "Python" else ".mjs"
    names = [f"block_{place}{suffix}" for place in range(len(blocks))]
    for name, block in zip(names, blocks, strict=True):
        (folder / name).write_text(block.code)
    (folder / f"run{suffix}").write_text(RUN_PYTHON if suffix == ".py" else RUN_NODE)
    program = sys.executable if suffix == ".py" else str(next(folder.glob("node_modules/node-*/bin/node")))
    outputs = []
    for block, line in zip(blocks, _run([program, f"run{suffix}", *names], folder).splitlines(), strict=True):
        output, failure = json.loads(line)
        if failure or not output.strip():
            raise Wrong(f"{block.name} failed:\n{output}{failure}")
        outputs.append(output.strip())
    return outputs


def install_node(folder: Path) -> None:
    """The SDKs and the Node that scripts/node pins. Raises Wrong."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_FOLDER / name, folder)
    _run(["npm", "ci", "--no-audit", "--no-fund"], folder, INSTALL_SECONDS)


def fetch(url: str, headers: dict[str, str] | None = None) -> requests.Response:
    """A GET, past any proxy. Raises requests.HTTPError."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer


def _run(command: list[str], folder: Path, seconds: float = RUN_SECONDS) -> str:
    """What the command printed. Raises Wrong with all its output if it fails or prints nothing."""
    theirs = ("OPENAI_", "ANTHROPIC_")  # a developer's own would change what the SDKs do
    environ = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise Wrong(f"{' '.join(command)[:200]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def run_all(base_url: str, api_key: str) -> None:
    """Run each block of the docs, one after the other, and print what it answered and cost. Raises Wrong."""
    site = Site(base_url, api_key)
    shown, blocks = read_blocks(base_url)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_node(folder)
        for block in blocks:
            before = site.total_used()
            [output] = run_blocks([block.fill_in(shown, base_url.removesuffix("/v1"), api_key)], folder)
            paid = site.check(block, output, before)
            print(f"== {block.name}\n{output}\n-- paid: ${paid}\n", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        run_all(sys.argv[1].rstrip("/"), sys.argv[2])
    except Wrong as error:
        raise SystemExit(str(error)) from None
