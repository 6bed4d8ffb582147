"""Values as they lie in etcd: JSON as everywhere, made small where it is long. Pure."""

import zlib
from typing import Final, TypeVar

from infrakit_py.errors import StoreError
from infrakit_py.stores.codec import Unreadable, read_value, value_json
from infrakit_py.stores.etcd_wire import Found

T = TypeVar("T")

_LONG_BYTES: Final = 4096
_MOST_BYTES: Final = 1_000_000
"""Of what etcd takes at once by default (1.5 MiB)."""
_SMALL: Final = b"z"
"""What a value that was made small begins with. No JSON begins so."""


def packed(text: str, what: str) -> bytes:
    """Return a text as a value. StoreError where it is too large for etcd; `what` says what it is."""
    content = text.encode("utf-8", errors="surrogatepass")
    if len(content) > _LONG_BYTES or content.startswith(_SMALL):
        content = _SMALL + zlib.compress(content)
    if len(content) > _MOST_BYTES:
        raise StoreError(
            f"{what} is too large for etcd: {len(content)} bytes, of {_MOST_BYTES} at most",
            hint="split the cluster, or let machines fetch what their user data holds",
        )
    return content


def unpacked(content: bytes) -> str:
    """Return the text of a value. Unreadable for what is damaged."""
    try:
        if content.startswith(_SMALL):
            content = zlib.decompress(content[len(_SMALL) :])
        return content.decode("utf-8", errors="surrogatepass")
    except (zlib.error, UnicodeDecodeError) as exc:
        raise Unreadable(f"damaged: {exc}") from exc


def packed_value(value: object, what: str) -> bytes:
    return packed(value_json(value), what)


def read_packed(kind: type[T], content: bytes) -> T:
    """Return the value of a dataclass. Unreadable for anything else."""
    return read_value(kind, unpacked(content))


def required(kind: type[T], found: Found) -> T:
    """Return the value of a dataclass. StoreError where it cannot be read: guessing would be worse."""
    try:
        return read_packed(kind, found.value)
    except Unreadable as exc:
        raise StoreError(
            f"etcd: {found.key} cannot be read: {exc}", hint="a newer release may have written it"
        ) from exc
