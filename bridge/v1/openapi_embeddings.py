"""What /openapi.json says of embeddings."""

from bridge.dialects.embeddings.request import MOST_INPUTS
from bridge.v1.schemas.blocks import Schema, ref

TOKENS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
TEXT: Schema = {"type": "string", "minLength": 1}
INPUT: Schema = {
    "anyOf": [
        TEXT,
        {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MOST_INPUTS},
        TOKENS,
        {"type": "array", "items": TOKENS, "minItems": 1, "maxItems": MOST_INPUTS},
    ],
    "description": f"A text, or up to {MOST_INPUTS} of them; or tokens in the place of a text, for models of OpenAI's "
    "dialect. Each gets a vector.",
}
FIELDS = {
    "model": "A model that makes embeddings: GET /models says which by their `endpoints`. No other one ever answers "
    "in its place.",
    "encoding_format": "`base64` is little-endian float32, in a quarter of the bytes. Default: numbers.",
    "dimensions": "How many numbers a vector is to have, where the model has a choice.",
    "user": "Your own customer, in at most 256 characters. Usage can be grouped by it; providers get a hash of it.",
}
EXAMPLES: Schema = {
    "one": {"summary": "A text", "value": {"model": "text-embedding-3-small", "input": "A harbour at night"}},
    "several": {
        "summary": "Several texts, as shorter vectors",
        "value": {
            "model": "text-embedding-3-small",
            "input": ["A harbour at night", "A quiet street"],
            "dimensions": 256,
            "encoding_format": "base64",
        },
    },
}
ANSWER: Schema = {
    "id": "embd-01893b5ac0f07c3a9b1f0d2e4a6c8b0d",
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 4, "total_tokens": 4, "cost": 0.00000008},
}


def describe_request(schemas: Schema) -> None:
    """Say what the type leaves open."""
    properties = schemas["EmbeddingsRequest"]["properties"]
    properties["input"] = dict(INPUT)
    for field, description in FIELDS.items():
        properties[field]["description"] = description


def operation(parameters: list[Schema], answers: Schema) -> Schema:
    """What embeddings may be sent, and what they answer."""
    answers["200"]["content"]["application/json"]["example"] = ANSWER
    content = {"application/json": {"schema": ref("EmbeddingsRequest"), "examples": EXAMPLES}}
    return {
        "operationId": "createEmbeddings",
        "summary": "A vector for each input.",
        "description": "Only the tokens of the inputs are charged. Another channel of the same model may answer, "
        "another model never: vectors of different models can't be compared.",
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }
