"""EC2's errors as ours. A code that nobody has classified stays a plain ProviderError, or Transient for a 5xx.

Source of the codes: AWS, "Error codes for the Amazon EC2 API", and the services' own lists of common errors.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from infrakit_py.errors import (
    ImageMissing,
    NoCapacity,
    PluginError,
    ProviderError,
    QuotaExceeded,
    Throttled,
    TokenMismatch,
    TokenSpent,
    Transient,
)

THROTTLED: Final = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "EC2ThrottledException",
        "ConcurrentLimitExceededException",
        "SlowDown",
        "TooManyRequestsException",
    }
)
NO_CAPACITY: Final = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientVolumeCapacity",
        "InsufficientFreeAddressesInSubnet",
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        "Unsupported",  # a type that a zone does not have at all is as good as one that it has none left of
    }
)
QUOTA: Final = frozenset(
    {
        "AddressLimitExceeded",
        "InstanceLimitExceeded",
        "MaxIOPSLimitExceeded",
        "MaxSpotFleetRequestCountExceeded",
        "MaxSpotInstanceCountExceeded",
        "NetworkInterfaceLimitExceeded",
        "PendingSnapshotLimitExceeded",
        "ResourceLimitExceeded",
        "ServiceQuotaExceededException",
        "SnapshotLimitExceeded",
        "TooManyTargets",
        "TooManyRegistrationsForTargetId",
        "VcpuLimitExceeded",
        "VolumeLimitExceeded",
    }
)
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_IMAGE: Final = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "ParameterNotFound"})
_TRANSIENT: Final = frozenset(
    {
        "IncorrectInstanceState",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Unavailable",
    }
)
_REFUSED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_IDS: Final = re.compile(r"\bi-[0-9a-f]+\b")
_NO_CREDENTIALS: Final = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)


def code_of(exc: BaseException) -> str:
    """Return the vendor's code of an error, empty for one that has none."""
    response = getattr(exc, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def ids_in(exc: BaseException) -> frozenset[str]:
    """Return the instances that an error names."""
    return frozenset(_IDS.findall(str(exc)))


def translated(exc: Exception, doing: str) -> ProviderError:
    """Return our error for the SDK's. `doing` says what was asked for which thing, as in `terminate i-0123`."""
    code = code_of(exc)
    message = f"aws: cannot {doing}: {' '.join(_said(exc).split())}"
    if not code:
        return _of_the_sdk(exc, message)
    if code in THROTTLED:
        return Throttled(message)
    if code in NO_CAPACITY:
        return NoCapacity(message)
    if code in QUOTA:
        return QuotaExceeded(message, hint="ask AWS for a higher quota (Service Quotas), or need less")
    if code == "IdempotentInstanceTerminated":
        return TokenSpent(message)
    if code == "IdempotentParameterMismatch":
        return TokenMismatch(message)
    if code in _IMAGE:
        return ImageMissing(message)
    if code in _REFUSED:
        return ProviderError(message, hint="infra doctor says what is not allowed, infra iam aws what should be")
    if code in EXPIRED or code in _TRANSIENT or _status(exc) >= 500:
        return Transient(message)
    return ProviderError(message)


def _said(exc: Exception) -> str:
    """Return what the vendor said, and the code by which people look it up."""
    response = getattr(exc, "response", None)
    error = response.get("Error", {}) if isinstance(response, dict) else {}
    return f"{error['Code']}: {error.get('Message', '')}" if error.get("Code") else str(exc)


def _of_the_sdk(exc: Exception, message: str) -> ProviderError:
    from botocore import exceptions, parsers

    if type(exc).__name__ in _NO_CREDENTIALS:
        return ProviderError(message, hint="give credentials as for the AWS command line: profile, environment, role")
    if isinstance(
        exc,
        exceptions.HTTPClientError | exceptions.ConnectionError | exceptions.CredentialRetrievalError
        | parsers.ResponseParserError | exceptions.IncompleteReadError,
    ):  # fmt: skip
        return Transient(message)
    return ProviderError(message)


def _status(exc: Exception) -> int:
    response = getattr(exc, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode", 0))


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Let the SDK's errors leave as ours."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as exc:
        raise translated(exc, doing) from exc


def require_sdk() -> None:
    """Raise PluginError unless boto3 is installed."""
    try:
        import boto3  # noqa: F401  # only whether it is there
    except ImportError as exc:
        raise PluginError(
            f"provider plugin aws: boto3 cannot be loaded: {exc}", hint="pip install 'infrakit-py[aws]'"
        ) from exc
