"""A request for plain completions: texts, or tokens in their place, that are each to be gone on with."""

from collections.abc import Sequence
from typing import ClassVar

from bridge.conversation import kinds
from bridge.conversation.prompt import Input, Prompt, read_texts
from bridge.conversation.request import Request


class CompletionRequest(Request, frozen=True, kw_only=True, gc=False):
    """`choices` are those of all prompts together, in the order of the prompts; `tries` are what the upstream writes
    for each prompt, of which it gives back the best. `echo`: each text begins with its prompt."""

    kind: ClassVar[str] = kinds.COMPLETIONS
    prompts: Sequence[Input]
    tries: int = 1
    suffix: str = ""
    echo: bool = False

    def read_prompt(self) -> Prompt:
        """The prompts, each with the suffix that it is to lead to; tokens count as they are."""
        texts = [self.suffix] * len(self.prompts) if self.suffix else []
        return read_texts([*self.prompts, *texts])

    def read_opening(self, most_characters: int) -> str:
        """How the first prompt begins, which a provider's cache may know."""
        first = self.prompts[0]
        return first[:most_characters] if isinstance(first, str) else repr(first[:most_characters])
