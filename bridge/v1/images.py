"""POST /v1/images/generations and /v1/images/edits."""

from flask import Response

from bridge.conversation.images import ImageRequest
from bridge.dialects.images.edits import MOST_PARTS, read_form, read_json_edit
from bridge.dialects.images.request import ImagesRequest, read_images
from bridge.dialects.images.writer import Images
from bridge.inference.weigh_images import weigh_images
from bridge.turns import by_size
from bridge.v1.body import convert, read_object
from bridge.v1.form_body import is_form, read_parts_of
from bridge.v1.inference import Planned, answer_inference
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit


def create_images(visit: Visit) -> Response:
    """Pictures by a prompt alone."""
    return answer_inference(visit, plan_images)


def plan_images(visit: Visit, data: bytes) -> Planned:
    """Check the body and measure what it can cost. Raises what is wrong with it; nothing was counted or held yet."""
    body, _ = read_object(data)
    request = read_images(body, convert(body, ImagesRequest))
    return plan_request(visit, request, (), len(data), weigh=weigh_images), Images()


def edit_images(visit: Visit) -> Response:
    """Pictures made of others. They come as files, or as data URLs in JSON."""
    return answer_inference(visit, _plan_edit, takes_forms=True)


def _plan_edit(visit: Visit, data: bytes) -> Planned:
    request = _read_edit(visit, data)
    sent = [*request.pictures, *([request.mask] if request.mask else [])]
    visit.keep_body(sum(len(picture.data) for picture in sent))  # beside the body, as long as that
    return plan_request(visit, request, (), len(data), weigh=weigh_images), Images(edit=True)


def _read_edit(visit: Visit, data: bytes) -> ImageRequest:
    if is_form(visit):
        return by_size(len(data), read_form, read_parts_of(visit, data, MOST_PARTS), convert)
    body, _ = read_object(data)
    return by_size(len(data), read_json_edit, body, convert)
