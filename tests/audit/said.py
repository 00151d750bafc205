"""The words of the audit's prompts and answers: each is exactly one token, with and without a space before it, so
counting words counts tokens."""

from typing import NamedTuple

WORDS = [
    "able",
    "area",
    "baby",
    "back",
    "ball",
    "band",
    "bank",
    "base",
    "beat",
    "best",
    "bird",
    "blue",
    "board",
    "boat",
    "body",
    "book",
    "born",
    "call",
    "card",
    "care",
    "case",
    "cell",
    "chair",
    "city",
    "class",
    "coal",
    "dark",
    "code",
    "cold",
    "cook",
    "copy",
    "cost",
]  # noqa: SIM905 - as a list it would be a page
TAG_WORDS = 5
AROUND_A_PROMPT = 8  # what gpt-4o's own template adds to one message: the scale that our own count uses
INPUT_PRICE, OUTPUT_PRICE = 333_333_333, 1_777_777_777  # nano-dollars per million tokens: hardly a sum comes out even
WINDOW_TOKENS = 32_768


class Scale(NamedTuple):
    """How our own tokens become those of a provider that didn't count: so many for a hundred of a text, what stands
    around a prompt of one message, and around an answer. The audit's own copy of what docs/decisions/token-scales.md
    says of the models that it asks for."""

    percent: int
    around_prompt: int
    around_answer: int

    def count(self, prompt_words: int, words: int, answer_bytes: int) -> tuple[int, int]:
        """Prompt and completion. No answer has more tokens than bytes, which tells of one or two words."""
        completion = min(self._scale(words) + self.around_answer, answer_bytes)
        return self._scale(prompt_words) + self.around_prompt, completion

    def _scale(self, words: int) -> int:
        return -(-words * self.percent // 100)


def price(prompt_tokens: int, completion_tokens: int) -> int:
    """Nano-dollars, rounded up once. The audit's own arithmetic: it asks nothing of what it examines."""
    return -(-(prompt_tokens * INPUT_PRICE + completion_tokens * OUTPUT_PRICE) // 1_000_000)


def write_prompt(number: int, more_words: int) -> str:
    """A prompt that names a request, with further words."""
    digits = [number // len(WORDS) ** place % len(WORDS) for place in range(TAG_WORDS)]
    return " ".join(WORDS[digit % len(WORDS)] for digit in [*digits, *range(more_words)])


def read_tag(prompt: str) -> int:
    """The number of the request whose prompt this is."""
    digits = [WORDS.index(word) for word in prompt.split()[:TAG_WORDS]]
    return sum(digit * len(WORDS) ** place for place, digit in enumerate(digits))


def count_prompt(prompt: str) -> int:
    """Its tokens, as the upstream counts them."""
    return len(prompt.split()) + AROUND_A_PROMPT


def say(attempt: int, place: int) -> str:
    """The word at this place of an answer. Each attempt begins with another word, so a mixture of two would be
    noticed."""
    return " " + WORDS[(attempt * 7 + place) % len(WORDS)]


def follows(before: str | None, word: str) -> bool:
    """Whether a word may come after another."""
    return word[:1] == " " and (before is None or WORDS.index(word[1:]) == (WORDS.index(before[1:]) + 1) % len(WORDS))
