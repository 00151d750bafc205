"""The body of an edit, in either of its forms: fields and files, or JSON with the pictures in it."""

from collections.abc import Callable, Iterable, Sequence

from bridge.conversation.images import ImageRequest, Picture
from bridge.dialects.images.pictures import decode_reference, read_mask, read_picture
from bridge.dialects.images.request import MOST_SENT, ImageEditsRequest, read_images
from bridge.errors import InvalidRequest
from bridge.json_types import JsonObject
from bridge.multipart import Part

MOST_PARTS = 64
_PICTURES = ("image", "image[]")
_NUMBERS = frozenset({"n", "output_compression", "partial_images"})
_FLAGS = {"true": True, "false": False}
_FILES = frozenset({"image", "images", "mask"})
Convert = Callable[[JsonObject, type[ImageEditsRequest]], ImageEditsRequest]


def read_form(parts: Iterable[Part], convert: Convert) -> ImageRequest:
    """The edit in these fields and files. Raises InvalidRequest."""
    body: JsonObject = {}
    sent: list[Part] = []
    masks: list[Part] = []
    for part in parts:
        if part.name in _PICTURES:
            sent.append(part)
        elif part.name == "mask":
            masks.append(part)
        elif part.is_file:
            message = f"{part.name[:64]} can't be sent here: files are image, image[] and mask."
            raise InvalidRequest(message, param=part.name[:64], code="unsupported_parameter")
        elif part.name in body:
            raise InvalidRequest(f"{part.name[:64]} is there twice.", param=part.name[:64], code="invalid_value")
        else:
            body[part.name] = _read_field(part)
    _check_count(sent, masks, "image")
    several = len(sent) > 1
    pictures = [read_picture(part.data, f"image[{place}]" if several else "image") for place, part in enumerate(sent)]
    mask = read_mask(masks[0].data, "mask") if masks else None
    return read_images(body, convert(body, ImageEditsRequest), pictures, mask)


def _read_field(part: Part) -> str | int | bool:
    """A field's value in the type that JSON has for it: its check says what is wrong with another one."""
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{part.name[:64]} is no UTF-8.", param=part.name[:64], code="invalid_value") from None
    if part.name in _NUMBERS and text.isascii() and text.isdigit() and len(text) < 5:
        return int(text)
    return _FLAGS.get(text, text) if part.name == "stream" else text


def read_json_edit(body: JsonObject, convert: Convert) -> ImageRequest:
    """The edit in this JSON, whose `images` and `mask` are data URLs. Raises InvalidRequest."""
    request = convert(body, ImageEditsRequest)
    given = body.get("images")
    if not isinstance(given, list):
        code = "missing_required_parameter" if given is None else "invalid_type"
        message = "images is required: a list of objects with image_url, a data URL."
        raise InvalidRequest(message, param="images", code=code)
    mask = body.get("mask")
    _check_count(given, () if mask is None else (mask,), "images")
    pictures = [read_picture(*decode_reference(value, f"images[{place}]")) for place, value in enumerate(given)]
    hidden: Picture | None = None if mask is None else read_mask(*decode_reference(mask, "mask"))
    rest = {field: value for field, value in body.items() if field not in _FILES}
    return read_images(rest, request, pictures, hidden)


def _check_count(pictures: Sequence[object], masks: Sequence[object], field: str) -> None:
    if not pictures:
        raise InvalidRequest(f"{field} is required.", param=field, code="missing_required_parameter")
    if len(pictures) > MOST_SENT:
        message = f"{field}: {len(pictures)} pictures of at most {MOST_SENT}. Send fewer at once."
        raise InvalidRequest(message, param=field, code="invalid_value")
    if len(masks) > 1:
        raise InvalidRequest("mask is there twice.", param="mask", code="invalid_value")
