"""Measures what requests can cost that are made of texts, or of tokens in their place, and of no conversation."""

from collections.abc import Iterable

from bridge.catalogue.routing import ServedModel
from bridge.conversation.completion import CompletionRequest
from bridge.conversation.embedding import EmbeddingRequest
from bridge.inference.meter import BYTES_PER_TOKEN, Measure

MARKS_TOKENS = 8  # that a server may put around each text: the marks of its beginning and end


def bound_tokens(texts: Iterable[str | list[int]], model: ServedModel) -> tuple[int, int, int]:
    """Of all of these the most tokens within the model's window, which each has to itself; the most whatever the
    window; and an estimate. Each token of a text is at least one byte of it."""
    bound = most = estimate = 0
    around, window = MARKS_TOKENS + model.added_tokens, model.context_tokens
    for text in texts:
        if isinstance(text, str):
            long = len(text.encode(errors="surrogatepass"))
            estimate += min(long // BYTES_PER_TOKEN + 1 + model.added_tokens, window)
        else:
            long = len(text)
            estimate += min(long + model.added_tokens, window)
        most += long + around
        bound += min(long + around, window)
    return bound, most, estimate


def weigh_inputs(
    request: EmbeddingRequest, model: ServedModel, body_bytes: int, calls: int = 1, *, hour_writes: bool = True
) -> Measure:
    """What embeddings can cost. Nothing is written, so there is no cap."""
    bound, most, estimate = bound_tokens(request.inputs, model)
    return Measure(bound, estimate, 0, most_prompt_tokens=most, hour_writes=False, sound=False)


def weigh_prompts(
    request: CompletionRequest, model: ServedModel, body_bytes: int, calls: int = 1, *, hour_writes: bool = True
) -> Measure:
    """What plain completions can cost: each prompt once, and the cap for all that is written, the best or not."""
    prompts = len(request.prompts)
    suffixes = [request.suffix] * prompts if request.suffix else []
    bound, most, estimate = bound_tokens([*request.prompts, *suffixes], model)
    longest = max(bound_tokens([prompt, *suffixes[:1]], model)[1] for prompt in request.prompts)
    cap = min(request.output_cap_tokens or 0, model.max_output_tokens)
    beaten = (request.tries - request.choices // prompts) * prompts  # which are written, and not given back
    return Measure(
        bound,
        estimate + cap * request.tries * prompts,
        cap,
        cap * beaten,
        most_prompt_tokens=most,
        hour_writes=False,
        sound=False,
        longest_tokens=longest if prompts > 1 else 0,
    )
