"""The content of a Responses message: texts, pictures and files."""

from bridge.conversation.turns import Media, Text
from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

SAYS = {"assistant": ("output_text", "refusal", "input_text")}  # by role; all others send input
HEARS = ("input_text", "input_image", "input_file")


def read_parts(content: str | list[JsonObject], place: str, role: str = "user") -> list[Text | Media]:
    """A message's content, or a tool's output, of which blank texts are nothing. Raises InvalidRequest."""
    if isinstance(content, str):
        return [Text(content)]
    return [_read_part(part, f"{place}[{number}]", SAYS.get(role, HEARS)) for number, part in enumerate(content)]


def _read_part(part: JsonObject, place: str, known: tuple[str, ...]) -> Text | Media:
    kind: Json = part.get("type")
    if kind not in known:
        param = f"{place}.type"
        if kind is None:
            raise InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
        message = f"{param}: {str(kind)[:64]!r} has no place here: send {', '.join(known)}."
        raise InvalidRequest(message, param=param, code="invalid_value")
    if kind in ("input_text", "output_text"):
        return Text(_string(part, "text", place))
    if kind == "refusal":
        return Text(_string(part, "refusal", place), refusal=True)
    return _read_image(part, place) if kind == "input_image" else _read_file(part, place)


def _read_image(part: JsonObject, place: str) -> Media:
    if part.get("file_id") is not None and part.get("image_url") is None:
        return Media("image", place, f"{place}.file_id", stored=True)
    url = _string(part, "image_url", place)
    detail = part.get("detail")
    return Media("image", place, f"{place}.image_url", url, detail=detail if isinstance(detail, str) else None)


def _read_file(part: JsonObject, place: str) -> Media:
    if part.get("file_data") is None:
        if part.get("file_url") is not None:
            param = f"{place}.file_url"
            message = f"{param}: files are not fetched here. Send the file itself, as file_data."
            raise InvalidRequest(message, param=param, code="unsupported_parameter")
        if part.get("file_id") is not None:
            return Media("file", place, f"{place}.file_id", stored=True)
    name = part.get("filename")
    data = _string(part, "file_data", place)
    return Media("file", place, f"{place}.file_data", data, name=name if isinstance(name, str) else "")


def _string(part: JsonObject, field: str, place: str) -> str:
    value: Json = part.get(field)
    param = f"{place}.{field}"
    if value is None:
        raise InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a string.", param=param, code="invalid_type")
    return value
