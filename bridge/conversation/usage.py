"""The tokens of an answer: as its provider counts them, and as they are charged."""

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer in OpenAI's meaning: prompt includes cached and cache-written ones, completion reasoning.

    `audio_tokens` and `image_tokens` are those of the prompt which are sound and pictures and were neither read from a
    cache nor written to one; `cached_audio_tokens` are a part of the cached ones."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0  # of the written: those to be kept for an hour, where that has its own price
    audio_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0  # of the completion
    image_tokens: int = 0
    image_output_tokens: int = 0  # of the completion
    pictures: int = 0  # drawn, which may have a price each; of them those of low and of medium quality
    low_pictures: int = 0
    medium_pictures: int = 0
    altered: "Altered | None" = None  # None: the provider said the same

    def __eq__(self, other: object) -> bool:
        """Whatever the provider said: what is charged is the same."""
        return isinstance(other, Usage) and msgspec.structs.astuple(self)[:-1] == msgspec.structs.astuple(other)[:-1]

    @property
    def has_further_parts(self) -> bool:
        """Whether anything but text was read or written, which may have prices of its own."""
        return bool(
            self.audio_tokens
            or self.cached_audio_tokens
            or self.image_tokens
            or self.audio_output_tokens
            or self.image_output_tokens
            or self.pictures
        )

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What a provider said of an answer's tokens, by Usage's names and in its meaning, however impossible.

    None: it said nothing of that class, or nothing that is a number. `odd`: something there was no number."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    audio_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0
    image_tokens: int = 0
    image_output_tokens: int = 0
    pictures: int = 0
    low_pictures: int = 0
    medium_pictures: int = 0
    odd: bool = False


class Altered(msgspec.Struct, frozen=True, gc=False):
    """What is charged differs from what the provider said. `counted` is what it said as far as that is possible, with
    ours where it isn't: what of it is above the charged usage is given away."""

    said: Counts
    counted: Usage


PARTS = Usage.__struct_fields__[2:-1]  # of prompt or completion


def describe_counts(counts: Counts) -> dict[str, int | None]:
    """What a provider said, for whoever reads it: both wholes, and the parts that there are."""
    parts = {name: count for name in PARTS if (count := getattr(counts, name))}
    return {"prompt_tokens": counts.prompt_tokens, "completion_tokens": counts.completion_tokens, **parts}


def count_pictures(counts: Counts, pictures: int, quality: str) -> Counts:
    """The counts with so many pictures of one quality."""
    return msgspec.structs.replace(
        counts,
        pictures=pictures,
        low_pictures=pictures if quality == "low" else 0,
        medium_pictures=pictures if quality == "medium" else 0,
    )
