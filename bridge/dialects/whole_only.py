"""What dialects share whose answers are never streamed."""

from collections.abc import Iterable
from typing import ClassVar, NoReturn

from bridge.conversation.answer import Chunks, TokenCounter
from bridge.conversation.usage import Usage
from bridge.errors import BridgeError


class WholeOnly:
    """The part of an AnswerWriter that streams need. Nobody asks for it."""

    chunks: ClassVar[Chunks | None] = None

    def choice(self, index: int) -> NoReturn:
        """See Listener."""
        raise NotImplementedError

    def tail(self, usage: Usage, cost: str) -> bytes:
        """See AnswerWriter."""
        raise NotImplementedError

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """See AnswerWriter."""
        raise NotImplementedError

    def list_unwritten(self) -> Iterable[str]:
        """See AnswerWriter."""
        raise NotImplementedError

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """See AnswerWriter."""
        raise NotImplementedError
