"""The errors of the fake: what a caller did wrong, in Google's words, and what the fake itself did wrong."""

from typing import Any, Final

_RPC: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class GceError(Exception):
    """A refusal as Google words it: an HTTP status, a reason that programs read, a message for people.

    `by_front` are the errors of Google's common front, which alone carry a `status`.
    """

    def __init__(
        self, code: int, reason: str, message: str, *, domain: str = "global", by_front: bool = False
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.domain = domain
        self.by_front = by_front

    def document(self) -> dict[str, Any]:
        """Return the body of the answer."""
        one = {"message": self.message, "domain": self.domain, "reason": self.reason}
        error: dict[str, Any] = {"code": self.code, "message": self.message, "errors": [one]}
        if self.by_front and self.code in _RPC:
            error["status"] = _RPC[self.code]
        return {"error": error}


class OwnMistake(Exception):
    """A reply that the discovery document does not know. Never the caller's fault."""


def bad_request(message: str) -> GceError:
    return GceError(400, "badRequest", message, by_front=True)


def invalid(field: str, value: object, why: str = "") -> GceError:
    return GceError(400, "invalid", f"Invalid value for field '{field}': '{value}'. {why}".rstrip())


def required(field: str) -> GceError:
    return GceError(400, "required", f"Required field '{field}' not specified")


def not_found(path: str) -> GceError:
    return GceError(404, "notFound", f"The resource '{path}' was not found")


def already_exists(path: str) -> GceError:
    return GceError(409, "alreadyExists", f"The resource '{path}' already exists")


def not_ready(path: str) -> GceError:
    return GceError(400, "resourceNotReady", f"The resource '{path}' is not ready")


def in_use(path: str, by: str) -> GceError:
    return GceError(400, "resourceInUseByAnotherResource", f"The resource '{path}' is already being used by '{by}'")


def unreachable(scope: str) -> GceError:
    return GceError(503, "backendError", f"The scope '{scope}' does not answer. Please try again.")


def too_many_requests(limit: str) -> GceError:
    message = f"Quota exceeded for quota metric '{limit}' and limit '{limit} per minute'. Rate Limit Exceeded"
    return GceError(403, "rateLimitExceeded", message, domain="usageLimits")


def forbidden(permission: str, resource: str) -> GceError:
    return GceError(403, "forbidden", f"Required '{permission}' permission for '{resource}'")
