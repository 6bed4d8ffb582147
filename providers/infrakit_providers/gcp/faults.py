"""Compute Engine's errors as ours. A reason that nobody has classified is a ProviderError, or Transient for a 5xx.

Errors come in two ways: as the answer to a call, and as the end of an operation that was accepted before. Source of
the reasons: Compute Engine documentation, "Troubleshooting VM creation", "Resource availability errors" and others.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from infrakit_py.errors import (
    ImageMissing,
    NoCapacity,
    PluginError,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Transient,
)

_THROTTLED: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_NO_CAPACITY: Final = frozenset(
    {
        "RESOURCE_POOL_EXHAUSTED",
        "RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "VM_MIN_COUNT_NOT_REACHED",
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "IP_SPACE_EXHAUSTED",
        "insufficientCapacity",
        "IP_SPACE_EXHAUSTED_WITH_DETAILS",
        "resourcesExhausted",
        "stockout",
    }
)
_QUOTA: Final = frozenset({"QUOTA_EXCEEDED", "limitExceeded", "quotaExceeded", "QUOTA_LIMIT_EXCEEDED"})
_TRANSIENT: Final = frozenset(
    {
        "INTERNAL_ERROR",
        "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
        "RESOURCE_NOT_READY",
        "RESOURCE_OPERATION_RATE_EXCEEDED",
        "backendError",
        "internalError",
        "resourceInUseByAnotherResource",
        "resourceNotReady",
    }
)
_REFUSED: Final = frozenset(
    {"accessNotConfigured", "authError", "forbidden", "PERMISSIONS_ERROR", "SERVICE_DISABLED"}
)
_TYPE_MISSING: Final = re.compile(
    r"machineTypes?\b.*(does not exist|not found|not available|not supported)", re.I | re.S
)
_IMAGE_MISSING: Final = re.compile(r"/images/[^'\s]*'?.*((not|cannot be) found|does not exist)", re.I | re.S)
_ECHO: Final = re.compile(r"(Invalid value for field '[^']*metadata[^']*': )'.*'", re.I | re.S)
"""Compute Engine repeats what it refuses; metadata holds user data, which is shown nowhere."""
_SDK: Final = (("google-cloud-compute", "google.cloud.compute_v1"), ("google-cloud-storage", "google.cloud.storage"))
_TAKEN: Final = 409
_ABSENT: Final = 404
_OUTDATED: Final = 412
_TOO_MANY: Final = 429
_BROKEN: Final = 500


class AlreadyThere(ProviderError):
    """There is something of that name: look again. The same call would be refused in the same way."""

    retryable = True


class NotThere(ProviderError):
    """There is nothing of that name."""


IMAGE_GONE: Final = (NotThere, ImageMissing)
"""What it means that an image is not there, when nobody wants to boot from it."""


class Outdated(ProviderError):
    """Somebody else changed it meanwhile: look again, its fingerprint is another one now."""

    retryable = True


def classified(reason: str, status: int, said: str, message: str) -> ProviderError:
    """Return our error for a reason, an HTTP status (0: none) and what the vendor said, which the message repeats."""
    if reason in _THROTTLED or status == _TOO_MANY:
        return Throttled(message)
    if reason in _NO_CAPACITY:
        return NoCapacity(message)
    if reason in _QUOTA:
        return QuotaExceeded(message, hint="ask Google for a higher quota (IAM & Admin, Quotas), or need less")
    if status == _TAKEN or reason in ("alreadyExists", "RESOURCE_ALREADY_EXISTS"):
        return AlreadyThere(message)
    if _TYPE_MISSING.search(said):
        return NoCapacity(message)  # a type that a zone never has is as good as one that it has none left of
    if _IMAGE_MISSING.search(said):
        return ImageMissing(message)
    if status == _ABSENT or reason in ("notFound", "RESOURCE_NOT_FOUND"):
        return NotThere(message)
    if status == _OUTDATED:
        return Outdated(message)
    if reason in _TRANSIENT or status >= _BROKEN:
        return Transient(message)
    if reason in _REFUSED:
        return ProviderError(message, hint="infra doctor says what is not allowed, infra iam gcp what should be")
    return ProviderError(message)


def translated(exc: Exception, doing: str) -> ProviderError:
    """Return our error for the SDK's. `doing` says what was asked for which thing, as in `delete web-0`."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth import exceptions as auth
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # it has no types
    from requests.exceptions import RequestException

    if isinstance(exc, GoogleAPICallError):
        reason, said = _said(exc)
        return classified(reason, int(exc.code or 0), said, f"gcp: cannot {doing}: {said}")
    message = f"gcp: cannot {doing}: {' '.join(str(exc).split())}"
    if isinstance(exc, auth.DefaultCredentialsError):
        hint = "give Application Default Credentials: gcloud auth application-default login, or a key file"
        return ProviderError(message, hint=hint)
    if isinstance(exc, auth.TransportError):
        return Transient(message)
    if isinstance(exc, auth.GoogleAuthError):
        if getattr(exc, "retryable", False):
            return Transient(message)
        return ProviderError(message, hint="the credentials do not work (any more): get new ones")
    if isinstance(exc, RequestException | OSError | ParseError):
        return Transient(message)
    return ProviderError(message)


def of_operation(errors: Sequence[tuple[str, str]], status: int, doing: str) -> ProviderError:
    """Return our error for an operation that was accepted and failed. The first of its errors says what it was."""
    code, said = errors[0] if errors else ("", f"HTTP {status}")
    said = _without_secrets(said)
    return classified(code, status, said, f"gcp: cannot {doing}: {f'{code}: ' if code else ''}{said}")


def _said(exc: Any) -> tuple[str, str]:
    """Return the reason by which people look an error up, and the vendor's words."""
    first = next((error for error in exc.errors or () if isinstance(error, dict)), {})
    reason = str(first.get("reason") or exc.reason or "")
    words = _without_secrets(str(first.get("message") or exc.message))
    return reason, f"{reason}: {words}" if reason else words


def _without_secrets(said: str) -> str:
    return " ".join(_ECHO.sub(r"\1'...'", said).split())


def require_sdk(*, storage: bool) -> None:
    """Raise PluginError unless Google's libraries are installed. They are not imported: that takes a second.

    `storage`: Cloud Storage's is needed, too.
    """
    from importlib.util import find_spec

    for package, module in _SDK[: 2 if storage else 1]:
        try:
            found = find_spec(module)
        except ImportError:
            found = None
        if found is None:
            raise PluginError(
                f"provider plugin gcp: {package} is not installed", hint="pip install 'infrakit-py[gcp]'"
            )
