"""What the schemas of /openapi.json are put together from."""

from typing import Any

Schema = dict[str, Any]


def obj(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object that has all of these properties but the optional ones, and may have others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


def whole(description: str = "") -> Schema:
    return {"type": "integer", "minimum": 0, **({"description": description} if description else {})}


def dollars(description: str = "Dollars, a plain decimal of at most nine places.", places: int = 9) -> Schema:
    return text(description, pattern=rf"^-?\d+(\.\d{{1,{places}}})?$", examples=["0.000045"])
