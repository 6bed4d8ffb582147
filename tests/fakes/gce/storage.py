"""Cloud Storage beside the project: buckets of the same caller, and objects that come by resumable uploads.

As much of it as the making of images needs: objects are looked at, listed, deleted, and written under a condition on
their generation. The JSON API of Cloud Storage, and "Perform resumable uploads", say how.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

from infrakit_py.spi.provider import Now
from tests.fakes.gce.auth import Doorkeeper
from tests.fakes.gce.errors import GceError, forbidden

BUCKET: Final = "infrakit-test-images"
"""The bucket that is there from the start."""
PERMISSIONS: Final = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
_UPLOAD: Final = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
_OBJECT: Final = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
_OBJECTS: Final = re.compile(r"/storage/v1/b/([^/]+)/o")
_TEST: Final = re.compile(r"/storage/v1/b/([^/]+)/iam/testPermissions")
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
_QUANTUM: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. It is never changed: who writes its name again makes another."""

    bucket: str
    name: str
    data: bytes
    generation: int
    created_at: float
    content_type: str


@dataclass(slots=True)
class Session:
    """An upload that is under way. `condition`: the generation that must be there at its beginning and end."""

    bucket: str
    name: str
    condition: int | None
    content_type: str
    data: bytearray = field(default_factory=bytearray)
    made: Stored | None = None


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Storage:
    """Buckets and what is in them. Whoever looks or changes holds the world's lock."""

    def __init__(self, clock: Now, url: str = "") -> None:
        self.url = url
        """Where sessions are found by whoever began them."""
        self.objects: dict[str, dict[str, Stored]] = {BUCKET: {}}
        self.sessions: dict[str, Session] = {}
        self.keeps: list[int] = []
        """How many bytes of the next parts are kept: Cloud Storage need not take all that it is sent."""
        self.calls: Counter[str] = Counter()
        self.denied: set[str] = set()
        self.doorkeeper: Doorkeeper | None = None
        self._clock = clock
        self._number = 1_700_000_000_000_000

    @staticmethod
    def knows(target: str) -> bool:
        return urlsplit(target).path.startswith(("/storage/v1/", "/upload/storage/", "/resumable/upload/storage/"))

    def find(self, bucket: str, name: str) -> Stored | None:
        return self.objects.get(bucket, {}).get(name)

    def put(self, bucket: str, name: str, data: bytes, content_type: str = "application/octet-stream") -> Stored:
        """Write an object, over the one that is there."""
        self._number += 1
        stored = Stored(bucket, name, data, self._number, self._clock.now(), content_type)
        self.objects[bucket][name] = stored
        return stored

    def answer(self, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        url = urlsplit(target)
        written = parse_qs(url.query, keep_blank_values=True)
        query = {name: ",".join(values) for name, values in written.items()}
        try:
            if self.doorkeeper is not None:
                self.doorkeeper.admit(headers)
            return self._act(verb, url.path, query, headers, body)
        except GceError as exc:
            return _json(exc.code, exc.document())

    def _act(self, verb: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Answer:
        match (verb, path):
            case ("PUT" | "DELETE", _) if "upload_id" in query:
                self.calls[f"session.{verb.lower()}"] += 1
                return self._go_on(verb, query["upload_id"], headers, body)
            case ("POST", _) if found := _UPLOAD.fullmatch(path):
                return self._begin(unquote(found[1]), query, headers, body)
            case ("GET", _) if found := _TEST.fullmatch(path):
                return self._tested(unquote(found[1]), query)
            case ("GET", _) if found := _OBJECTS.fullmatch(path):
                return self._listed(unquote(found[1]), query)
            case ("GET" | "DELETE", _) if found := _OBJECT.fullmatch(path):
                return self._one(verb, unquote(found[1]), unquote(found[2]), query)
        raise GceError(501, "notImplemented", f"The fake does not know {verb} {path}", by_front=True)

    def _begin(self, bucket: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Answer:
        self.calls["objects.insert"] += 1
        self._bucket(bucket)
        if query.get("uploadType") != "resumable":
            raise GceError(501, "notImplemented", "The fake knows resumable uploads only", by_front=True)
        self._permit("storage.objects.create", bucket)
        name = query.get("name") or json.loads(body or b"{}").get("name", "")
        written = query.get("ifGenerationMatch")
        condition = int(written) if written is not None else None
        self._check(bucket, name, condition)
        id_ = f"session-{len(self.sessions) + 1}"
        self.sessions[id_] = Session(bucket, name, condition, headers.get("x-upload-content-type", ""))
        location = f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id_}"
        return Answer(200, [("Location", location)], b"")

    def _go_on(self, verb: str, id_: str, headers: Mapping[str, str], body: bytes) -> Answer:
        session = self.sessions.get(id_)
        if session is None:
            raise GceError(404, "notFound", "No such upload session")
        if verb == "DELETE":
            del self.sessions[id_]
            return Answer(499, [], b"")
        if session.made is not None:
            return _json(200, _shown(session.made))
        match = _RANGE.fullmatch(headers.get("content-range", ""))
        if match is None:
            raise GceError(400, "badRequest", f"Failed to parse Content-Range: {headers.get('content-range')}")
        total = int(match[3])
        if match[1] is not None:
            self._take(session, int(match[1]), int(match[2]), total, body)
        if len(session.data) < total:
            arrived = [("Range", f"bytes=0-{len(session.data) - 1}")] if session.data else []
            return Answer(308, arrived, b"")
        self._check(session.bucket, session.name, session.condition)
        session.made = self.put(session.bucket, session.name, bytes(session.data), session.content_type)
        return _json(200, _shown(session.made))

    def _take(self, session: Session, first: int, last: int, total: int, body: bytes) -> None:
        """Take what is new of a part; what has arrived before is not taken again."""
        there = len(session.data)
        if last - first + 1 != len(body):
            raise GceError(400, "badRequest", "Content-Range does not fit the length of the request")
        if first > there:
            raise GceError(503, "backendError", f"Only {there} bytes have arrived")
        if last + 1 < total and (last + 1) % _QUANTUM:
            raise GceError(400, "badRequest", f"Parts must be multiples of {_QUANTUM} bytes")
        kept = self.keeps.pop(0) if self.keeps else len(body)
        session.data += body[there - first : kept]

    def _one(self, verb: str, bucket: str, name: str, query: Mapping[str, str]) -> Answer:
        word = "get" if verb == "GET" else "delete"
        self.calls[f"objects.{word}"] += 1
        self._bucket(bucket)
        self._permit(f"storage.objects.{word}", bucket)
        stored = self.find(bucket, name)
        if stored is None:
            raise GceError(404, "notFound", f"No such object: {bucket}/{name}")
        if verb == "GET":
            return _json(200, _shown(stored))
        if "ifGenerationMatch" in query:
            self._check(bucket, name, int(query["ifGenerationMatch"]))
        del self.objects[bucket][name]
        return Answer(204, [], b"")

    def _listed(self, bucket: str, query: Mapping[str, str]) -> Answer:
        self.calls["objects.list"] += 1
        self._bucket(bucket)
        self._permit("storage.objects.list", bucket)
        names = sorted(name for name in self.objects[bucket] if name.startswith(query.get("prefix", "")))
        return _json(200, {"kind": "storage#objects", "items": [_shown(self.objects[bucket][one]) for one in names]})

    def _tested(self, bucket: str, query: Mapping[str, str]) -> Answer:
        self.calls["buckets.testIamPermissions"] += 1
        self._bucket(bucket)
        asked = query.get("permissions", "").split(",")
        return _json(200, {"permissions": [one for one in asked if one in PERMISSIONS and one not in self.denied]})

    def _bucket(self, bucket: str) -> None:
        if bucket not in self.objects:
            raise GceError(404, "notFound", "The specified bucket does not exist.")

    def _permit(self, permission: str, bucket: str) -> None:
        if permission in self.denied:
            raise forbidden(permission, bucket)

    def _check(self, bucket: str, name: str, condition: int | None) -> None:
        there = self.find(bucket, name)
        if condition is not None and condition != (there.generation if there else 0):
            raise GceError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        if there is not None:
            self._permit("storage.objects.delete", bucket)


def _shown(one: Stored) -> dict[str, Any]:
    digest: bytes = google_crc32c.Checksum(one.data).digest()  # type: ignore[no-untyped-call]  # it has no types
    return {
        "kind": "storage#object",
        "id": f"{one.bucket}/{one.name}/{one.generation}",
        "name": one.name,
        "bucket": one.bucket,
        "generation": str(one.generation),
        "metageneration": "1",
        "contentType": one.content_type,
        "size": str(len(one.data)),
        "md5Hash": base64.b64encode(hashlib.md5(one.data, usedforsecurity=False).digest()).decode(),
        "crc32c": base64.b64encode(digest).decode(),
        "timeCreated": datetime.fromtimestamp(one.created_at, UTC).isoformat().replace("+00:00", "Z"),
    }


def _json(status: int, document: object) -> Answer:
    return Answer(status, [("Content-Type", "application/json; charset=UTF-8")], json.dumps(document).encode())
