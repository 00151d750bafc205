"""The error tree, and its one rendering as OpenAI's JSON.

BridgeError
├── InvalidRequest 400 ── ContextLengthExceeded
├── InvalidApiKey 401
├── InsufficientBalance 402 ── KeyBudgetExceeded, SpendLimitExceeded, MaxCostExceeded
├── PermissionDenied 403 ── ModelNotAllowed, AddressNotAllowed, AccountSuspended, RoleRefused
├── NotFound 404 ── ModelNotFound
├── MethodNotAllowed 405, RequestTooLarge 413, UnsupportedMediaType 415
├── IdempotencyConflict 409, IdempotencyMismatch 422
├── RateLimitExceeded 429
└── Unavailable 503 ── UpstreamError, Overloaded, ServiceUnavailable
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

ERROR_TYPES = (
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "billing_error",
    "api_error",
)


class MisconfiguredError(Exception):
    """The gateway can't start with these settings; `problems` says everything that is wrong with them."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems))
        self.problems = problems


class BridgeError(Exception):
    """An error that a client sees. `retry_after_seconds` becomes the header; `retryable` becomes x-should-retry."""

    status = 500
    type = "api_error"
    code = "internal_error"
    retryable: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        if code:
            self.code = code

    def body(self) -> bytes:
        """The error as OpenAI's JSON."""
        return error_body(self.message, self.type, self.code, self.param)

    def headers(self) -> list[tuple[str, str]]:
        """Retry-After in whole seconds, rounded up so that a client that obeys it succeeds, and x-should-retry."""
        found = []
        if self.retry_after_seconds is not None:
            found.append(("Retry-After", str(max(1, math.ceil(self.retry_after_seconds)))))
            found.append(("retry-after-ms", str(max(1, math.ceil(self.retry_after_seconds * 1000)))))
        if self.retryable is not None:
            found.append(("x-should-retry", "true" if self.retryable else "false"))
        return found


def error_body(message: str, type_: str, code: str, param: str | None = None) -> bytes:
    """`{"error": {…}}` as bytes."""
    return msgspec.json.encode(Error(ErrorDetail(code, message, type_, param)))


class ErrorDetail(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(description="What went wrong, for a program.", examples=["insufficient_balance"])]
    message: Annotated[str, msgspec.Meta(description="What went wrong and what helps, for a person.")]
    type: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(ERROR_TYPES)})]
    param: Annotated[str, msgspec.Meta(description="The field at fault.", examples=["messages[2].content"])] | None


class Error(msgspec.Struct, forbid_unknown_fields=True):
    error: ErrorDetail


class InvalidRequest(BridgeError):
    status, type, code, retryable = 400, "invalid_request_error", "invalid_request_error", False


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class InvalidApiKey(BridgeError):
    status, type, code, retryable = 401, "authentication_error", "invalid_api_key", False


class InsufficientBalance(BridgeError):
    status, type, code, retryable = 402, "billing_error", "insufficient_balance", False


class KeyBudgetExceeded(InsufficientBalance):
    code = "key_budget_exceeded"


class SpendLimitExceeded(InsufficientBalance):
    code = "spend_limit_exceeded"


class MaxCostExceeded(InsufficientBalance):
    code = "max_cost_exceeded"


class PermissionDenied(BridgeError):
    status, type, code, retryable = 403, "permission_error", "permission_denied", False


class ModelNotAllowed(PermissionDenied):
    code = "model_not_allowed"


class AddressNotAllowed(PermissionDenied):
    code = "ip_not_allowed"


class AccountSuspended(PermissionDenied):
    code = "account_suspended"


class RoleRefused(PermissionDenied):
    code = "role_refused"


class ViewOnly(PermissionDenied):
    code = "view_only"


class NotFound(BridgeError):
    status, type, code, retryable = 404, "invalid_request_error", "not_found", False


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(BridgeError):
    status, type, code, retryable = 405, "invalid_request_error", "method_not_allowed", False


class IdempotencyConflict(BridgeError):
    status, type, code = 409, "invalid_request_error", "idempotency_conflict"


class IdempotencyMismatch(BridgeError):
    status, type, code, retryable = 422, "invalid_request_error", "idempotency_mismatch", False


class RequestTooLarge(BridgeError):
    status, type, code, retryable = 413, "invalid_request_error", "request_too_large", False


class UnsupportedMediaType(BridgeError):
    status, type, code, retryable = 415, "invalid_request_error", "unsupported_media_type", False


class RateLimitExceeded(BridgeError):
    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"
    windows: Mapping[str, Any] = {}  # the limits' windows, for the headers


class Unavailable(BridgeError):
    status, type, code = 503, "api_error", "service_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float = 2, **more: str | None):
        super().__init__(message, retry_after_seconds=retry_after_seconds, **more)


class UpstreamError(Unavailable):
    code = "upstream_error"


class Overloaded(Unavailable):
    code = "overloaded"


class ServiceUnavailable(Unavailable):
    code = "service_unavailable"
