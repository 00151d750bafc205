"""Pages are written as a native editor would write them: what once sounded translated, or like an advertisement, stays
gone. Each entry has what to write instead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("accounts", "admin", "dashboard", "payments")  # whose strings people read
INSTEAD = {
    # an advertisement, an apology
    r"\boops\b": "This request never reached a model. You were not charged.",
    r"\bplease\b": "the verb alone",
    r"\b(seamless|powerful|simply|unlock)\b": "what it does",
    r"\bsuccessfully\b": "Key worker-prod is ready.",
    r"\bare you sure\b": "Revoke worker-prod? Programs that use it are refused within a second.",
    r"\binsufficient funds\b": "what it can cost, what is available, and how to get there",
    r"\bno data\b": "No requests in these 7 days.",
    # habits: who does what, in that order
    r"\bwhoever\b": "who it is",
    r"\banew\b": "again",
    r"\bof theirs\b": "their",
    r"(?<!is )\bempty: ": "Leave empty for …",
    r"\bswitch(ed)? (on|off)\b": "turn on, turn off",
    r"\bgone for good\b": "permanent",
    r"\bdo not go together\b": "Email or password is wrong.",
    r"\btakes no newcomers\b": "Sign-up is closed.",
    r"\bnot told any more\b": "You will no longer get …",
    r"\bmoney has come in\b": "No payments yet.",
    r"\bnothing was made\b": "No codes were created.",
    r"\bkept sealed\b": "Encrypted.",
    r"\blowest first\b": "Lower numbers are tried first",
    r"\bshare among equals\b": "Share of traffic among channels with the same priority",
    r"\bis given back\b": "is refunded",
    r"\ba line\. empty\b": "one a line. Leave empty for …",
    r"\bstripe's word\b": "Waiting for Stripe to confirm.",
    r"\btakes its time\b": "is still processing",
    r"\bgoes by it\b": "The new limits apply from the next request.",
    # spelling
    r"\be-mails?\b": "email",
    r"\bmark-ups?\b": "markup",
    r"\bset-up\b": "setup",
    r"\bsignin\b": "sign-in",
}
WRONG = re.compile("|".join(f"(?:{pattern})" for pattern in INSTEAD), re.IGNORECASE)


def read_template(text: str) -> str:
    """What a person may read of a template: no comment, no code, no name of an attribute or a variable."""
    text = re.sub(r"\{#.*?#\}", " ", text, flags=re.DOTALL)
    text = re.sub(r"<(code|pre|script)\b.*?</\1>", " ", text, flags=re.DOTALL)
    text = re.sub(r'\b(class|href|id|name|for|data-[\w-]+|action|type|value)="[^"]*"', " ", text)
    return re.sub(r"\s+", " ", text)


def list_strings(path: Path) -> Iterator[str]:
    """A file's strings of several words, without its docstrings."""
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    said = {ast.get_docstring(node, clean=False) for node in nodes}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if " " in text.strip() and text not in said:
            yield text


def find_wrong(text: str) -> list[str]:
    return [text[max(0, found.start() - 30) : found.end() + 20].strip() for found in WRONG.finditer(text)]


def test_pages_are_written_in_plain_english():
    wrong = []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        wrong += [f"{path.relative_to(ROOT)}: {found}" for found in find_wrong(read_template(path.read_text()))]
    for room in PAGES:
        for path in sorted((ROOT / "bridge" / room).rglob("*.py")):
            texts = [found for text in list_strings(path) for found in find_wrong(text)]
            wrong += [f"{path.relative_to(ROOT)}: {found}" for found in texts]
    assert not wrong, "see INSTEAD for what to write"


def test_a_translated_phrase_is_found_and_code_is_not():
    page = (
        '<p class="switch off">Whoever\n runs it</p>{# whoever #}<code>please</code><p title="Empty: never.">Fine</p>'
    )
    found = " ".join(find_wrong(read_template(page))).lower()
    assert "whoever" in found
    assert "empty: " in found
    assert "please" not in found
    assert "switch off" not in found
