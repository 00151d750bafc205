#!/usr/bin/env python
"""How our own counts compare with the providers', over recorded exchanges: what the token scales were chosen from.

    RECORDINGS_DIR=recordings .venv/bin/python -m scripts.token_factors

Prints, per provider and scale, how far the providers' counts are from o200k's as they are, and from the scale's; then
how near recorded prompts come to the bound that a hold is made of. Ends with status 1 where a scale covers less than 95
of 100 recordings, or a prompt has more tokens than its bound."""

import dataclasses
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bridge.catalogue.routing import ServedModel
from bridge.conversation.prompt import read_prompt
from bridge.conversation.request import Conversation
from bridge.dialects.chat.read import read_conversation
from bridge.dialects.chat.request import ChatRequest
from bridge.inference.estimate import count_calls, count_text, scale_prompt
from bridge.inference.meter import measure
from bridge.providers import PROVIDERS
from bridge.providers import token_scale as scales
from bridge.providers.token_scale import TokenScale, find_scale
from bridge.v1.body import convert
from scripts.recorded_chats import Exchange, list_exchanges

LEAST_COVERED_PERCENT = 95
TEXT_FIELDS = ("model", "messages", "tools", "functions", "response_format")
NEAREST_SHOWN = 8
NAMES = {scale: name.strip("_").lower() for name, scale in vars(scales).items() if isinstance(scale, TokenScale)}
ANY_MODEL = ServedModel(
    id="any",
    provider="openai",
    context_tokens=1,  # so that the bound comes from the bytes
    max_output_tokens=1,
    image_tokens=0,
    input_modalities=frozenset(["text", "image", "audio", "file"]),
    thinks=False,
    retired=False,
    first_content_timeout_seconds=None,
    price=None,
    routes=(),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """The provider's count of a prompt or an answer, o200k's of its text, and the scale's."""

    name: str
    theirs: int
    ours: int
    scaled: int


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """The provider's count of a prompt, and the most that `measure` thought it could be."""

    name: str
    theirs: int
    most: int


Counts = dict[tuple[str, str, str], list[Count]]


def read_counts(exchanges: Sequence[Exchange]) -> Counts:
    """The counts by provider, scale and "prompt" or "answer"."""
    found: Counts = defaultdict(list)
    for exchange in exchanges:
        request, scale = _read_request(exchange), scale_of(exchange)
        prompt = read_prompt(request)
        if not exchange.apart:
            ours = sum(count_text(text) for text in prompt.texts)
            count = Count(exchange.name, exchange.prompt_tokens, ours, scale_prompt(prompt, ours, scale))
            found[exchange.provider, NAMES[scale], "prompt"].append(count)
        theirs = exchange.said_tokens
        if theirs and (ours := count_text("".join(exchange.said))):
            count = Count(exchange.name, theirs, ours, scale.answer(ours, calls=count_calls(exchange.said, prompt)))
            found[exchange.provider, NAMES[scale], "answer"].append(count)
    return found


def read_bounds(exchanges: Sequence[Exchange]) -> list[Bound]:
    """The bounds of prompts that are text alone, those nearest to their bound first."""
    found = []
    for exchange in exchanges:
        if exchange.apart in ("", "replayed thoughts"):
            data = msgspec.json.encode(_text_fields(exchange))
            most = measure(_read_request(exchange), ANY_MODEL, len(data)).most_prompt_tokens
            found.append(Bound(exchange.name, exchange.prompt_tokens, most))
    return sorted(found, key=lambda bound: bound.theirs / bound.most, reverse=True)


def scale_of(exchange: Exchange) -> TokenScale:
    return find_scale(PROVIDERS[exchange.provider].token_scales, exchange.model)


def _text_fields(exchange: Exchange) -> dict[str, object]:
    return {field: exchange.body[field] for field in TEXT_FIELDS if field in exchange.body}


def _read_request(exchange: Exchange) -> Conversation:
    body = _text_fields(exchange)
    convert(body, ChatRequest)
    return read_conversation(body)


def covered_percent(counts: Sequence[Count]) -> int:
    """The percentage of counts that the scale covers, rounded down."""
    return 100 * sum(count.theirs <= count.scaled for count in counts) // len(counts)


def _describe(pairs: Sequence[tuple[int, int]]) -> str:
    """The spread of the provider's counts over ours, and their average difference in tokens."""
    ratios = sorted(theirs / ours for theirs, ours in pairs)
    apart = sum(abs(theirs - ours) for theirs, ours in pairs) / len(pairs)
    middle, high = ratios[len(ratios) // 2], ratios[min(len(ratios) - 1, len(ratios) * 95 // 100)]
    return f"{middle:6.2f} {high:6.2f} {ratios[-1]:6.2f} {apart:6.0f}"


def main() -> int:
    exchanges = list(list_exchanges(Path(os.environ["RECORDINGS_DIR"])))
    failed = False
    spread = "median    p95  worst  error"
    print(f"{'':34} {'':4} |{'o200k':^28}|{'scale':^28}| covered")
    print(f"{'provider, scale':34} {'n':>4} | {spread} | {spread} |")
    for (provider, name, kind), counts in sorted(read_counts(exchanges).items()):
        plain = _describe([(count.theirs, count.ours) for count in counts])
        scaled = _describe([(count.theirs, count.scaled) for count in counts])
        covered = covered_percent(counts)
        failed = failed or covered < LEAST_COVERED_PERCENT
        print(f"{f'{provider}, {name}: {kind}':34} {len(counts):4} | {plain} | {scaled} | {covered:5} %")
        for count in counts:
            if count.theirs > count.scaled:
                print(f"    above it: {count.theirs} of {count.scaled}, {count.name}")
    bounds = read_bounds(exchanges)
    over = [bound for bound in bounds if bound.theirs > bound.most]
    print(f"\n{len(bounds)} prompts, {len(over)} above their bound. The nearest to it:")
    for bound in bounds[:NEAREST_SHOWN]:
        print(f"    {bound.theirs:5} of {bound.most:5}, {bound.name}")
    return 1 if failed or over else 0


if __name__ == "__main__":
    sys.exit(main())
