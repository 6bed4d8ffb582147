"""Images of the Compute Engine stand-in that are made of an archive, and the bucket that it comes from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.gce.links import path
from tests.fakes.gce.project import B, Project, Refused, open_project
from tests.fakes.gce.storage import BUCKET
from tests.gcp.archives import GIB, write_archive

SOURCE: Final = f"https://storage.googleapis.com/{BUCKET}/web.tar.gz"


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project(import_seconds=20) as project:
        yield project


@pytest.fixture(name="archive")
def _archive(tmp_path: Path) -> bytes:
    return write_archive(tmp_path / "web.tar.gz", 1).read_bytes()


def put(project: Project, data: bytes) -> None:
    project.fake.world.storage.put(BUCKET, "web.tar.gz", data)


def insert(project: Project, source: str = SOURCE, **more: Any) -> Any:
    return project.call("POST", "global/images", {"name": "web", "rawDisk": {"source": source}, **more})


def test_an_image_is_pending_until_it_is_made_and_is_what_the_archive_was(project: Project, archive: bytes) -> None:
    put(project, archive)
    op = insert(project, labels={"a": "b"}, guestOsFeatures=[{"type": "GVNIC"}], family="web")
    assert project.call("GET", "global/images/web")["status"] == "PENDING"
    disk = {"boot": True, "initializeParams": {"sourceImage": "global/images/web"}}
    with pytest.raises(Refused, match="resourceNotReady"):
        project.insert("web-1", disks=[disk])
    assert "error" not in project.done(op)
    shown = project.call("GET", "global/images/web")
    assert (shown["status"], shown["diskSizeGb"], shown["labels"]) == ("READY", "1", {"a": "b"})
    assert shown["guestOsFeatures"] == [{"type": "GVNIC"}]
    [image] = project.fake.published()
    assert image.archive == archive
    project.boot("web-1", disks=[disk])
    boot = project.call("GET", f"zones/{B}/disks/web-1")
    assert (boot["sourceImageId"], boot["sizeGb"]) == (shown["id"], "1")


def other(path: Path, **how: Any) -> bytes:
    return write_archive(path, 1, **how).read_bytes()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: b"no archive at all", "not a valid image"),
        (lambda path: other(path, member="disk.img"), "its first member is disk.img"),
        (lambda path: other(path, size=GIB - 512), "no whole gigabytes"),
        (lambda path: other(path)[:-4] + b"\1\0\0\0", "ends before its disk does"),
    ],
    ids=["no archive", "another name", "a size in between", "cut off"],
)
def test_what_is_no_disk_fails_once_it_was_accepted(
    project: Project, make: Callable[[Path], bytes], why: str, tmp_path: Path
) -> None:
    put(project, make(tmp_path / "wrong"))
    done = project.done(insert(project))
    assert why in done["error"]["errors"][0]["message"]
    assert project.call("GET", "global/images/web")["status"] == "FAILED"
    project.do("global/images/web", verb="DELETE")
    assert project.fake.published() == []


def test_an_object_that_goes_while_it_is_read_fails_the_image(project: Project, archive: bytes) -> None:
    put(project, archive)
    op = insert(project)
    del project.fake.world.storage.objects[BUCKET]["web.tar.gz"]
    assert "was not found" in project.done(op)["error"]["errors"][0]["message"]


def test_a_name_is_taken_once(project: Project, archive: bytes) -> None:
    put(project, archive)
    insert(project)
    with pytest.raises(Refused, match="alreadyExists") as caught:
        insert(project)
    assert (caught.value.status, caught.value.message) == (
        409,
        f"The resource '{path('global', 'images', 'web')}' already exists",
    )


@pytest.mark.parametrize(
    "source",
    [SOURCE, SOURCE.replace(BUCKET, "none"), f"gs://{BUCKET}/web.tar.gz"],
    ids=["no object", "no bucket", "no URL"],
)
def test_what_is_nowhere_makes_no_image(project: Project, source: str) -> None:
    with pytest.raises(Refused, match=r"resource\.rawDisk\.source"):
        insert(project, source)
    assert project.fake.published() == []


def test_who_may_not_read_the_object_makes_no_image(project: Project, archive: bytes) -> None:
    put(project, archive)
    for permission in ("storage.objects.get", "compute.images.create"):
        project.fake.deny(permission)
        with pytest.raises(Refused):
            insert(project)
        project.fake.deny(permission, denied=False)
    insert(project)


def test_labels_change_under_their_fingerprint(project: Project, archive: bytes) -> None:
    put(project, archive)
    project.done(insert(project))
    shown = project.call("GET", "global/images/web")
    body = {"labels": {"a": "c"}, "labelFingerprint": shown["labelFingerprint"]}
    project.do("global/images/web/setLabels", body)
    assert project.call("GET", "global/images/web")["labels"] == {"a": "c"}
    with pytest.raises(Refused) as caught:
        project.call("POST", "global/images/web/setLabels", body)
    assert caught.value.status == 412
