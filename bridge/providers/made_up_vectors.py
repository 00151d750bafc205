"""The sandbox's embeddings: made of the words of each input, so that texts with the same words are near each other."""

import math
import re
from hashlib import blake2b

import msgspec

from bridge.json_types import Json, JsonObject
from bridge.providers.vectors import write_vector

DIMENSIONS = 1536
_WORD = re.compile(r"\w+|[^\w\s]")


def answer_embeddings(body: JsonObject) -> bytes:
    """The answer to a request in OpenAI's dialect: the same vectors for the same inputs, at any time."""
    given: Json = body["input"]
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    dimensions, base64 = body.get("dimensions") or DIMENSIONS, body.get("encoding_format") == "base64"
    words = [_split(each) for each in inputs]
    tokens = sum(map(len, words))
    data = [
        {"object": "embedding", "index": place, "embedding": write_vector(_make(each, dimensions), base64)}
        for place, each in enumerate(words)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _split(text: Json) -> list[str]:
    return (_WORD.findall(text.lower()) or [text]) if isinstance(text, str) else [str(token) for token in text]


def _make(words: list[str], dimensions: int) -> list[float]:
    """A vector of length 1: each word counts at a place, and with a sign, that its hash says."""
    numbers = [0.0] * dimensions
    for word in words:
        seed = int.from_bytes(blake2b(word.encode(errors="replace"), digest_size=8).digest(), "little")
        numbers[seed % dimensions] += 1.0 if seed >> 63 else -1.0
    length = math.hypot(*numbers)
    if not length:  # words that cancel each other out
        return [1.0, *numbers[1:]]
    return [number / length for number in numbers]
