"""Where a controller is reached and what it is shown: checked before anything is sent anywhere."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infrakit_py.errors import UsageError

_LOCALHOST: Final = "localhost"
_EXAMPLE: Final = "write it as https://infra.example.com:7180"
_LONGEST_TOKEN: Final = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a controller's API, the token that it is shown, and who must have signed its certificate.

    Without a `ca_file` the machine's own authorities count. The token is in no text of this.
    """

    url: str
    token: str = field(default="", repr=False)
    ca_file: Path | None = None

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.url).hostname or "")


def address(url: str, *, token: str = "", ca_file: Path | None = None) -> Address:
    """Check what a user wrote. UsageError for what is no address, or would give the token to whoever listens."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise UsageError(f"the server's address is no URL: {exc}", hint=_EXAMPLE) from exc
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("the server's address must begin with http:// or https:// and a host", hint=_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"the address of server {host} holds a user or a password, which process lists would show",
            hint="give the token by --token-file or INFRAKIT_TOKEN",
        )
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            f"the address of server {host} may hold nothing but a host, a port and a path", hint=_EXAMPLE
        )
    found = Address(url.rstrip("/"), _checked(token), ca_file)
    if token and not found.is_secure and not found.is_loopback:
        raise UsageError(
            f"{found.url}: a token goes by https only, or it could be read on its way",
            hint="use https, or reach it by a tunnel to a port of this machine (ssh -L)",
        )
    if ca_file is not None and not found.is_secure:
        raise UsageError(f"{found.url}: certificates are for https only", hint="use https, or leave --ca out")
    return found


def read_token(file: Path) -> str:
    """Return the token that a file holds. UsageError where it holds none, or more than that."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_TOKEN + 1)
        words = content.decode().split()
    except UnicodeDecodeError as exc:
        raise UsageError(f"{file} holds no token: it is not text") from exc
    except OSError as exc:
        raise UsageError(f"{file} cannot be read: {exc.strerror or exc}") from exc
    if len(words) != 1:
        raise UsageError(f"{file} must hold one word, the token, and holds {len(words)}")
    return _checked(words[0])


def _checked(token: str) -> str:
    """Refuse what would break the request's header. The token itself is not shown."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("the token must be one word of ASCII text")
    if len(token) > _LONGEST_TOKEN:
        raise UsageError(f"the token is longer than {_LONGEST_TOKEN} characters")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == _LOCALHOST or host.endswith(f".{_LOCALHOST}")
