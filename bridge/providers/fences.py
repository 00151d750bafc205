"""Takes the Markdown fence off JSON: models wrap it in one even where they were told not to."""

import re

_FENCE = re.compile(r"\s*```[a-zA-Z]*[ \t]*\r?\n")
_MAYBE_FENCE = re.compile(r"\s*(`{1,2}|```[a-zA-Z]{0,16}[ \t]{0,8}\r?)?")  # what may still become one
_CLOSING = re.compile(r"\s*```\s*")
_MAYBE_CLOSING = re.compile(r"\s*(`{1,2}|```\s*)?\Z")
MAX_HELD = 64  # characters; more blanks than that are no fence's


class FenceStripper:
    """Text that comes in pieces, without the fence around it. Holds back only what may belong to one."""

    def __init__(self) -> None:
        self._held = ""
        self._fenced: bool | None = None  # None until its beginning is known

    def feed(self, text: str) -> str:
        """What may go on of all that came so far."""
        text = self._held + text
        self._held = ""
        if self._fenced is None:
            opening = _FENCE.match(text)
            if opening:
                self._fenced, text = True, text[opening.end() :]
            elif len(text) <= MAX_HELD and _MAYBE_FENCE.fullmatch(text):
                self._held = text
                return ""
            else:
                self._fenced = False
        if not self._fenced:
            return text
        ending = _MAYBE_CLOSING.search(text, max(0, len(text) - MAX_HELD))
        if ending and ending.group():
            self._held, text = text[ending.start() :], text[: ending.start()]
        return text

    def finish(self) -> str:
        """What was held back, but for the closing fence."""
        held, self._held = self._held, ""
        return "" if self._fenced and _CLOSING.fullmatch(held) else held


def strip_fence(text: str) -> str:
    """The same for a whole text."""
    stripper = FenceStripper()
    return stripper.feed(text) + stripper.finish()
