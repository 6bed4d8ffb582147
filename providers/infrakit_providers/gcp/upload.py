"""One resumable upload to Cloud Storage: sent in parts, and after a lost answer gone on with where it got to.

Source: Cloud Storage documentation, "Perform resumable uploads".
"""

from dataclasses import dataclass
from re import fullmatch
from typing import Any, Final

from infrakit_providers.cloud.repeating import Repeater
from infrakit_providers.gcp.clients import CALL_SECONDS
from infrakit_providers.gcp.faults import translated
from infrakit_py.errors import ProviderError

CHUNK: Final = 8 * 2**20
"""Bytes sent at once: a multiple of 256 KiB, as all parts but the last must be."""
_MORE_TO_COME: Final = 308
_LOST: Final = frozenset({404, 410})
_FIRST_ERROR: Final = 400


class SessionLost(ProviderError):
    """Cloud Storage knows nothing of this upload any more: it must begin anew."""


@dataclass(slots=True)
class Upload:
    """A session at `url`, for an object of `size` bytes. `session` is an HTTP session with credentials."""

    session: Any
    url: str
    size: int
    doing: str
    repeater: Repeater
    _is_sure: bool = True
    """Whether all that was sent was also acknowledged."""

    def send(self, block: bytes, at: int) -> None:
        """Send the bytes from offset `at` on, again where their answer was lost. With the last, the object is there.

        SessionLost where the upload must begin anew. Outdated where an object has come to be there meanwhile.
        """
        self.repeater.repeated(lambda: self._send(block, at))

    def cancel(self) -> None:
        """Drop what was sent. Where that fails, Cloud Storage does it after a week."""
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        try:
            self.session.delete(self.url, timeout=CALL_SECONDS)
        except (RequestException, GoogleAuthError, OSError):
            return

    def _send(self, block: bytes, at: int) -> None:
        end = at + len(block)
        there = at if self._is_sure else self._put(b"", f"bytes */{self.size}")
        while there < end:
            if there < at:
                raise SessionLost(f"gcp: cannot {self.doing}: the upload lost what it had")
            self._is_sure = False
            there = self._put(block[there - at :], f"bytes {there}-{end - 1}/{self.size}")
        self._is_sure = True

    def _put(self, data: bytes, content_range: str) -> int:
        """Return how much of the object has arrived."""
        from google.api_core.exceptions import from_http_response
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        headers = {"Content-Range": content_range}
        try:
            answer = self.session.put(
                self.url, data=data, headers=headers, timeout=CALL_SECONDS, allow_redirects=False
            )
        except (RequestException, GoogleAuthError, OSError) as exc:
            raise translated(exc, self.doing) from exc
        if answer.status_code == _MORE_TO_COME:
            return _arrived(answer.headers.get("Range", ""))
        if answer.status_code in _LOST:
            raise SessionLost(f"gcp: cannot {self.doing}: Cloud Storage does not know this upload any more")
        if answer.status_code >= _FIRST_ERROR:
            raise translated(from_http_response(answer), self.doing)  # type: ignore[no-untyped-call]  # it has no types
        return self.size


def _arrived(written: str) -> int:
    """Read a Range header; without one, nothing has arrived."""
    match = fullmatch(r"bytes=0-(\d+)", written)
    return int(match[1]) + 1 if match else 0
