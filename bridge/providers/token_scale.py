"""Scales our own tokenizer's counts (o200k, OpenAI's) to a provider's: on the high side."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenScale:
    """`percent` is for text: this provider's tokens for a hundred of ours. The rest is what stands around the text, in
    this provider's tokens: its template, the instructions that go with tools or a schema, the marks around calls.

    Only an answer that comes without counts is measured by it. At least 95 of 100 recorded ones count no more than it
    says: docs/decisions/token-scales.md."""

    percent: int
    per_conversation: int
    per_message: int = 4
    tools: int  # once, if there are any
    per_tool: int = 4
    per_call: int  # a call in the history, with its result, or in the answer
    schema: int  # beside the schema's text
    per_answer: int

    def prompt(self, ours: int, *, messages: int, tools: int, calls: int, schema: bool) -> int:
        """A prompt whose texts are so many of our tokens."""
        around = self.per_conversation + self.per_message * messages + self.per_call * calls
        if tools:
            around += self.tools + self.per_tool * tools
        return self.text(ours) + around + (self.schema if schema else 0)

    def answer(self, ours: int, *, calls: int) -> int:
        """A whole answer whose texts, names and arguments of its calls among them, are so many of our tokens."""
        return self.text(ours) + self.per_call * calls + self.per_answer if ours else 0

    def text(self, ours: int) -> int:
        """A text of so many of our tokens, with nothing around it."""
        return -(-ours * self.percent // 100)


# By upstream id: of these pairs the first whose pattern is found in it. Unknown models are taken for the dearest.
TokenScales = tuple[tuple[str, TokenScale], ...]

_O200K = TokenScale(percent=100, per_conversation=4, tools=12, per_call=16, schema=8, per_answer=1)
_THINKING = TokenScale(percent=100, per_conversation=4, tools=100, per_call=16, schema=8, per_answer=24)
_KIMI = TokenScale(percent=110, per_conversation=28, tools=72, per_call=28, schema=16, per_answer=4)
_DEEPSEEK = TokenScale(percent=115, per_conversation=84, tools=240, per_call=52, schema=16, per_answer=4)
# no recording tells of all the others that speak OpenAI's dialect; those two are the nearest
_OPEN_WEIGHTS = TokenScale(percent=125, per_conversation=28, tools=240, per_call=52, schema=16, per_answer=4)
_CLAUDE = TokenScale(percent=130, per_conversation=36, tools=600, per_tool=24, per_call=48, schema=140, per_answer=8)
# from Opus 4.7 and Sonnet 5 on: another tokenizer, with about 30 % more tokens for the same text
_CLAUDE_5 = TokenScale(percent=180, per_conversation=36, tools=720, per_tool=24, per_call=48, schema=200, per_answer=12)
_GEMINI = TokenScale(percent=110, per_conversation=4, tools=16, per_tool=8, per_call=16, schema=8, per_answer=6)

OPEN_WEIGHTS: TokenScales = (("", _OPEN_WEIGHTS),)
OPENAI: TokenScales = (
    (r"^(ft:)?(o\d|gpt-5)", _THINKING),
    (r"^(ft:)?(gpt-|chatgpt-)(?!oss)", _O200K),
    *OPEN_WEIGHTS,
)
ANTHROPIC: TokenScales = (
    (r"claude-(\d|instant|haiku-[34]|(opus|sonnet)-4(-[0-6]|-\d{8})?(-\d{8})?$)", _CLAUDE),
    ("", _CLAUDE_5),
)
GEMINI: TokenScales = (("", _GEMINI),)
DEEPSEEK: TokenScales = (("", _DEEPSEEK),)
MOONSHOT: TokenScales = (("", _KIMI),)


def find_scale(scales: TokenScales, upstream_id: str) -> TokenScale:
    """The scale of this model."""
    return next(scale for pattern, scale in scales if re.search(pattern, upstream_id))
