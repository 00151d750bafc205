"""Unit prices by class of token, and the lines of a bill: count × unit price. All are whole numbers; nothing is
rounded."""

from collections.abc import Mapping

import msgspec

from bridge.conversation.usage import Usage

# The classes that every price has, by the names of their columns: `input_nanos_per_mtok` and so on.
PRICE_CLASSES = ("input", "cached", "cache_write", "cache_write_hour", "output")
# The classes that only some providers price. Without a price of its own, a class costs what the class here costs.
FURTHER_CLASSES = {
    "reasoning": "output",
    "audio_input": "input",
    "cached_audio": "cached",
    "audio_output": "output",
    "image": "input",
    "image_output": "output",
    "request": "",
    "picture": "",
    "picture_low": "picture",
    "picture_medium": "picture",
}
# Those of them that are no tokens: nano-dollars each.
BY_THE_PIECE = frozenset({"request", "picture", "picture_low", "picture_medium"})
MTOK = 1_000_000
Line = tuple[str, int, int]


class Rates(msgspec.Struct, frozen=True, gc=False):
    """The unit prices of prompts longer than `above_tokens`: nano-dollars per million tokens, `request`
    nano-dollars for each call of a provider, and `picture` nano-dollars for each picture that is drawn,
    with others for those of low and of medium quality.

    `cache_write` is for writes to a cache that last the usual few minutes, `cached_audio` for audio read from a cache,
    `image` for images in a prompt, `audio_output` for speech in an answer, `image_output` for images in it."""

    input: int
    cached: int
    cache_write: int
    cache_write_hour: int
    output: int
    reasoning: int
    audio_input: int
    cached_audio: int
    audio_output: int
    image: int
    image_output: int
    request: int = 0
    picture: int = 0
    picture_low: int = 0
    picture_medium: int = 0
    above_tokens: int = 0

    def lines(self, usage: Usage, calls: int = 1) -> list[Line]:
        """Class, count and unit price of everything in this usage. A part that costs what its whole costs has no line
        of its own. The unit prices of requests and pictures are given per million, as the others are."""
        thought = usage.reasoning_tokens if self.reasoning != self.output else 0
        spoken = usage.audio_output_tokens if self.audio_output != self.output else 0
        drawn = usage.image_output_tokens if self.image_output != self.output else 0
        heard = usage.audio_tokens if self.audio_input != self.input else 0
        seen = usage.image_tokens if self.image != self.input else 0
        heard_before = usage.cached_audio_tokens if self.cached_audio != self.cached else 0
        hour = usage.cache_write_hour_tokens
        lines = [
            (
                "input",
                usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens - heard - seen,
                self.input,
            ),
            ("audio_input", heard, self.audio_input),
            ("image", seen, self.image),
            ("cached", usage.cached_tokens - heard_before, self.cached),
            ("cached_audio", heard_before, self.cached_audio),
            ("cache_write", usage.cache_write_tokens - hour, self.cache_write),
            ("cache_write_hour", hour, self.cache_write_hour),
            ("output", usage.completion_tokens - thought - spoken - drawn, self.output),
            ("reasoning", thought, self.reasoning),
            ("audio_output", spoken, self.audio_output),
            ("image_output", drawn, self.image_output),
        ]
        if self.request:
            lines.append(("request", calls, self.request * MTOK))
        if usage.pictures and (self.picture or self.picture_low or self.picture_medium):
            low, medium = usage.low_pictures, usage.medium_pictures
            lines += [
                ("picture", usage.pictures - low - medium, self.picture * MTOK),
                ("picture_low", low, self.picture_low * MTOK),
                ("picture_medium", medium, self.picture_medium * MTOK),
            ]
        return lines

    def sum(self, usage: Usage, calls: int = 1) -> int:
        """The total cost in nano-dollars × a million: exact, not yet rounded."""
        if usage.has_further_parts:
            return sum(count * nanos for _, count, nanos in self.lines(usage, calls))
        # text alone, as nearly always: the same sum without making the lines
        cached, written, hour = usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_hour_tokens
        return (
            (usage.prompt_tokens - cached - written) * self.input
            + cached * self.cached
            + (written - hour) * self.cache_write
            + hour * self.cache_write_hour
            + (usage.completion_tokens - usage.reasoning_tokens) * self.output
            + usage.reasoning_tokens * self.reasoning
            + calls * self.request * MTOK
        )

    def dearest_input(self, hour_writes: bool, sound: bool) -> int:
        """The most that a token of a prompt can cost."""
        dearest = max(self.input, self.cached, self.cache_write, self.image)
        if hour_writes:
            dearest = max(dearest, self.cache_write_hour)
        return max(dearest, self.audio_input, self.cached_audio) if sound else dearest

    def dearest_output(self, speech: bool) -> int:
        """The most that a token of an answer can cost."""
        return max(self.output, self.reasoning, self.image_output, self.audio_output if speech else 0)

    def dearest_picture(self, quality: str) -> int:
        """The most that a picture of this quality can cost; "" and auto are any."""
        if quality in ("", "auto"):
            return max(self.picture, self.picture_low, self.picture_medium)
        return {"low": self.picture_low, "medium": self.picture_medium}.get(quality, self.picture)

    def marked_up(self, basis_points: int) -> "Rates":
        """These rates with each price raised (or lowered) by hundredths of a percent, rounded up to a whole
        nano-dollar."""
        if not basis_points:
            return self
        fields = {
            name: -(-getattr(self, name) * (10_000 + basis_points) // 10_000)
            for name in (*PRICE_CLASSES, *FURTHER_CLASSES)
        }
        return Rates(**fields, above_tokens=self.above_tokens)


def make_rates(prices: Mapping[str, int | None], above_tokens: int = 0) -> Rates:
    """Rates from prices by class; a class without a price costs what its fallback costs. Raises KeyError without input
    or output.

    Cached tokens and cache writes fall back to the input's price, and writes for an hour to writes for minutes. Cached
    audio falls back to audio, if audio has a price of its own."""
    found = {name: nanos for name, nanos in prices.items() if nanos is not None}
    found.setdefault("cached", found["input"])
    found.setdefault("cache_write", found["input"])
    found.setdefault("cache_write_hour", found["cache_write"])
    if "audio_input" in found:
        found.setdefault("cached_audio", found["audio_input"])
    for name, fallback in FURTHER_CLASSES.items():
        found.setdefault(name, found[fallback] if fallback else 0)
    return Rates(**{name: found[name] for name in (*PRICE_CLASSES, *FURTHER_CLASSES)}, above_tokens=above_tokens)


def name_rates(rates: Rates) -> dict[str, int]:
    """The prices by class: the classes that every price has, and each further class whose price differs from its
    fallback. `make_rates` turns them back into the same rates."""
    found = {name: getattr(rates, name) for name in (*PRICE_CLASSES, *FURTHER_CLASSES)}
    for name in FURTHER_CLASSES:
        without = {key: nanos for key, nanos in found.items() if key != name}
        if make_rates(without, rates.above_tokens) == rates:
            found = without
    return found
