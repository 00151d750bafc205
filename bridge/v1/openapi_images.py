"""What /openapi.json says of pictures."""

from bridge.dialects.images.request import MOST_CHARACTERS, MOST_PICTURES, MOST_SENT
from bridge.v1.schemas.blocks import Schema, ref

KINDS, NAMES = ("image_generation", "image_edit"), ("partial_image", "completed")
FIELDS = {
    "model": "A model that draws: GET /models says which by their `endpoints`.",
    "prompt": f"What is to be seen, in at most {MOST_CHARACTERS:,} characters.",
    "n": f"How many pictures, at most {MOST_PICTURES}: each is paid for, and the hold is for all. Default: 1.",
    "size": "Width and height in pixels, such as 1536x1024, or auto. Which ones there are is the model's choice.",
    "quality": "The hold is for the model's dearest picture, and for less with low or medium.",
    "output_format": "Default: png. SVG and GIF are billed apart and not offered: 400.",
    "output_compression": "Percent, of jpeg and webp.",
    "response_format": "OpenAI's own models give base64 alone; others may give an address.",
    "stream": "Show the picture as it is drawn: one alone. Default: false.",
    "partial_images": "Of a stream: unfinished pictures, each 100 tokens more. Whoever leaves after the first pays for "
    "the whole.",
    "user": "Your own customer, in at most 256 characters. Usage can be grouped by it; providers get a hash of it.",
    "safety_identifier": "The same; of two that are given it is this one.",
}
EXAMPLES: Schema = {
    "one": {"summary": "A picture", "value": {"model": "gpt-image-2", "prompt": "A harbour at night"}},
    "plain": {
        "summary": "Two plain ones, in a small file",
        "value": {
            "model": "gpt-image-1-mini",
            "prompt": "A harbour at night",
            "n": 2,
            "size": "1536x1024",
            "quality": "low",
            "output_format": "jpeg",
        },
    },
}
ANSWER: Schema = {
    "id": "img-01893b5ac0f07c3a9b1f0d2e4a6c8b0d",
    "created": 1714000000,
    "model": "gpt-image-2",
    "background": "opaque",
    "output_format": "png",
    "quality": "medium",
    "size": "1024x1024",
    "data": [{"b64_json": "iVBORw0KGgo="}],
    "usage": {
        "input_tokens": 11,
        "input_tokens_details": {"text_tokens": 11, "image_tokens": 0},
        "output_tokens": 1756,
        "total_tokens": 1767,
        "cost": 0.052735,
    },
}
HOW = (
    "The model's dearest picture is set aside for each that is asked for; what they were by the provider's count "
    "replaces it. It may take minutes."
)


EDITS: Schema = {
    "night": {
        "summary": "One picture made of another",
        "value": {
            "model": "gpt-image-1-mini",
            "prompt": "The same at night",
            "images": [{"image_url": "data:image/png;base64,iVBORw0KGgo="}],
        },
    }
}
DATA_URL = r"^data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}$"
REFERENCE: Schema = {
    "type": "object",
    "properties": {"image_url": {"type": "string", "pattern": DATA_URL, "description": "A base64 data URL."}},
    "required": ["image_url"],
}
FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
TYPES = "PNG, JPEG or WebP"


def describe_request(schemas: Schema) -> None:
    """Say what the types leave open, and how pictures are sent: in JSON or as files."""
    edit = schemas.pop("ImageEditsRequest")
    for properties in (schemas["ImagesRequest"]["properties"], edit["properties"]):
        for field, description in FIELDS.items():
            properties[field]["description"] = description
    fields, required = edit["properties"], edit["required"]
    sent = {
        "images": {"type": "array", "items": REFERENCE, "minItems": 1, "maxItems": MOST_SENT, "description": TYPES},
        "mask": {**REFERENCE, "description": "A PNG: where it can be seen through, the first picture is drawn anew."},
    }
    schemas["ImageEdit"] = {
        **edit,
        "title": "ImageEdit",
        "properties": {**fields, **sent},
        "required": [*required, "images"],
    }
    files = {
        "image": {**FILE, "description": f"{TYPES}; several as image[], at most {MOST_SENT}."},
        "mask": {**FILE, "description": "As in JSON."},
    }
    form = {**edit, "title": "ImageEditForm", "properties": {**fields, **files}, "required": [*required, "image"]}
    schemas["ImageEditForm"] = form


EVENT: Schema = {
    "type": "object",
    "properties": {
        "event": {"enum": [f"{kind}.{name}" for kind in KINDS for name in NAMES] + ["error"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": [ref("ImageEvent"), ref("Error")]},
        },
    },
    "required": ["event", "data"],
    "description": "One server-sent event: up to `partial_images` unfinished pictures, then the finished one with its "
    "usage. `: keep-alive` comments come between. A stream that breaks ends with an error.",
}


def list_paths(parameters: list[Schema], answers: Schema) -> Schema:
    """Generations and edits: what both may be sent, and what both answer."""
    answers["200"]["content"]["application/json"]["example"] = ANSWER
    ref_of = {"ImagesRequest": EXAMPLES, "ImageEdit": EDITS}
    bodies = {
        name: {"application/json": {"schema": ref(name), "examples": examples}} for name, examples in ref_of.items()
    }
    bodies["ImageEdit"]["multipart/form-data"] = {"schema": ref("ImageEditForm")}

    def describe(operation_id: str, summary: str, body: str) -> Schema:
        return {
            "post": {
                "operationId": operation_id,
                "summary": summary,
                "description": HOW,
                "parameters": parameters,
                "requestBody": {"required": True, "content": bodies[body]},
                "responses": answers,
            }
        }

    return {
        "/images/generations": describe("createImages", "Pictures by a prompt, whole or as a stream.", "ImagesRequest"),
        "/images/edits": describe("editImages", "Pictures made of others, whole or as a stream.", "ImageEdit"),
    }
