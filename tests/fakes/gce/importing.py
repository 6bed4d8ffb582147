"""Images as they are made of an archive in a bucket: what Compute Engine makes sure of, and what it keeps."""

import gzip
import io
import re
import tarfile
from typing import Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, already_exists, in_use, invalid, not_found, not_ready, required
from tests.fakes.gce.instances import check_label_fingerprint
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.links import NAME, path
from tests.fakes.gce.operations import show_operation
from tests.fakes.gce.settings import PROJECT
from tests.fakes.gce.site import unhonoured
from tests.fakes.gce.storage import Stored
from tests.fakes.gce.tables import Image, OpError
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, fingerprint

_GIB: Final = 2**30
_SOURCE: Final = re.compile(r"https://storage\.(?:googleapis\.com|gce\.test)/([^/]+)/(.+)")
_HONOURED: Final = frozenset(
    {"name", "description", "labels", "rawDisk", "architecture", "guestOsFeatures", "family", "kind"}
    | {"storageLocations", "imageEncryptionKey"}
)


def insert_image(world: World, asked: Asked) -> Checked:
    body = asked.body
    unhonoured("resource", body, _HONOURED)
    name = body.get("name")
    if name is None:
        raise required("resource.name")
    if not re.fullmatch(NAME, name):
        raise invalid("resource.name", name, f"Must be a match of regex '{NAME}'")
    where = path("global", "images", name)
    if (PROJECT, name) in world.images:
        raise already_exists(where)
    labels = dict(body.get("labels", {}))
    check_labels(labels, "resource.labels")
    if labels:
        asked.permit("compute.images.setLabels", where)
    archive = _archive(world, asked)
    image = Image(
        PROJECT,
        name,
        world.new_id(),
        world.now(),
        body.get("family", ""),
        body.get("architecture", "X86_64"),
        status="PENDING",
        labels=labels,
        description=body.get("description", ""),
        features=tuple(one["type"] for one in body.get("guestOsFeatures", ())),
        archive=archive.data,
        locations=tuple(body.get("storageLocations", ())),
        kms_key=body.get("imageEncryptionKey", {}).get("kmsKeyName", ""),
    )
    world.images[PROJECT, name] = image
    op = world.begin(asked, "insert", where, image.id, seconds=world.settings.import_seconds)

    def then() -> None:
        """Read the archive, which must still be there."""
        wrong = world.import_faults.pop(0) if world.import_faults else _wrong_with(image.archive)
        if world.storage.find(archive.bucket, archive.name) is not archive:
            wrong = f"The object {archive.name} in bucket {archive.bucket} was not found."
        if wrong:
            image.status = "FAILED"
            op.errors = (OpError("IMAGE_IMPORT_ERROR", wrong, 400, "BAD REQUEST"),)
        else:
            image.status, image.size_gb = "READY", _disk_in(image.archive) // _GIB

    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def _archive(world: World, asked: Asked) -> Stored:
    raw, field_ = asked.body.get("rawDisk", {}), "resource.rawDisk.source"
    match = _SOURCE.fullmatch(raw.get("source", ""))
    if match is None:
        raise invalid(field_, raw.get("source", ""), "The URL is malformed.")
    if "storage.objects.get" in world.storage.denied:
        raise invalid(field_, raw["source"], "The caller may not read the object.")
    found = world.storage.find(match[1], match[2])
    if found is None:
        raise invalid(field_, raw["source"], f"The referenced object {match[2]} cannot be found.")
    return found


def _wrong_with(data: bytes) -> str:
    """Say why no disk can be made of an archive. Only its beginning is unpacked: a gigabyte takes its time."""
    try:
        size = _disk_in(data)
    except (OSError, EOFError, tarfile.TarError) as exc:
        return f"The tar archive is not a valid image: {exc}"
    if not size or size % _GIB:
        return f"The disk has {size} bytes, which are no whole gigabytes."
    unpacked = int.from_bytes(data[-4:], "little")  # modulo 4 GiB: RFC 1952, ISIZE
    if (unpacked - size - 512) % 2**32 > _GIB:
        return f"The archive ends before its disk does: {unpacked} bytes."
    return ""


def _disk_in(data: bytes) -> int:
    """Return the size of the archive's one disk."""
    with gzip.open(io.BytesIO(data)) as unpacked:
        header = tarfile.TarInfo.frombuf(unpacked.read(512), "utf-8", "strict")
    if header.name != "disk.raw" or not header.isreg():
        raise tarfile.TarError(f"its first member is {header.name}, not disk.raw")
    return header.size


def delete_image(world: World, asked: Asked) -> Checked:
    image = _find(world, asked["image"])
    where = path("global", "images", image.name)
    if image.status == "PENDING":
        raise in_use(where, "the operation that makes it")
    if image.status == "DELETING":
        raise not_ready(where)
    image.status = "DELETING"
    op = world.begin(asked, "delete", where, image.id, then=lambda: _forget(world, image))
    world.settle()
    return show_operation(world, op)


def _forget(world: World, image: Image) -> None:
    world.images.pop((PROJECT, image.name), None)


def set_image_labels(world: World, asked: Asked) -> Checked:
    image = _find(world, asked["resource"])
    labels = dict(asked.body.get("labels", {}))
    check_labels(labels, "resource.labels")
    check_label_fingerprint(asked.body.get("labelFingerprint", ""), image.labels)

    def then() -> None:
        image.labels = labels

    op = world.begin(asked, "setLabels", path("global", "images", image.name), image.id, then=then)
    world.settle()
    return show_operation(world, op)


def get_image_policy(world: World, asked: Asked) -> Reply:
    return _policy(_find(world, asked["resource"]))


def set_image_policy(world: World, asked: Asked) -> Reply:
    image, wanted = _find(world, asked["resource"]), asked.body.get("policy", {})
    if wanted.get("etag") not in (None, fingerprint(image.bindings)):
        raise GceError(412, "conditionNotMet", "There were concurrent policy changes.")
    image.bindings = list(wanted.get("bindings", ()))
    return _policy(image)


def _policy(image: Image) -> Reply:
    version = 3 if any("condition" in one for one in image.bindings) else 1
    return {"version": version, "etag": fingerprint(image.bindings), "bindings": image.bindings}


def _find(world: World, name: str) -> Image:
    image = world.images.get((PROJECT, name))
    if image is None:
        raise not_found(path("global", "images", name))
    return image
