"""The code that pages show: the quick start and the examples with this site's base URL, highlighted on the server."""

import dataclasses
import functools
import itertools
import string
from pathlib import Path

from flask import current_app
from markupsafe import Markup, escape
from pygments.lexers import get_lexer_by_name
from pygments.token import Keyword, Operator, String

from bridge.config import Settings
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES

DOCUMENTED_MODEL = "gpt-4o"
NO_KEY = "YOUR_API_KEY"  # in the place of a key, where there is none to show
# The examples of the docs page: a file for each language, with $url, $site and $key to be filled in.
EXAMPLES = Path(__file__).parents[2] / "templates" / "public" / "docs" / "code"
LANGUAGES = (("Python", "python", ".py"), ("Node", "javascript", ".mjs"), ("curl", "bash", ".sh"))
SHOWN_LANGUAGES = ("python", "javascript", "bash", "json", "toml", "yaml", "http", "text")
PYTHON = """\
${imports}import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
$call
"""
NODE = """\
${imports}import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
$call
"""
CURL = """\
curl $url$path \\
  -H "Authorization: Bearer $key" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"$model",$body}'
"""
# A kind's call in Python and in Node, what else they import, and its path and the rest of its body for curl.
CALLS: dict[str, dict[str, str]] = {
    CHAT: {
        "Python": """\
response = client.chat.completions.create(
    model="$model",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(response.choices[0].message.content)""",
        "Node": """\
const response = await client.chat.completions.create({
  model: '$model',
  messages: [{ role: 'user', content: 'Hello!' }],
})
console.log(response.choices[0].message.content)""",
        "path": "/chat/completions",
        "body": '"messages":[{"role":"user","content":"Hello!"}]',
    },
    EMBEDDINGS: {
        "Python": """\
answer = client.embeddings.create(
    model="$model",
    input="A harbour at night",
)
print(answer.data[0].embedding[:3])""",
        "Node": """\
const answer = await client.embeddings.create({
  model: '$model',
  input: 'A harbour at night',
})
console.log(answer.data[0].embedding.slice(0, 3))""",
        "path": "/embeddings",
        "body": '"input":"A harbour at night"',
    },
    COMPLETIONS: {
        "Python": """\
answer = client.completions.create(
    model="$model",
    prompt="A harbour at night is",
    max_tokens=64,
)
print(answer.choices[0].text)""",
        "Node": """\
const answer = await client.completions.create({
  model: '$model',
  prompt: 'A harbour at night is',
  max_tokens: 64,
})
console.log(answer.choices[0].text)""",
        "path": "/completions",
        "body": '"prompt":"A harbour at night is","max_tokens":64',
    },
    IMAGES: {
        "Python imports": "import base64\n\n",
        "Python": """\
answer = client.images.generate(
    model="$model",
    prompt="A harbour at night",
)
with open("harbour.png", "wb") as file:
    file.write(base64.b64decode(answer.data[0].b64_json))""",
        "Node imports": "import { writeFileSync } from 'node:fs'\n",
        "Node": """\
const answer = await client.images.generate({
  model: '$model',
  prompt: 'A harbour at night',
})
writeFileSync('harbour.png', Buffer.from(answer.data[0].b64_json, 'base64'))""",
        "path": "/images/generations",
        "body": '"prompt":"A harbour at night"',
    },
}


@dataclasses.dataclass(frozen=True)
class Snippet:
    """One tab of a code block: its label, the code as plain text, and as HTML."""

    label: str
    code: str
    html: Markup


def site_url() -> str:
    """This site's own address from the settings, without a trailing slash."""
    settings: Settings = current_app.config["BRIDGE"]
    return settings.site_url


def base_url() -> str:
    """What a client sets as its base URL."""
    return site_url() + "/v1"


def load_lexers() -> None:
    """Compile what highlights the pages' languages: 100 ms for the largest."""
    for language in SHOWN_LANGUAGES:
        get_lexer_by_name(language)


def highlight(code: str, language: str, mark: str = "") -> Markup:
    """Code as HTML: only keywords and strings have a colour. The line with `mark` is the changed one."""
    html, line = Markup(), Markup()
    for style, run in itertools.groupby(
        get_lexer_by_name(language).get_tokens(code), key=lambda token: _style(token[0])
    ):
        for text in "".join(text for _, text in run).splitlines(keepends=True):
            line += Markup('<span class="{}">{}</span>').format(style, text) if style else escape(text)
            if text.endswith("\n"):
                html += Markup('<span class="line">{}</span>').format(line) if mark and escape(mark) in line else line
                line = Markup()
    return html + line


def _style(kind: object) -> str:
    if kind in Keyword or kind is Operator.Word:
        return "k"
    return "s" if kind in String and kind is not String.Escape else ""


def quick_start(key: str = NO_KEY, model: str = DOCUMENTED_MODEL, kind: str = CHAT) -> list[Snippet]:
    """A first request of this kind in Python, Node and curl, with this host's base URL, this key and model."""
    url, calls = base_url(), CALLS[kind]
    snippets = []
    for label, language, template in (
        ("Python", "python", PYTHON),
        ("Node", "javascript", NODE),
        ("curl", "bash", CURL),
    ):
        more = {"imports": calls.get(f"{label} imports", ""), "path": calls["path"], "body": calls["body"]}
        call = string.Template(calls.get(label, "")).substitute(model=model)
        code = string.Template(template).substitute(key=key, url=url, model=model, call=call, **more)
        snippets.append(Snippet(label, code, highlight(code, language, url)))
    return snippets


def list_examples() -> dict[str, list[Snippet]]:
    """The examples of the docs page with this host's address, by their names; each in the languages that it has."""
    return _fill_in_examples(site_url())


@functools.lru_cache(maxsize=4)
def _fill_in_examples(site: str) -> dict[str, list[Snippet]]:
    found: dict[str, list[Snippet]] = {}
    for label, language, suffix in LANGUAGES:
        for path in sorted(EXAMPLES.glob(f"*{suffix}")):
            code = string.Template(path.read_text()).substitute(key=NO_KEY, site=site, url=f"{site}/v1")
            found.setdefault(path.stem, []).append(Snippet(label, code, highlight(code, language)))
    return found
