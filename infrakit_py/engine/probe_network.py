"""Reaching a machine over the network within a deadline, and telling its failures from our own."""

import errno
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that speak of this side, whatever the address."""
_NO_WAY: Final = frozenset({
    errno.ENETUNREACH, errno.ENETDOWN,
    errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL,  # no IPv6 here, or no free port
    errno.EACCES, errno.EPERM,  # this machine's own firewall
    errno.EINVAL,  # a link-local address without its interface
})  # fmt: skip
"""Errors that speak of this side and this address. A silent neighbour (EHOSTUNREACH) is none: it may be dead."""

_Place: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Target: TypeAlias = tuple[socket.AddressFamily, _Place]
"""An address family and an address of it, as getaddrinfo gives them."""


class NoWay(ProviderError):
    """An address that cannot be asked from here, while another one of the machine may be."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an exchange with the outside must be over. It is real time: no other passes out there."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError if there are none."""
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


def at_any_address(instance: Instance, check: str, ask: Callable[[str], str | None]) -> str | None:
    """Ask at each address until one is well. Return None, or what is wrong at those that could be asked.

    ProviderError where none of them could be.
    """
    if not instance.addresses:
        return f"{check}: no address yet"
    wrong: list[str] = []
    unasked: list[str] = []
    for address in instance.addresses:
        try:
            answer = ask(address)
        except NoWay as exc:
            unasked.append(str(exc))
            continue
        if answer is None:
            return None
        wrong.append(answer)
    if not wrong:
        raise ProviderError("; ".join(unasked))
    return "; ".join(wrong)


def ask_tcp(address: str, port: int, timeout_seconds: float) -> str | None:
    """Return None if the port accepts a connection, else why not. NoWay or ProviderError as `blame` has it."""
    targets = resolve(address, port)
    try:
        connect(targets, Deadline.after(timeout_seconds)).close()
    except OSError as exc:
        return blame(f"tcp {endpoint(address, port)}", exc)
    return None


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def resolve(address: str, port: int) -> Sequence[Target]:
    """Return where to connect to; a name may stand for several places. NoWay if nobody here knows it.

    A name (machines have few) is looked up at the resolver's own pace, which nobody can cut short.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise NoWay(f"cannot resolve {address} here: {getattr(exc, 'strerror', None) or 'not a name'}") from exc
    return [(family, place) for family, _, _, _, place in found]


def connect(targets: Sequence[Target], deadline: Deadline) -> socket.socket:
    """Connect to the first target that accepts, else raise the OSError of the last."""
    for family, place in targets[:-1]:
        try:
            return _connected(family, place, deadline)
        except OSError:
            continue
    return _connected(*targets[-1], deadline)


def _connected(family: socket.AddressFamily, place: _Place, deadline: Deadline) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(deadline.left())
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def blame(what: str, exc: OSError) -> str:
    """Return in words how the machine failed. Raise where this side did: NoWay, or ProviderError for any address."""
    if exc.errno in _NO_WAY:
        raise NoWay(f"cannot ask {what} from here: {exc.strerror}") from exc
    if exc.errno in _EXHAUSTED:
        raise ProviderError(f"cannot ask {what} from here: {exc.strerror}") from exc
    return f"{what}: {'timed out' if isinstance(exc, TimeoutError) else exc.strerror or exc}"
