"""Where a model of Gemini's answers."""

from urllib.parse import quote

from bridge.providers.base import AttemptFailed, Blame


def write_path(upstream_id: str, method: str) -> str:
    """The path of one of a model's methods. Raises AttemptFailed (SETUP) for an id that would lead elsewhere."""
    model = upstream_id.removeprefix("models/")  # as Google's own list has it
    if not model or "/" in model or ".." in model:
        raise AttemptFailed(Blame.SETUP, "the upstream's model id is no id of Gemini's")
    return f"/v1beta/models/{quote(model, safe='')}:{method}"
