"""Decides what an answer is charged for: the provider's counts, class by class, and our own where it gave none that can
be true.

The reasons are in docs/decisions/counts.md."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from bridge.catalogue.routing import Route
from bridge.conversation.usage import PARTS, Altered, Counts, Usage, count_pictures, describe_counts
from bridge.inference.estimate import count_pieces
from bridge.inference.meter import Measure
from bridge.inference.plan import Offer
from bridge.providers.tally import fit_parts

NOTHING_SAID = Counts()
CLASSES = ("prompt_tokens", "completion_tokens", *PARTS)
Counted = tuple[Usage, str]  # what is charged, and whose counts they are: "provider", "estimate" (ours), or "mixed"
log = structlog.get_logger()


class Served(Protocol):
    """The attempt whose answer is counted."""

    @property
    def request_id(self) -> str: ...

    @property
    def offer(self) -> Offer: ...

    @property
    def route(self) -> Route: ...

    @property
    def calls(self) -> int: ...

    def most_output_tokens(self) -> int: ...

    def count_delivered(self, text: Sequence[str], ended: bool = True) -> Usage: ...


def find_usage(
    served: Served,
    said: Counts | None,
    text: Sequence[str],
    ended: bool = True,
    uncounted: Sequence[str] = (),
    unwritten: Sequence[str] = (),
) -> Counted:
    """What is charged, and whose counts they are.

    What the provider said of a class stands; ours replace what is missing, can be none, or is `uncounted`: said after
    it counted last. What of the text is `unwritten` nobody got: it is taken off. What is above all that the request can
    hold is clamped."""
    theirs = said or NOTHING_SAID
    prompt, completion = _believe(served, theirs)
    if prompt is not None and completion is not None and not uncounted and not unwritten:
        return _settle_on(served, theirs, prompt, completion), "provider"
    ours = served.count_delivered(_without(text, unwritten), ended)
    source = "mixed" if (prompt, completion) != (None, None) else "estimate"
    if prompt is None:
        known = theirs.prompt_tokens is None  # then the parts that it told of are at least there
        prompt = max(
            ours.prompt_tokens, max(0, theirs.cached_tokens) + max(0, theirs.cache_write_tokens) if known else 0
        )
    if completion is None:
        completion = max(ours.completion_tokens, theirs.reasoning_tokens if theirs.completion_tokens is None else 0)
        completion = min(completion, served.most_output_tokens())  # what is beyond it nobody counted but we
    elif uncounted or unwritten:  # the lower of two ways to count what it didn't
        rest = count_pieces(uncounted) - count_pieces(unwritten)
        completion = max(0, min(completion + rest, max(completion, ours.completion_tokens)))
    return _settle_on(served, theirs, prompt, completion), source


def count_begun(served: Served, said: Counts | None) -> Counts | None:
    """What an answer counts whose client has left in its midst. Pictures are drawn to their end, whoever waits: all
    that was held counts, for nobody is told how much it became."""
    if not served.offer.request.is_made_to_its_end:
        return said
    most, pictures = served.most_output_tokens(), served.offer.measure.pictures
    return count_pictures(Counts(None, most, image_output_tokens=most), len(pictures), pictures[0])


def _without(text: Sequence[str], unwritten: Sequence[str]) -> Sequence[str]:
    """The text less these pieces of it: the last ones that are alike."""
    if not unwritten:
        return text
    left, kept = Counter(unwritten), []
    for piece in reversed(text):
        if left[piece]:
            left[piece] -= 1
        else:
            kept.append(piece)
    return kept[::-1]


def find_delivered(served: Served, said: Counts | None, completion_tokens: int) -> Usage:
    """The provider's count of the prompt, as far as it gave one, with so many tokens delivered. Marks are made of
    it."""
    theirs = said or NOTHING_SAID
    prompt, _ = _believe(served, theirs)
    return _settle_on(served, theirs, prompt or 0, completion_tokens, quiet=True)


def _believe(served: Served, theirs: Counts) -> tuple[int | None, int | None]:
    """The wholes of these counts: None for one that is missing, below zero, or beyond the model's window and whatever
    the request can hold."""
    window, most_output = served.offer.model.context_tokens * served.calls, served.most_output_tokens()
    most_prompt = served.offer.measure.most_prompt_tokens * served.calls
    prompt, completion = theirs.prompt_tokens, theirs.completion_tokens
    if prompt is not None and not 0 <= prompt <= max(window, most_prompt):
        prompt = None
    if completion is not None and not 0 <= completion <= max(window, most_output):
        completion = None
    return prompt, completion


def _settle_on(served: Served, theirs: Counts, prompt: int, completion: int, quiet: bool = False) -> Usage:
    """The usage of these wholes with the provider's parts of them; it says where that isn't what the provider said."""
    if _are_ordinary(served, theirs, prompt, completion):
        return Usage(prompt, completion, theirs.cached_tokens, theirs.reasoning_tokens, theirs.cache_write_tokens)
    parts = {name: getattr(theirs, name) for name in PARTS}
    if theirs.prompt_tokens is not None and theirs.prompt_tokens != prompt:  # parts of a count that is none
        parts |= dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"), 0)
    counted = fit_parts(Usage(prompt, completion, **parts), prompt, completion)
    usage = fit_counts(counted, served.offer.measure, served.most_output_tokens(), served.calls)
    if theirs == NOTHING_SAID or all(getattr(theirs, name) == getattr(usage, name) for name in CLASSES):
        return usage
    if not quiet:
        _tell(served, theirs, counted, usage)
    return msgspec.structs.replace(usage, altered=Altered(theirs, counted))


def _are_ordinary(served: Served, theirs: Counts, prompt: int, completion: int) -> bool:
    """Whether these are the provider's own counts, all as they can be, and of text alone, as nearly all are."""
    if prompt != theirs.prompt_tokens or completion != theirs.completion_tokens:
        return False
    if theirs.cache_write_hour_tokens or theirs.audio_tokens or theirs.cached_audio_tokens or theirs.image_tokens:
        return False
    cached, written, reasoning = theirs.cached_tokens, theirs.cache_write_tokens, theirs.reasoning_tokens
    if (
        theirs.audio_output_tokens
        or theirs.image_output_tokens
        or theirs.pictures
        or cached < 0
        or written < 0
        or reasoning < 0
    ):
        return False
    return (
        cached + written <= prompt <= served.offer.measure.most_prompt_tokens * served.calls
        and reasoning <= completion <= served.most_output_tokens()
    )


def fit_counts(usage: Usage, measure: Measure, most_output_tokens: int, calls: int) -> Usage:
    """Counts within what the hold knows to be possible: a prompt has no more tokens than bytes, and what the operator
    says that its upstream adds; an answer no more than its cap. What was delivered beyond the cap is our loss."""
    prompt = min(usage.prompt_tokens, measure.most_prompt_tokens * calls)
    fitted = fit_parts(usage, prompt, min(usage.completion_tokens, most_output_tokens))
    return msgspec.structs.replace(
        fitted,
        # the hold knows the prices of an hour's cache and of sound only where the request could ask for them
        cache_write_hour_tokens=fitted.cache_write_hour_tokens if measure.hour_writes else 0,
        audio_tokens=fitted.audio_tokens if measure.sound else 0,
        cached_audio_tokens=fitted.cached_audio_tokens if measure.sound else 0,
        audio_output_tokens=0,  # nobody may ask for speech
    )


def _tell(served: Served, theirs: Counts, counted: Usage, usage: Usage) -> None:
    """Log it for the operator too, with what is charged instead."""
    beyond = any(getattr(counted, name) > getattr(usage, name) for name in CLASSES)
    believed = _believe(served, theirs)
    if beyond:
        event = "usage_clamped"
    elif theirs.odd or believed != (theirs.prompt_tokens, theirs.completion_tokens):
        event = "usage_not_believed"
    else:
        return
    log.warning(
        event,
        request_id=served.request_id,
        channel=served.route.channel_name,
        provider_counts=describe_counts(theirs),
        charged_counts={name: count for name in CLASSES if (count := getattr(usage, name))},
        output_cap_tokens=served.offer.cap_tokens,
    )
