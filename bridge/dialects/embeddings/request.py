"""The body of a request for embeddings: what is checked before it goes anywhere."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.kinds import EMBEDDINGS
from bridge.conversation.prompt import Input
from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

MOST_INPUTS = 2048
MOST_DIMENSIONS = 2**16
_WITH_VALUES = frozenset({"model", "input", "encoding_format", "dimensions"})


class EmbeddingsRequest(Struct):
    """`input` is one text or a list of them, or tokens in the place of texts."""

    model: Annotated[str, Meta(min_length=1)]
    input: Any
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=MOST_DIMENSIONS)] | None = None
    user: str | None = None


def read_embeddings(body: JsonObject, request: EmbeddingsRequest) -> EmbeddingRequest:
    """The request in this body. Raises InvalidRequest."""
    if body.get("models") is not None:
        message = "models: vectors of different models can't be compared, so embeddings never go to another one."
        raise InvalidRequest(f"{message} Leave it out.", param="models", code="unsupported_parameter")
    return EmbeddingRequest(
        endpoint=EMBEDDINGS,
        model=request.model,
        inputs=_read_inputs(request.input),
        written=request.input,
        dimensions=request.dimensions,
        encoding=request.encoding_format,
        options={field: value for field, value in body.items() if field not in _WITH_VALUES and field != "models"},
    )


def _read_inputs(given: Json) -> list[Input]:
    """All inputs. Raises InvalidRequest that names the place."""
    found = read_texts(given, "input")
    if len(found) > MOST_INPUTS:
        raise InvalidRequest(
            f"input is too long: {len(found)} of at most {MOST_INPUTS} inputs. Send several requests.",
            param="input",
            code="invalid_value",
        )
    for place, each in enumerate(found):
        if not each:
            param = "input" if not isinstance(given, list) or given is each else f"input[{place}]"
            raise InvalidRequest(f"{param} must not be empty.", param=param, code="invalid_value")
    return found


def read_texts(given: Json, param: str) -> list[Input]:
    """A text, a list of texts, a list of tokens, or a list of those: as a list of texts, or of tokens in their place.
    Raises InvalidRequest."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise _refuse(param)
    kinds = set(map(type, given))
    if not kinds:
        raise InvalidRequest(f"{param} must not be empty.", param=param, code="invalid_value")
    if kinds == {str}:
        return list(given)
    if kinds == {int}:
        _check_tokens(given, param)
        return [given]
    if kinds == {list}:
        for place, tokens in enumerate(given):
            if not set(map(type, tokens)) <= {int}:
                raise _refuse(f"{param}[{place}]")
            _check_tokens(tokens, f"{param}[{place}]")
        return list(given)
    raise _refuse(param)


def _check_tokens(tokens: list[int], param: str) -> None:
    if tokens and min(tokens) < 0:
        raise InvalidRequest(f"{param}: a token is a number from 0 on.", param=param, code="invalid_value")


def _refuse(param: str) -> InvalidRequest:
    message = f"{param} must be a string, a list of strings, a list of tokens (integers), or a list of lists of tokens."
    return InvalidRequest(message, param=param, code="invalid_type")
