"""The bucket through which disks come to Compute Engine: what lies in it, and how a disk gets there.

An upload that is cut off is known by its session's URL alone, which this process forgets with everything else.
Whoever comes next begins anew, and Cloud Storage drops the session after a week ("Resumable uploads").
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import structlog

from infrakit_providers.cloud.repeating import Repeater
from infrakit_providers.gcp.clients import CALL_SECONDS, Clients
from infrakit_providers.gcp.faults import NotThere, Outdated, translated
from infrakit_providers.gcp.upload import CHUNK, SessionLost, Upload
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.spec import ImageFile
from infrakit_py.spi.provider import Now

T = TypeVar("T")
Progress = Callable[[int], None]
"""Is told how many bytes have arrived."""

_ATTEMPTS: Final = 4
_LISTED: Final = "items(name,size,md5Hash,generation,timeCreated),nextPageToken"
_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was last seen. `md5` as Cloud Storage writes it; `created_at` in Unix time."""

    key: str
    size: int
    md5: str
    generation: int
    created_at: float


class Bucket:
    """Objects of one bucket. Safe for threads and processes."""

    def __init__(self, clients: Clients, clock: Now, name: str) -> None:
        self.name = name
        self._clients = clients
        self._repeater = Repeater(clock, Random())

    def url(self, key: str) -> str:
        """Return an object's URL, as Compute Engine wants it: API reference, Image.rawDisk.source."""
        return f"https://storage.{self._clients.universe_domain}/{self.name}/{key}"

    def ensure(self, key: str, archive: ImageFile, progress: Progress) -> None:
        """Let an object hold exactly what an archive does. Idempotent, also for several at once.

        What is there and something else is replaced. ProviderError for an archive that is not what it was.
        """
        wanted = ""
        for _ in range(_ATTEMPTS):
            there = self.find(key)
            if there is not None and there.size == archive.size:
                wanted = wanted or _md5_of(archive)
                if there.md5 == wanted:
                    progress(archive.size)
                    return
            try:
                self._upload(key, archive, progress, there.generation if there else 0)
            except (Outdated, SessionLost) as exc:  # somebody else was quicker, or it was all for nothing
                _log.debug("upload begins anew", object=key, error=str(exc))
        raise Transient(f"gcp: cannot upload {key} to bucket {self.name}: others write to it all the time")

    def find(self, key: str) -> Stored | None:
        """Return an object as it is; None where there is none."""

        def look(bucket: Any) -> Stored:
            blob = bucket.blob(key)
            blob.reload(timeout=CALL_SECONDS, retry=None)
            return _stored(blob)

        try:
            return self._called(f"look at {key} in bucket {self.name}", look)
        except NotThere:
            return None

    def remove(self, key: str) -> None:
        """Delete an object. Gone already is fine, and is what is found most often: it only takes a look."""
        if self.find(key) is None:
            return
        doing = f"delete {key} in bucket {self.name}"
        try:
            self._called(doing, lambda bucket: bucket.blob(key).delete(timeout=CALL_SECONDS, retry=None))
        except NotThere:
            return
        _log.info("object deleted", bucket=self.name, object=key)

    def listed(self, prefix: str) -> list[Stored]:
        """Return all objects whose names begin so."""

        def look(bucket: Any) -> list[Stored]:
            found = bucket.list_blobs(prefix=prefix, fields=_LISTED, timeout=CALL_SECONDS, retry=None)
            return [_stored(blob) for blob in found]

        return self._called(f"list the objects in bucket {self.name}", look)

    def permitted(self, permissions: Sequence[str]) -> frozenset[str]:
        """Return which of some permissions we have there. NotThere where there is no such bucket. Changes nothing."""

        def look(bucket: Any) -> frozenset[str]:
            return frozenset(bucket.test_iam_permissions(list(permissions), timeout=CALL_SECONDS, retry=None))

        return self._called(f"look at bucket {self.name}", look)

    def _upload(self, key: str, archive: ImageFile, progress: Progress, replaces: int) -> None:
        """Send an archive; of what is `replaces` (a generation, 0 for nothing) there must be no other meanwhile."""
        doing = f"upload {key} to bucket {self.name}"

        def begin(bucket: Any) -> str:
            blob = bucket.blob(key)
            url: str = blob.create_resumable_upload_session(
                content_type="application/gzip",
                size=archive.size,
                if_generation_match=replaces,
                timeout=CALL_SECONDS,
                checksum=None,
                retry=None,
            )
            return url

        url = self._called(doing, begin)
        with closing(self._clients.session()) as session:
            upload, at = Upload(session, url, archive.size, doing, self._repeater), 0
            try:
                for block in _blocks(archive):
                    upload.send(block, at)
                    at += len(block)
                    progress(at)
            except ProviderError:
                upload.cancel()
                raise
        _log.info("object uploaded", bucket=self.name, object=key, bytes=archive.size)

    def _called(self, doing: str, call: Callable[[Any], T]) -> T:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        def once() -> T:
            try:
                return call(self._clients.storage().bucket(self.name))
            except (GoogleAPICallError, GoogleAuthError, RequestException, OSError) as exc:
                raise translated(exc, doing) from exc

        return self._repeater.repeated(once)


def _stored(blob: Any) -> Stored:
    created_at = blob.time_created.timestamp() if blob.time_created else 0.0
    return Stored(blob.name, int(blob.size or 0), blob.md5_hash or "", int(blob.generation or 0), created_at)


def _blocks(archive: ImageFile) -> Iterator[bytes]:
    """Read an archive. ProviderError before its last block, if it is not what it was: then no object is made."""
    digest, left = sha256(), archive.size
    try:
        with Path(archive.path).open("rb") as file:
            while left:
                block = file.read(min(CHUNK, left))
                left -= len(block)
                digest.update(block)
                if not block or (not left and digest.hexdigest() != archive.sha256):
                    raise ProviderError(
                        f"gcp: {archive.path} has changed since it was read", hint="run the command again"
                    )
                yield block
    except OSError as exc:
        raise ProviderError(f"gcp: cannot read {archive.path}: {exc.strerror or exc}") from exc


def _md5_of(archive: ImageFile) -> str:
    """Return what Cloud Storage says of an object that holds the archive."""
    digest = md5(usedforsecurity=False)
    for block in _blocks(archive):
        digest.update(block)
    return b64encode(digest.digest()).decode()
