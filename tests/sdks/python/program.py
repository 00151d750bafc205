"""What every SDK's program is: conversations come as JSON on stdin, and one line of JSON tells what came of each."""

import json
import sys
from collections.abc import Callable
from typing import Any

Case = dict[str, Any]  # id, base_url, key, model, prompt, stream, thinks; tools, image and schema where they are asked
Said = dict[str, Any]  # text, calls, usage; parsed where a schema was asked
EFFORT, BUDGET_TOKENS, MAX_TOKENS = "medium", 2000, 8000
RETRIES, NO_KEY = 0, "sk-none"


def run(converse: Callable[[Case], Said]) -> None:
    """Hold all conversations, one after the other. An exception is what the SDK says, too."""
    for case in json.load(sys.stdin):
        print(json.dumps({"id": case["id"], **_attempt(converse, case)}), flush=True)


def _attempt(converse: Callable[[Case], Said], case: Case) -> Said:
    try:
        return converse(case)
    except Exception as error:
        classes = [each.__name__ for each in type(error).__mro__]
        status, request_id = getattr(error, "status_code", None), getattr(error, "request_id", None)
        return {"error": {"classes": classes, "status": status, "message": str(error), "request_id": request_id}}


def result_of(name: str) -> str:
    """What a tool answers."""
    return f"Result of {name}"


def called(name: str, arguments: Any) -> dict[str, Any]:
    """A call as it is told, with arguments as text or read."""
    return {"name": name, "arguments": json.loads(arguments) if isinstance(arguments, str) else arguments}
