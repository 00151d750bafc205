"""JSON as it came in or goes out: values of which no type of ours says more."""

from typing import Any

Json = Any  # whatever a JSON text can hold
JsonObject = dict[str, Any]
