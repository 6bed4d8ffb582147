"""S3, which is somebody else's work: a server that has buckets, before which the fake only stands."""

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

_NOT_FORWARDED: Final = frozenset({"connection", "host", "transfer-encoding", "keep-alive", "expect"})


class Passed(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Buckets:
    """The buckets of a server at a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Passed:
        """Let a request through as it is."""
        connection = HTTPConnection(self._host, self._port, timeout=30)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}
            connection.request(method, path, body, kept)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as exc:
            return Passed(500, [], f"<Error><Code>InternalError</Code><Message>{exc!r}</Message></Error>".encode())
        finally:
            connection.close()
        dropped = _NOT_FORWARDED | {"content-length", "date", "server"}
        return Passed(answer.status, [one for one in answer.getheaders() if one[0].lower() not in dropped], content)

    def fetch(self, bucket: str, key: str) -> bytes | None:
        """Return an object; None where there is none."""
        answer = self.ask("GET", f"/{bucket}/{quote(key)}", {})
        return answer.body if answer.status == 200 else None
