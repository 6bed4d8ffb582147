"""libvirt's errors as ours. Codes that nobody has classified stay plain ProviderErrors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from infrakit_py.errors import NoCapacity, PluginError, ProviderError, Transient

# Numbers of libvirt's public ABI, so that this module can be read without the library.
FROM_RPC: Final = 7
NO_SUPPORT, INVALID_ARG, NO_DOMAIN = 3, 8, 42
NO_NETWORK, NO_STORAGE_POOL, NO_STORAGE_VOL, OPERATION_INVALID = 43, 49, 50, 55
STORAGE_VOL_EXIST = 90
_RPC, _OPERATION_TIMEOUT, _AGENT_UNRESPONSIVE, _RESOURCE_BUSY = 39, 68, 86, 87

POOL_BUSY: Final = "asynchronous jobs running"
_LOST_CONNECTION: Final = (
    "socket is closed",
    "keepalive timeout",
    "cannot recv data",
    "cannot write data",
    "broken pipe",
)
_IN_USE: Final = ("still being allocated", "still in use")
_BUSY: Final = (POOL_BUSY, *_IN_USE)
_REFUSED: Final = ("permission denied", "authentication", "host key verification", "certificate")
_OUT_OF_RESOURCES: Final = ("cannot allocate memory", "no space left on device")


def is_missing(exc: Exception) -> bool:
    """Tell whether libvirt said that the very thing asked for does not exist."""
    return code_of(exc) in (NO_DOMAIN, NO_NETWORK, NO_STORAGE_POOL, NO_STORAGE_VOL)


def is_in_use(exc: BaseException) -> bool:
    """Tell whether libvirt said that another is writing to the volume at this moment."""
    import libvirt

    return isinstance(exc, libvirt.libvirtError) and any(phrase in str(exc).lower() for phrase in _IN_USE)


def code_of(exc: Exception) -> int:
    """Return libvirt's code of an error, -1 for one that is not libvirt's."""
    get = getattr(exc, "get_error_code", None)
    return int(get() or -1) if get is not None else -1


def translated(exc: Exception, doing: str) -> ProviderError:
    """Return our error for libvirt's. `doing` says what was asked for which thing, as in `start web.0`."""
    text = " ".join(str(exc).split())
    message = f"libvirt: cannot {doing}: {text}"
    lowered = text.lower()
    if _is_transient(exc, lowered):
        return Transient(message)
    if any(phrase in lowered for phrase in _OUT_OF_RESOURCES):
        return NoCapacity(message)
    return ProviderError(message)


def _is_transient(exc: Exception, text: str) -> bool:
    get_domain = getattr(exc, "get_error_domain", None)
    if get_domain is not None and get_domain() == FROM_RPC:
        return not any(phrase in text for phrase in _REFUSED)
    if code_of(exc) in (_RPC, _OPERATION_TIMEOUT, _AGENT_UNRESPONSIVE, _RESOURCE_BUSY):
        return True
    return any(phrase in text for phrase in (*_LOST_CONNECTION, *_BUSY))


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Let libvirt's errors leave as ours."""
    import libvirt

    try:
        yield
    except libvirt.libvirtError as exc:
        raise translated(exc, doing) from exc


def require_sdk() -> None:
    """Raise PluginError unless the libvirt bindings are installed."""
    try:
        import libvirt  # noqa: F401  # only whether it is there
    except ImportError as exc:
        raise PluginError(
            f"provider plugin libvirt: the libvirt bindings cannot be loaded: {exc}",
            hint="pip install 'infrakit-py[libvirt]' (it needs libvirt-dev, pkg-config and a C compiler)",
        ) from exc
