"""Measures what pictures can cost: those that are drawn, and those that they are made of."""

from bridge.catalogue.routing import ServedModel
from bridge.conversation.images import PARTIAL_TOKENS, ImageRequest
from bridge.errors import InvalidRequest
from bridge.inference.meter import BYTES_PER_TOKEN, TEMPLATE_TOKENS, Measure

# What part of the dearest picture one of this quality is: rather too much. At OpenAI it is a fifteenth and a quarter.
PARTS = {"low": 12, "medium": 3}


def weigh_images(
    request: ImageRequest, model: ServedModel, body_bytes: int, calls: int = 1, *, hour_writes: bool = True
) -> Measure:
    """The model's dearest picture for each that is asked for, less where the client wants a plainer one. A model's
    window is of its prompt alone. Raises InvalidRequest for pictures that the model can't take."""
    sent = len(request.pictures) + (request.mask is not None)
    if sent and "image" not in model.input_modalities:
        message = f"{model.id} takes no pictures: ask it by /v1/images/generations."
        raise InvalidRequest(message, param="image", code="invalid_value")
    text = len(request.prompt.encode(errors="surrogatepass"))
    media = sent * (model.image_tokens or model.context_tokens)
    bound = text + TEMPLATE_TOKENS + model.added_tokens + media
    cap = tokens_of_picture(request, model.max_output_tokens)
    reserved = text // BYTES_PER_TOKEN + model.added_tokens + media + cap * request.choices
    return Measure(
        bound,
        reserved,
        cap,
        most_prompt_tokens=bound,
        hour_writes=False,
        sound=False,
        media_tokens=media,
        pictures=(request.quality,) * request.choices,
        fixed=True,
    )


def tokens_of_picture(request: ImageRequest, dearest_tokens: int) -> int:
    """The most tokens that one picture of this request is, with its unfinished ones."""
    part = PARTS.get(request.quality, 1)
    return -(-dearest_tokens // part) + request.partial_images * PARTIAL_TOKENS
