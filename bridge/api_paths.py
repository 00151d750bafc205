"""Recognises API requests whatever base URL a client has: without /v1, with it twice, with a slash too many."""

import re
from collections.abc import Mapping
from typing import Any

SLASHES = re.compile(r"/{2,}")
VERSIONS = re.compile(r"^(?:/v1)+(?=/|$)")
# endpoints whose names no page shares
NAMES = re.compile(
    r"^/(chat/completions|completions|embeddings|messages(/count_tokens)?|responses(/input_tokens)?|images/\w+|audio/\w+)$"
)
# names that are pages too: a program gets the API's
SHARED = re.compile(r"^/(models(/.+)?|dashboard/billing/(subscription|usage))$")


def find_api_path(environ: Mapping[str, Any]) -> str | None:
    """The API path of a request, or None if the request is for a page."""
    path: str = environ["PATH_INFO"]
    if "//" in path:
        path = SLASHES.sub("/", path)
    if VERSIONS.match(path):
        return VERSIONS.sub("/v1", path)
    if path == "/openapi.json":
        return path
    if NAMES.match(path.rstrip("/")) or (SHARED.match(path.rstrip("/")) and comes_from_program(environ)):
        return f"/v1{path}"
    return None


def comes_from_program(environ: Mapping[str, Any]) -> bool:
    """Whether the request comes from a program: it has a key, or wants JSON and no page."""
    accepted = environ.get("HTTP_ACCEPT", "")
    has_key = environ.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer " or "HTTP_X_API_KEY" in environ
    return has_key or "HTTP_API_KEY" in environ or ("json" in accepted and "text/html" not in accepted)
