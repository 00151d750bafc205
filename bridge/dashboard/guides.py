"""The guides: what a program is told so that it uses this gateway, a page for each.

One more is a line in GUIDES and its template, `templates/public/guides/{slug}.html`. Tests run the
programs with the settings as their pages show them, but for Open WebUI, which is too large, and Cursor, which is
closed."""

import dataclasses

from bridge.languages import to_translate


@dataclasses.dataclass(frozen=True)
class Guide:
    """A page at /docs/{slug}. `summary` is a sentence; `version` is the one that was tried, "" for a program that can't
    be."""

    slug: str
    title: str
    summary: str
    version: str


GUIDES = (
    Guide(
        "claude-code", "Claude Code", to_translate("Anthropic's coding agent, on any model of this gateway."), "2.1.332"
    ),
    Guide("codex", "Codex", to_translate("OpenAI's coding agent, on any model of this gateway."), "0.171.0"),
    Guide(
        "opencode", "opencode", to_translate("The open coding agent, by any of this gateway's three APIs."), "1.18.33"
    ),
    Guide(
        "cline",
        "Cline",
        to_translate("The coding agent for editors and terminals, on any model of this gateway."),
        "3.0.65",
    ),
    Guide("qwen-code", "Qwen Code", to_translate("Qwen's coding agent, on any model of this gateway."), "0.24.4"),
    Guide("aider", "aider", to_translate("The pair programmer for terminals, on any model of this gateway."), "0.86.2"),
    Guide(
        "continue", "Continue", to_translate("The open coding agent for editors and terminals, on any model."), "1.5.47"
    ),
    Guide(
        "agents-sdk",
        "Agents SDK",
        to_translate("OpenAI's SDK for agents in Python, on any model of this gateway."),
        "0.24.0",
    ),
    Guide("ai-sdk", "AI SDK", to_translate("Vercel's SDK for JavaScript, on any model of this gateway."), "7.0.173"),
    Guide("langchain", "LangChain", to_translate("The framework in Python, on any model of this gateway."), "1.7.4"),
    Guide(
        "llama-index",
        "LlamaIndex",
        to_translate("Agents, and answers from documents, on any model of this gateway."),
        "0.14.25",
    ),
    Guide("litellm", "LiteLLM", to_translate("One function for every model, by this gateway."), "1.110.2"),
    Guide(
        "open-webui", "Open WebUI", to_translate("Chats, knowledge and pictures in the browser, for a team."), "0.12.4"
    ),
    Guide("cursor", "Cursor", to_translate("The editor, whose chat takes other models than its own."), ""),
)
