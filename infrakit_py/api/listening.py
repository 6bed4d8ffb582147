"""Where the API listens, and with which certificate; and, in words, what is wrong with that."""

import errno
import socket
import ssl
from typing import Final

from infrakit_py.errors import InfrakitError
from infrakit_py.model.controller import ApiAddress

BACKLOG: Final = 256
_DEAD_SECONDS: Final = 60
"""After how long without a sign of life a connection is given up."""


def server_tls(settings: ApiAddress) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = new_tls()
    load_certificate(context, settings)
    return context


def new_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_certificate(context: ssl.SSLContext, settings: ApiAddress) -> None:
    if settings.tls_cert is None:
        return
    where = f"API: certificate {settings.tls_cert}, key {settings.tls_key}"
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except ssl.SSLError as exc:
        reason = (exc.reason or "they are no PEM, or damaged").lower().replace("_", " ")
        raise InfrakitError(f"{where}: {reason}", hint="both in PEM, the key of this certificate") from exc
    except (OSError, ValueError) as exc:
        raise InfrakitError(f"{where}: {getattr(exc, 'strerror', None) or exc}") from exc


def _no_password() -> str:
    """A controller has nobody to ask; and OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted, and nobody can be asked for its password")


def listen(settings: ApiAddress) -> socket.socket:
    where = f"API {settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        both = family is socket.AF_INET6 and settings.host == "::"
        listening = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as exc:
        raise InfrakitError(f"{where}: cannot be listened at: {exc.strerror or exc}", hint=_hint(exc)) from exc
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit these
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_SECONDS * 1000)
    return listening


def _hint(error: OSError) -> str | None:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there: stop it, or choose another port (0 takes any free one)"
        case errno.EACCES:
            return "ports below 1024 are for root: choose another one"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return None


def url_of(settings: ApiAddress, listening: socket.socket) -> str:
    """Return by which URL this machine, at least, reaches the server."""
    scheme = "https" if settings.tls_cert is not None else "http"
    host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host
    port: int = listening.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
