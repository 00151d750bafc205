"""Parts of the document that are not bodies: schemas of headers and parameters, and functions that combine schemas."""

from typing import Annotated

import msgspec

from bridge.json_types import JsonObject
from bridge.v1.schemas.facts import dollars, text, whole

Schema = JsonObject


def string(description: str, *, pattern: str | None = None, example: str | None = None) -> Schema:
    return msgspec.json.schema(Annotated[str, text(description, pattern=pattern, example=example)])


def count(description: str) -> Schema:
    return msgspec.json.schema(Annotated[int, whole(description)])


def amount(description: str) -> Schema:
    return msgspec.json.schema(Annotated[str, dollars(description)])


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
