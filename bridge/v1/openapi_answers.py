"""What /openapi.json says of every operation's answers: its refusals and its headers."""

from bridge.v1 import openapi_messages as messages
from bridge.v1.schemas.blocks import Schema, amount, count, ref, string

REFUSALS: dict[str, tuple[str, tuple[str, str, str, str | None]]] = {
    "400": (
        "The request is wrong; `param` names the field.",
        ("invalid_request_error", "missing_required_parameter", "messages is required.", "messages"),
    ),
    "401": (
        "The API key is missing or invalid.",
        ("authentication_error", "invalid_api_key", "This API key is not valid.", None),
    ),
    "402": (
        "The balance, the key's budget (`key_budget_exceeded`), or what the operator lets the "
        "account spend a day (`spend_limit_exceeded`), does not cover the most that this can cost, or it "
        "is more than `x-bridge-max-cost` allows (`max_cost_exceeded`). Where running requests hold what is missing, "
        "the message says so, with `Retry-After` and `x-should-retry: true`; otherwise asking again is in vain.",
        (
            "billing_error",
            "insufficient_balance",
            "Insufficient credits: this answer can cost $0.03, and $0.01 is available. Add credit, or ask with "
            "max_tokens of at most 812.",
            None,
        ),
    ),
    "403": (
        "`model_not_allowed`, `ip_not_allowed` or `account_suspended`.",
        ("permission_error", "model_not_allowed", "This API key may not use gpt-4o.", "model"),
    ),
    "404": (
        "There is no such model (`model_not_found`) or request (`not_found`).",
        ("invalid_request_error", "not_found", "There is no such request.", None),
    ),
    "409": (
        "The first request with this Idempotency-Key is still running.",
        (
            "invalid_request_error",
            "idempotency_conflict",
            "The first request with this Idempotency-Key is still running.",
            "Idempotency-Key",
        ),
    ),
    "422": (
        "This Idempotency-Key was used with another body.",
        (
            "invalid_request_error",
            "idempotency_mismatch",
            "This Idempotency-Key was used with another body. Use a new key for a new request.",
            "Idempotency-Key",
        ),
    ),
    "413": (
        "The body is too large.",
        ("invalid_request_error", "request_too_large", "The body is larger than 33554432 bytes.", None),
    ),
    "415": (
        "The body is not JSON.",
        ("invalid_request_error", "unsupported_media_type", "Send the body as JSON.", None),
    ),
    "429": (
        "RPM, TPM or concurrency limit reached. `Retry-After` is when the window has room. When one of the concurrent "
        "requests ends nobody knows: there it is an estimate, as long as they have run on average, divided by how many "
        "they are, at least 1 and at most 30 seconds.",
        ("rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded: 10 RPM", None),
    ),
    "503": (
        "All upstream channels failed (`upstream_error`), or the gateway is `overloaded` or without its database "
        "(`service_unavailable`). Nothing was charged.",
        ("api_error", "upstream_error", "All upstream channels for gpt-4o failed. You were not charged.", None),
    ),
}
MOMENT = string("A duration in OpenAI's format: 6m0s, 1.5s, 120ms.", pattern=r"^(\d+h)?(\d+m)?(\d+(\.\d+)?s|\d+ms)?$")
HEADERS: Schema = {
    "x-request-id": {"required": True, "schema": string("Our id of the request: GET /requests/{id}.", pattern="^req_")},
    "request-id": {"required": True, "schema": string("The same, by Anthropic's name.", pattern="^req_")},
    "x-bridge-cost": {"required": True, "schema": amount("What was charged, in dollars. A stream's usage has it.")},
    "x-bridge-attempts": {
        "required": True,
        "schema": count("How many upstream attempts it took; 0 where none was asked."),
    },
    "x-bridge-dropped": {
        "schema": string(
            "Fields that the provider has no equal for, or that may not go to one.", example="logit_bias, seed"
        )
    },
    "x-bridge-clamped": {
        "schema": string("Values brought into range; a cap below the model's own.", example="temperature=1")
    },
    "retry-after": {"required": True, "schema": count("Seconds until a request can succeed.")},
    "retry-after-ms": {"required": True, "schema": count("The same in milliseconds.")},
    "x-should-retry": {
        "schema": {
            "enum": ["true", "false"],
            "description": "false where a retry can't help; true on a 402 where it does.",
        }
    },
}
for _of in ("requests", "tokens"):
    HEADERS |= {
        f"x-ratelimit-limit-{_of}": {"schema": count(f"{_of.capitalize()} a minute, where the key has such a limit.")},
        f"x-ratelimit-remaining-{_of}": {"schema": count("What is left of them.")},
        f"x-ratelimit-reset-{_of}": {"schema": MOMENT},
    }
for _of in ("requests", "tokens", "input-tokens", "output-tokens"):
    HEADERS |= {
        f"anthropic-ratelimit-{_of}-limit": {"schema": count(f"The key's limit of {_of}, as Anthropic names it.")},
        f"anthropic-ratelimit-{_of}-remaining": {"schema": count("What is left of them.")},
        f"anthropic-ratelimit-{_of}-reset": {"schema": {**string("When all are left again."), "format": "date-time"}},
    }
FOR_ANTHROPIC = tuple(name for name in HEADERS if name.startswith("anthropic-ratelimit-"))
EVERYWHERE = ("x-request-id", *(name for name in HEADERS if name.startswith("x-ratelimit-")))
READING = ("401", "403", "429", "503")


def list_answers(name: str, *codes: str, error: str = "Error") -> Schema:
    """The answer of this schema, and the refusals with these statuses, each in the shape of `error`."""
    always = EVERYWHERE if error == "Error" else (*EVERYWHERE, *FOR_ANTHROPIC)
    found: Schema = {
        "200": {
            "description": "The answer.",
            "headers": refer_to_headers(*always),
            "content": {"application/json": {"schema": ref(name)}},
        }
    }
    for code in codes:
        description, (type_, error_code, message, param) = REFUSALS[code]
        example: Schema = {"error": {"code": error_code, "message": message, "type": type_, "param": param}}
        if error != "Error":
            example = messages.error_example(code, message)
        retry = ("retry-after", "retry-after-ms") if code in ("429", "503") else ()
        found[code] = {
            "description": description,
            "headers": refer_to_headers(*always, *retry, "x-should-retry", "x-bridge-attempts"),
            "content": {"application/json": {"schema": ref(error), "example": example}},
        }
    return found


def add_overload(answers: Schema) -> Schema:
    """Answers of which our own overload has Anthropic's status."""
    answers["529"] = list_answers("Message", "503", error="MessagesError")["503"]
    answers["529"]["description"] = "The gateway is overloaded. Nothing was charged."
    example = messages.error_example("529", "The gateway is at its limit of requests at once.")
    answers["529"]["content"]["application/json"]["example"] = example
    return answers


def refer_to_headers(*names: str) -> Schema:
    """Headers that are described once, by their names."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def describe_header(name: str, schema: Schema, example: str) -> Schema:
    """A header that a request may have."""
    return {"name": name, "in": "header", "required": False, "schema": schema, "example": example}
