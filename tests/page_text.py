"""Pages as a browser reads them: without line breaks and indentation that nobody sees.

Templates have one element per line. A test that looks for markup in a page must not depend on that."""

import re

_BLOCKS = (
    r"html|head|meta|link|title|body|main|nav|header|footer|section|article|aside|div|p|h\d|[uod]l|li|d[td]|table|"
    r"thead|tbody|tfoot|tr|t[hd]|caption|form|fieldset|legend|label|input|select|option|textarea|button|progress|"
    r"details|summary|dialog|pre|svg|path|rect|text|hr|br|script"
)
_TAG = r"<(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>"
_KEPT = re.compile(r"<(pre|textarea|script)\b.*?</\1>", re.DOTALL)
_BESIDE_BLOCK = re.compile(rf"\s*(</?(?:{_BLOCKS})\b(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>)\s*")
_ATTRIBUTE = re.compile(r"\"[^\"]*\"|'[^']*'|\s+")


def as_read(html: str) -> str:
    """The same page without invisible space; code and scripts stay unchanged."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"<pre kept{len(kept) - 1}>"

    html = re.sub(_TAG, _tighten, _KEPT.sub(keep, html))
    html = re.sub(r"\s*\n\s*", " ", _BESIDE_BLOCK.sub(r"\1", html))
    html = html.replace("</tr>", "</tr>\n")  # the last word of a row doesn't run into the next one's first
    return re.sub(r"<pre kept(\d+)>", lambda found: re.sub(_TAG, _tighten, kept[int(found[1])], count=1), html)


def _tighten(tag: re.Match[str]) -> str:
    """One space between attributes, none behind the last."""
    inside = _ATTRIBUTE.sub(lambda part: " " if part[0].isspace() else part[0], tag[0][:-1])
    return f"{inside.rstrip()}>"
