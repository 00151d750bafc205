"""Bodies that come as fields and files."""

from bridge.errors import InvalidRequest
from bridge.multipart import MULTIPART, MalformedForm, Part, find_boundary, read_parts
from bridge.turns import by_size
from bridge.v1.visit import Visit


def is_form(visit: Visit) -> bool:
    """Whether the body is one."""
    return visit.header("CONTENT_TYPE").partition(";")[0].strip().lower() == MULTIPART


def read_parts_of(visit: Visit, data: bytes, most_parts: int) -> list[Part]:
    """Its parts. Raises InvalidRequest (`invalid_form`)."""
    try:
        return by_size(len(data), read_parts, data, find_boundary(visit.header("CONTENT_TYPE")), most_parts)
    except MalformedForm as error:
        raise InvalidRequest(f"The body is no multipart/form-data: {error}.", code="invalid_form") from None


def forget_boundary(visit: Visit, data: bytes) -> bytes:
    """The body as it says the same whatever its boundary is: clients that ask again choose another one."""
    if not is_form(visit):
        return data
    return by_size(len(data), data.replace, find_boundary(visit.header("CONTENT_TYPE")), b"")
