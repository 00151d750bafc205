"""The SDKs that are tried, each by a program of its own, in its language and with packages that are not ours."""

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.installed import find_node, install_node, install_python

FOLDER = Path(__file__).parent
PYTHON = FOLDER / "python"
APART = FOLDER / "apart"  # packages that don't go together with those, or are many: a folder for each
RUN_SECONDS = 300  # reached only when a program hangs
OPENAI = {
    "400": "BadRequestError",
    "401": "AuthenticationError",
    "402": "APIStatusError",
    "429": "RateLimitError",
    "503": "InternalServerError",
    "cut": "APIError",
}
ANTHROPIC = {**OPENAI, "cut": "APIStatusError"}
IN_NODE = {"402": "APIError", "cut": "APIError"}  # no class between that and the statuses
AI_SDK = {**dict.fromkeys(OPENAI, "APICallError"), "cut": "StreamProviderError"}


@dataclasses.dataclass(frozen=True)
class Sdk:
    """An SDK: its program with the program's arguments, and its exceptions' classes."""

    program: str
    arguments: Sequence[str]
    errors: Mapping[str, str]

    def converse(self, cases: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, dict[str, Any]]:
        """What came of each case, by its id."""
        language = "python" if self.program.endswith(".py") else "node"
        shutil.copytree(FOLDER / language, folder, dirs_exist_ok=True)
        said = run_program(folder / self.program, self.arguments, json.dumps(cases)).splitlines()
        return {each.pop("id"): each for each in map(json.loads, said)}


SDKS = {
    "openai-python-chat": Sdk("openai_chat.py", (), OPENAI),
    "openai-python-responses": Sdk("openai_responses.py", (), {**OPENAI, "cut": "RuntimeError"}),
    "anthropic-python": Sdk("anthropic_messages.py", (), ANTHROPIC),
    "agents-responses": Sdk("agents_runner.py", ("responses",), {**OPENAI, "cut": "ModelBehaviorError"}),
    "agents-chat": Sdk("agents_runner.py", ("chat",), OPENAI),
    "langchain-responses": Sdk("langchain_models.py", ("responses",), {**OPENAI, "cut": "ValueError"}),
    "langchain-messages": Sdk("langchain_models.py", ("messages",), ANTHROPIC),
    "openai-node-chat": Sdk("openai-chat.mjs", (), {**OPENAI, **IN_NODE}),
    "openai-node-responses": Sdk("openai-responses.mjs", (), {**OPENAI, **IN_NODE, "cut": "ResponseFailed"}),
    "anthropic-node": Sdk("anthropic-messages.mjs", (), {**ANTHROPIC, **IN_NODE}),
    "ai-sdk-openai": Sdk("ai-sdk.mjs", ("openai",), AI_SDK),
    "ai-sdk-anthropic": Sdk("ai-sdk.mjs", ("anthropic",), AI_SDK),
}


def run_program(
    file: Path, arguments: Sequence[str] = (), given: str = "", *, pins: Path = PYTHON, **environment: str
) -> str:
    """What a program in Python or for Node prints, with the SDKs at hand and `given` as its input. `pins`: the folder
    that says which packages a program in Python has."""
    folder = file.parent
    if file.suffix == ".py":
        command = str(install_python(pins))
    else:
        packages = install_node(FOLDER / "node")
        (folder / "node_modules").symlink_to(packages / "node_modules")  # modules look for others where they lie
        command = str(find_node(packages))
    done = subprocess.run(
        [command, file.name, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done.stdout
