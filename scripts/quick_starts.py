"""Run the code of the docs page as it is shown, with base URL and key filled in, and print the answers.

    .venv/bin/python -m scripts.quick_starts http://127.0.0.1:8000/v1 sk-…

Python runs with the `openai` and `anthropic` packages of .venv, Node with the packages that scripts/node pins, from a
temporary folder, and curl with the system's. Ends with status 1 if a block fails, answers nothing, or costs what it
should not."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from scripts.docs_code import Block, read_blocks

NODE_FOLDER = Path(__file__).parent / "node"  # the SDKs and a Node that they run on: npm carries that as well
RUN_SECONDS = 600  # as long as the gateway waits; a real model on a small machine takes its time
INSTALL_SECONDS = 300
ANSWERS = ("choices", "content", "output")  # what holds the answer: of chat completions, Messages, Responses
# The last events of streams that are whole.
ENDS = ("data: [DONE]", "event: message_stop", "event: response.completed")
COUNTS = "input_tokens"  # what free counting answers
LABELS = "labels"  # the section whose receipts have an end user and tags


class Wrong(Exception):
    """A block of the page doesn't do what the page says."""


class Site:
    """A running gateway, and the account that pays."""

    def __init__(self, base_url: str, api_key: str):
        self.base_url, self.headers = base_url, {"Authorization": f"Bearer {api_key}"}
        self._api_key = api_key

    def read_blocks(self) -> list[Block]:
        """The code of its docs page."""
        page = fetch(self.base_url.removesuffix("/v1") + "/docs", {}).text
        return read_blocks(page, self.base_url, self._api_key)

    def ask(self, path: str) -> dict[str, Any]:
        """A GET of the API, as JSON."""
        found: dict[str, Any] = fetch(self.base_url + path, self.headers).json()
        return found

    def total_used(self) -> Decimal:
        """What the account has paid so far, in dollars."""
        return Decimal(self.ask("/credits")["total_used"])

    def check(self, block: Block, folder: Path) -> tuple[str, Decimal]:
        """Run the block there. Gives what it printed and what it cost, in dollars. Raises Wrong."""
        before = self.total_used()
        output = run_block(block, folder)
        if block.language == "curl":
            self._check_answer(block, output)
        elif block.section == LABELS and not all(word in output for word in ("customer-42", "search", "prod", "0.01")):
            raise Wrong(f"{block.name}: the receipt does not say whom the request was for: {output}")
        paid = self.total_used() - before
        if (paid <= 0) != is_free(block):
            raise Wrong(f"{block.name} cost ${paid}.")
        return output, paid

    def _check_answer(self, block: Block, output: str) -> None:
        """curl takes an error for an answer like any other."""
        if "curl -N" in block.code:
            if not any(end in output for end in ENDS):
                raise Wrong(f"{block.name}: this stream has no end: {output}")
            return
        answer = json.loads(output)
        if is_free(block):
            if answer[COUNTS] <= 0:
                raise Wrong(f"{block.name} counted nothing: {output}")
            return
        if not any(answer.get(field) for field in ANSWERS):
            raise Wrong(f"{block.name} was refused: {output}")
        receipt = self.ask(f"/requests/{answer['id']}")
        if receipt["outcome"] != "complete" or Decimal(receipt["charge"]) <= 0:
            raise Wrong(f"{block.name}: the receipt is not that of a paid answer: {receipt}")
        if (block.section == LABELS) != bool(receipt["end_user"] and receipt["tags"] and receipt["stop_at"]):
            raise Wrong(f"{block.name}: the receipt does not say whom the request was for: {receipt}")


def is_free(block: Block) -> bool:
    """Whether the block only counts tokens."""
    return "count_tokens" in block.code or "countTokens" in block.code


def run_block(block: Block, folder: Path) -> str:
    """What the block printed. Node's packages have to be in the folder. Raises Wrong."""
    if block.language == "curl":
        return _run(["bash", "-c", block.code], folder)
    name = "block.py" if block.language == "Python" else "block.mjs"
    (folder / name).write_text(block.code)
    if block.language == "Python":
        return _run([sys.executable, name], folder)
    (node,) = folder.glob("node_modules/node-*/bin/node")
    return _run([str(node), name], folder)


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
    """Run each block of the page, and print what it answered and cost. Raises Wrong."""
    site = Site(base_url, api_key)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_node(folder)
        for block in site.read_blocks():
            output, paid = site.check(block, folder)
            print(f"== {block.name}\n{output}\n-- paid: ${paid}\n", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        run_all(sys.argv[1].rstrip("/"), sys.argv[2])
    except Wrong as error:
        raise SystemExit(str(error)) from None
