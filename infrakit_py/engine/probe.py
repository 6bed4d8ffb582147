"""Asking machines whether they are well, from here."""

import errno
import socket

from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.provider import Probing, Provider

_CANNOT_ASK = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EACCES})
"""Errors that speak of this side, not of the machine."""


def probe(provider: Provider, instance: Instance, check: HealthCheck) -> str | None:
    """Return None for a healthy answer, else why not. Raise ProviderError where the check cannot run from here."""
    if isinstance(provider, Probing):
        return provider.probe(instance.id, check)
    if check.tcp is None:
        return None
    if not instance.addresses:
        return "no address yet"
    return _first_answer(instance.addresses, check.tcp, check.timeout_seconds)


def _first_answer(addresses: tuple[str, ...], port: int, timeout_seconds: float) -> str | None:
    failures = []
    for address in addresses:
        try:
            socket.create_connection((address, port), timeout_seconds).close()
        except OSError as exc:
            if exc.errno in _CANNOT_ASK:
                raise ProviderError(f"cannot check {address}:{port} from here: {exc.strerror}") from exc
            failures.append(f"tcp {address}:{port}: {exc.strerror or 'timed out'}")
        else:
            return None
    return "; ".join(failures)
