"""Anthropic's trials that a client may ask for by `anthropic-beta`: those that change neither host, state nor price. An
unknown one would be refused for the whole request, or turn on what nobody has a price for."""

import re

HEADER = "anthropic-beta"
# Without the date at their end, which changes with each version.
KNOWN = frozenset(
    {"claude-code", "interleaved-thinking", "redact-thinking", "thinking-token-count", "context-management"}
    | {"prompt-caching", "prompt-caching-scope", "extended-cache-ttl", "mid-conversation-system", "effort"}
    | {"structured-outputs", "fine-grained-tool-streaming", "token-efficient-tools", "computer-use", "pdfs"}
    | {"advanced-tool-use", "output-128k"}
)
_DATED = re.compile(r"([a-z0-9-]{1,48}?)-(20\d{6}|20\d\d-\d\d-\d\d)", re.ASCII)


def pick_betas(asked: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Those that go on, and the others."""
    taken: list[str] = []
    left: list[str] = []
    for beta in dict.fromkeys(asked):
        found = _DATED.fullmatch(beta)
        (taken if found and found.group(1) in KNOWN else left).append(beta)
    return taken, left
