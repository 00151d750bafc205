"""The guides: what a program is told so that it uses this gateway, a page for each.

One more is a line in GUIDES and its template, `templates/public/guides/{slug}.html`. Tests run the program with the
settings as its page shows them."""

import dataclasses

from bridge.errors import NotFound


@dataclasses.dataclass(frozen=True)
class Guide:
    """A page at /docs/{slug}. `summary` is a sentence; `version` is the one that tests run."""

    slug: str
    title: str
    summary: str
    version: str


GUIDES = (
    Guide("claude-code", "Claude Code", "Anthropic's coding agent, on any model of this gateway.", "2.1.332"),
    Guide("codex", "Codex", "OpenAI's coding agent, on any model of this gateway.", "0.171.0"),
    Guide("opencode", "opencode", "The open coding agent, by any of this gateway's three APIs.", "1.18.33"),
    Guide("cline", "Cline", "The coding agent for editors and terminals, on any model of this gateway.", "3.0.65"),
    Guide("qwen-code", "Qwen Code", "Qwen's coding agent, on any model of this gateway.", "0.24.4"),
    Guide("aider", "aider", "The pair programmer for terminals, on any model of this gateway.", "0.86.2"),
    Guide("agents-sdk", "Agents SDK", "OpenAI's SDK for agents in Python, on any model of this gateway.", "0.24.0"),
    Guide("ai-sdk", "AI SDK", "Vercel's SDK for JavaScript, on any model of this gateway.", "7.0.173"),
)


def find_guide(slug: str) -> Guide:
    """Raises NotFound."""
    for guide in GUIDES:
        if guide.slug == slug:
            return guide
    raise NotFound("There is no such guide.")
