"""The body of a request for plain completions: what is checked before it goes anywhere."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from bridge.conversation.completion import CompletionRequest
from bridge.conversation.kinds import COMPLETIONS
from bridge.conversation.prompt import Input
from bridge.conversation.request import Native
from bridge.dialects.chat.request import Penalty, StreamOptions
from bridge.dialects.embeddings.request import read_texts
from bridge.errors import InvalidRequest
from bridge.json_types import JsonObject

MOST_PROMPTS, MOST_CHOICES = 2048, 128
DEFAULT_CAP_TOKENS = 16  # OpenAI's
MOST_LOGPROBS = 5
_WITH_VALUES = frozenset({"model", "models", "prompt", "suffix", "max_tokens", "n", "best_of", "echo", "stream"})


class CompletionsRequest(Struct):
    """`prompt` is one text or a list of them, or tokens in the place of texts."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: Any
    models: Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=3)] | None = None
    suffix: str | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MOST_LOGPROBS)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    user: str | None = None


def read_completions(body: JsonObject, request: CompletionsRequest) -> CompletionRequest:
    """The request in this body. Raises InvalidRequest."""
    prompts, choices = _read_prompts(request), request.n or 1
    _check(request, choices)
    cap = DEFAULT_CAP_TOKENS if request.max_tokens is None else request.max_tokens
    stream_options = request.stream_options
    return CompletionRequest(
        endpoint=COMPLETIONS,
        model=request.model,
        prompts=prompts,
        tries=max(choices, request.best_of or 1),
        suffix=request.suffix or "",
        echo=bool(request.echo),
        output_cap_tokens=cap,
        sent_cap=("max_tokens", cap),
        choices=len(prompts) * choices,
        stream=bool(request.stream),
        wants_usage=bool(stream_options and stream_options.include_usage),
        options={field: value for field, value in body.items() if field not in _WITH_VALUES},
        native=Native(COMPLETIONS, body),
    )


def _read_prompts(request: CompletionsRequest) -> list[Input]:
    found = read_texts(request.prompt, "prompt")
    if len(found) > MOST_PROMPTS:
        message = f"prompt is too long: {len(found)} of at most {MOST_PROMPTS} prompts. Send several requests."
        raise InvalidRequest(message, param="prompt", code="invalid_value")
    for place, each in enumerate(found):
        if not each and not isinstance(each, str):
            raise InvalidRequest(f"prompt[{place}] must not be empty.", param=f"prompt[{place}]", code="invalid_value")
    return found


def _check(request: CompletionsRequest, choices: int) -> None:
    """Raises InvalidRequest for what doesn't go together."""
    best_of = request.best_of or 1
    if request.best_of is not None and best_of < choices:
        raise _refuse("best_of", f"best_of must be at least n, which is {choices}.")
    if request.stream and best_of > choices:
        raise _refuse("best_of", "best_of above n can't be streamed: which is best is known at the end.")
    if request.stream and request.echo:
        raise _refuse("echo", "echo is not streamed here: your client has the prompt already. Leave out one of them.")


def _refuse(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_value")
