"""One GET, judged by its status and its body. It follows no redirect, uses no proxy, and is over at its deadline.

What a machine answers may be secret, as may be the headers and the query that are sent to it: no reason quotes them.
"""

import io
import os
import re
import socket
import ssl
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Final, cast

from infrakit_py.engine.probe_network import Deadline, blame, connect, endpoint, resolve
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import HttpCheck

_BODY_LIMIT: Final = 64 * 1024
_ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of head and body together: http.client believes whatever length a machine tells it."""


def ask_http(address: str, check: HttpCheck, timeout_seconds: float) -> str | None:
    """Return None if the answer is what `check` wants, else what is wrong with it.

    NoWay or ProviderError where it cannot be asked for from here.
    """
    what = f"{'https' if check.https else 'http'} {endpoint(address, check.port)}{check.path.partition('?')[0]}"
    targets = resolve(address, check.port)
    name = _certified_name(address, check)
    context = _tls(name, verify=check.verify) if check.https else None
    deadline = Deadline.after(timeout_seconds)
    try:
        with connect(targets, deadline) as plain:
            if context is None:
                wrong = _exchange(plain, address, check, deadline)
            else:
                plain.settimeout(deadline.left())  # OpenSSL's part of CPython counts it for the handshake as a whole
                with context.wrap_socket(plain, server_hostname=name) as wire:
                    wrong = _exchange(wire, address, check, deadline)
    except ssl.SSLCertVerificationError as exc:
        wrong = f"certificate: {exc.verify_message.rstrip('.')}"
    except ssl.SSLError as exc:
        wrong = f"TLS: {(exc.reason or 'failed').lower().replace('_', ' ')}"
    except OSError as exc:
        return blame(what, exc)
    except (HTTPException, ValueError):  # ValueError: http.client does not expect negative lengths
        wrong = "not an HTTP answer"
    return None if wrong is None else f"{what}: {wrong}"


def _exchange(wire: socket.socket, address: str, check: HttpCheck, deadline: Deadline) -> str | None:
    wire.settimeout(deadline.left())
    wire.sendall(_request(address, check))
    with HTTPResponse(cast(socket.socket, _Received(wire, deadline)), method="GET") as response:
        response.begin()
        if not any(first <= response.status <= last for first, last in check.status):
            return f"status {response.status}"
        if not check.body:
            return None
        body = response.read(_BODY_LIMIT).decode(errors="replace")
    return None if re.search(check.body, body, re.MULTILINE) else "the body is not as it should be"


class _Received(io.RawIOBase):
    """What comes over a wire until a deadline, and ends at the limit.

    The socket's own time-out would begin anew with each byte.
    """

    def __init__(self, wire: socket.socket, deadline: Deadline) -> None:
        self._wire = wire
        self._deadline = deadline
        self._bytes_left = _ANSWER_LIMIT

    def makefile(self, mode: str) -> io.BufferedReader:
        """Be what HTTPResponse asks of a socket."""
        del mode
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # called by BufferedReader alone
        self._wire.settimeout(self._deadline.left())
        count = self._wire.recv_into(buffer, min(len(buffer), self._bytes_left)) if self._bytes_left else 0
        self._bytes_left -= count
        return count


def _request(address: str, check: HttpCheck) -> bytes:
    """Make the request. Headers that the user declares take the place of ours."""
    headers = {
        "Host": check.host or _host(address, check),
        "User-Agent": "infrakit-py",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    theirs = {name.lower() for name in check.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in theirs} | {**check.headers}
    lines = [f"GET {check.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def _host(address: str, check: HttpCheck) -> str:
    """Return the authority of the URL: the interface of a link-local address and a default port are no part of it."""
    bare = address.partition("%")[0]
    if check.port != (443 if check.https else 80):
        return endpoint(bare, check.port)
    return f"[{bare}]" if ":" in bare else bare


def _certified_name(address: str, check: HttpCheck) -> str:
    """Return what the certificate must be for: the declared host without its port, or the address."""
    host = check.host
    if not host:
        return address.partition("%")[0]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and name and ":" not in name else host


def _tls(name: str, *, verify: bool) -> ssl.SSLContext:
    """Return how to speak TLS. ProviderError where no certificate can be for `name`, or be checked here."""
    if verify:
        context = _trusting_what_the_system_trusts()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except ValueError as exc:
        raise ProviderError(f"cannot check for a certificate of {name!r}: {exc}") from exc
    return context


def _trusting_what_the_system_trusts() -> ssl.SSLContext:
    places = ssl.get_default_verify_paths()
    try:
        if places.cafile is None and not (places.capath and os.listdir(places.capath)):
            raise ProviderError(
                "cannot check certificates from here: there are no certificate authorities",
                hint="install your system's ca-certificates, or name a file of them in SSL_CERT_FILE",
            )
        changed_at = os.stat(places.cafile).st_mtime_ns if places.cafile else 0
        return _trusting(places.cafile, places.capath, changed_at)
    except OSError as exc:
        raise ProviderError(f"cannot check certificates by {places.cafile or places.capath} here: {exc}") from exc


@lru_cache(maxsize=1)
def _trusting(cafile: str | None, capath: str | None, changed_at: int) -> ssl.SSLContext:
    """Read the authorities once, and again when they changed: it takes longer than many a whole probe."""
    del changed_at
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile, capath)
    return context
