"""Counts a prompt and what was delivered of its answer ourselves, for answers that come without their provider's
counts."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gevent.threadpool import ThreadPool

from bridge.conversation.prompt import Prompt
from bridge.conversation.request import Request
from bridge.conversation.usage import Usage
from bridge.providers.token_scale import TokenScale

if TYPE_CHECKING:
    import tiktoken

VOCABULARY = Path(__file__).parent.parent / "data"
PIECE_CHARACTERS = 20_000  # the tokenizer takes long, or breaks, over very long runs of one character
QUICK_CHARACTERS = 2_000  # which take less than a millisecond
MOST_CHARACTERS_PER_TOKEN = 128  # of the vocabulary's longest


def count_answer(
    text: Sequence[str],
    request: Request,
    most_prompt_tokens: int,
    scale: TokenScale,
    sent: int = 1,
    ended: bool = True,
) -> Usage:
    """The usage of an answer of which this text was delivered, on the scale of the provider that gave it, the prompt
    as often as it was sent.

    On the high side, if the answer came to its end; otherwise its texts alone and no scale, so that leaving costs no
    more than staying. Never more than prompt and text can be: a token is at least a byte."""
    prompt, said = request.read_prompt(), "".join(text)
    in_tokens, out_tokens = _counting_pool().apply(_count_both, (prompt.texts, said))
    if ended:
        in_tokens = scale_prompt(prompt, in_tokens, scale)
        out_tokens = scale.answer(out_tokens, calls=count_calls(text, prompt))
    else:
        in_tokens += prompt.tokens
    return Usage(min(in_tokens, most_prompt_tokens) * sent, min(out_tokens, _count_bytes(said)))


def count_pieces(pieces: Sequence[str]) -> int:
    """Count some pieces of an answer ourselves, without any scale."""
    said = "".join(pieces)
    return min(_counting_pool().apply(count_text, (said,)), _count_bytes(said)) if said else 0


def _count_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def count_prompt(request: Request, scale: TokenScale) -> int:
    """Our own count of a prompt's text on a provider's scale, on the high side. It takes some 15 ms for 128 KiB, in a
    thread: ask only where the bound doesn't do."""
    prompt = request.read_prompt()
    ours, _ = _counting_pool().apply(_count_both, (prompt.texts, ""))
    return scale_prompt(prompt, ours, scale)


def scale_prompt(prompt: Prompt, ours: int, scale: TokenScale) -> int:
    """The provider's count of a prompt whose texts are so many of our tokens."""
    if prompt.bare:
        return prompt.tokens + scale.text(ours)
    return prompt.tokens + scale.prompt(
        ours, messages=prompt.messages, tools=prompt.tools, calls=prompt.calls, schema=prompt.schema
    )


def count_calls(text: Sequence[str], prompt: Prompt) -> int:
    """How many calls an answer holds: readers give each call's name as a piece of its own."""
    names = prompt.functions
    return sum(piece in names for piece in text) if names else 0


@functools.cache
def _counting_pool() -> ThreadPool:
    """A thread for counting alone: it must not keep a commit of the ledger waiting. Made on first use, in a worker."""
    return ThreadPool(1)


def _count_both(prompt: list[str], completion: str) -> tuple[int, int]:
    return sum(count_text(text) for text in prompt), count_text(completion)


@functools.cache
def load_vocabulary() -> "tiktoken.Encoding":
    """OpenAI's o200k vocabulary, which ships with us: nothing is fetched. It takes a quarter of a second and 77 MiB,
    which workers share that are forked afterwards; commands never need it."""
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(VOCABULARY))
    import tiktoken

    return tiktoken.get_encoding("o200k_base")


def count_text(text: str) -> int:
    """Tokens of OpenAI's o200k vocabulary. Counted in pieces, of which each may add one."""
    encoding = load_vocabulary()
    pieces = (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
    return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)


def count_tokens(text: str) -> int:
    """Count them beside the event loop where it would take long."""
    return count_text(text) if len(text) < QUICK_CHARACTERS else _counting_pool().apply(count_text, (text,))


def cut_text(text: str, most_tokens: int) -> str:
    """The beginning of a text, of at most so many tokens."""
    encoding = load_vocabulary()
    tokens = encoding.encode_ordinary(text[: most_tokens * MOST_CHARACTERS_PER_TOKEN])[:most_tokens]
    return encoding.decode(tokens).rstrip("\ufffd")  # of a character that was cut in two
