"""What is said of images that must be published: when a file is loaded, examined, or a role is written for it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml
from pydantic import ValidationError

from infrakit_providers.gcp import plugin
from infrakit_providers.gcp.publish_settings import PublishSettings
from infrakit_providers.gcp.settings import complaints
from infrakit_py.model.spec import ARM64, Image, ImageFile, ImageForm, Json, Recipe
from infrakit_py.spi.provider import Examining, Finding, Grade, MachineReview, Permitting, Wanted
from tests.fakes.gce.storage import BUCKET
from tests.gcp.archives import archive_image
from tests.gcp.ground import MACHINE, PROJECT, SETTINGS
from tests.gcp.ground import image as of_reference
from tests.gcp.material import KEY
from tests.gcp.publishing import Scene

FILE: Final = ImageFile("/d", "ab" * 32, 2**20)
KERNEL: Final = Image("web", "ab" * 32, ImageForm.KERNEL, {"kernel": FILE, "initrd": FILE}, cmdline="quiet")
UNBUILT: Final = replace(KERNEL, files={}, recipe=Recipe("web.yml", "cd" * 32))
RAW: Final = Image("web", "ab" * 32, ImageForm.DISK, {"disk": FILE})
QCOW2, ARCHIVE, ISO = (replace(RAW, disk_format=one) for one in ("qcow2", "gcp", "iso"))
WITH_BUCKET: Final[Mapping[str, Json]] = {**SETTINGS, "publish": {"bucket": BUCKET}}


def said(
    image: Image, settings: Mapping[str, Json] = WITH_BUCKET, machine: Mapping[str, Json] = MACHINE
) -> list[str]:
    review = MachineReview(settings, machine, image, named=False)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in complaints(review)]


def refused(**publish: Json) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        PublishSettings.model_validate({"bucket": BUCKET, **publish})
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in caught.value.errors()]


def examined(scene: Scene, image: Image, **machine: Json) -> dict[str, Finding]:
    provider = scene.provider()
    assert isinstance(provider, Examining)
    wanted = Wanted("web", {**MACHINE, **machine}, image, 3, named=False)
    return {one.about: one for one in provider.examine("shop", [wanted])}


def role(image: Image, settings: Mapping[str, Json] = WITH_BUCKET) -> str:
    assert isinstance(plugin, Permitting)
    return plugin.permissions("shop", settings, [Wanted("web", MACHINE, image, 1, named=False)])


def allowed(image: Image, settings: Mapping[str, Json] = WITH_BUCKET) -> set[str]:
    return set(yaml.safe_load(role(image, settings))["includedPermissions"])


@pytest.mark.parametrize(
    "image", [KERNEL, UNBUILT, RAW, QCOW2, ARCHIVE, replace(RAW, architecture=ARM64)],
    ids=["kernel", "unbuilt", "raw", "qcow2", "archive", "arm64 disk"],
)  # fmt: skip
def test_what_can_become_a_disk_is_accepted(image: Image) -> None:
    assert said(image) == []


@pytest.mark.parametrize("image", [KERNEL, RAW], ids=["kernel", "raw"])
def test_without_a_bucket_an_image_cannot_be_published(image: Image) -> None:
    [line] = said(image, SETTINGS)
    assert "image web: it must be published to GCP, through a bucket; give the provider one (publish:" in line


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (ISO, "image web: Compute Engine boots no iso; give a raw, qcow2 or gcp disk"),
        (replace(KERNEL, architecture=ARM64), "image web: disks of a kernel boot by BIOS, which arm64 has not"),
    ],
)
def test_what_cannot_become_a_disk_is_refused_with_the_way_out(image: Image, words: str) -> None:
    for settings in (SETTINGS, WITH_BUCKET):
        [line] = said(image, settings)
        assert words in line


@pytest.mark.parametrize("machine", [{"shielded_vm": {"secure_boot": True}}, {"confidential": "sev"}])
def test_a_kernel_s_disk_is_refused_where_uefi_is_needed(machine: dict[str, Json]) -> None:
    more: dict[str, Json] = {"machine_types": "n2d-standard-2", **machine}
    [line] = said(KERNEL, machine=more)
    assert line.startswith(f"{next(iter(machine))}: {next(iter(machine))} needs UEFI, and image web becomes a disk")
    assert said(RAW, machine=more) == []


@pytest.mark.parametrize(
    ("written", "place", "words"),
    [
        ({"bucket": "gs://images"}, "bucket", "without gs://"),
        ({"bucket": "Images"}, "bucket", "lowercase letters"),
        ({"prefix": "infrakit"}, "prefix", "end with a slash"),
        ({"prefix": "/"}, "prefix", "such as infrakit/"),
        ({"family": "Web"}, "family", "must be a name of at most 63"),
        ({"guest_os_features": ["WINDOWS"]}, "guest_os_features.0", "'GVNIC'"),
        ({"guest_os_features": ["GVNIC", "GVNIC"]}, "guest_os_features", "GVNIC is there twice"),
        ({"storage_locations": []}, "storage_locations", "at least 1"),
        ({"storage_locations": ["europe-west1-b"]}, "storage_locations.0", "be a region, such as europe-west1"),
        ({"kms_key": "web"}, "kms_key", "must look like projects/PROJECT/"),
        ({"labels": {"infrakit-x": "y"}}, "labels", "are not the user's"),
        ({"share_with": ["somebody"]}, "share_with.0", "must look like serviceAccount:"),
        ({"folder": "x"}, "folder", "Extra inputs"),
    ],
)
def test_mistakes_in_the_settings_are_told_where_they_are(written: dict[str, Json], place: str, words: str) -> None:
    [(where, what)] = refused(**written)
    assert where == place
    assert words in what


def test_an_image_to_be_published_is_announced_and_then_seen(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "web.tar.gz")
    path = f"global/images/infrakit-{image.identity[:24]}"
    before = examined(scene, image)["group web: image"]
    assert (before.grade, before.detail) == (Grade.OK, f"{path} (X86_64, published by the next apply, 1GiB)")
    scene.publish(image)
    after = examined(scene, image)["group web: image"]
    assert (after.grade, after.detail) == (Grade.OK, f"projects/{PROJECT}/{path} (X86_64, READY, 1GiB)")


def test_an_image_for_other_machines_is_found_before_it_is_published(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "web.tar.gz")
    found = examined(scene, image, machine_types="t2a-standard-1", zones=["europe-west1-b"])
    assert found["group web: image"].grade is Grade.PROBLEM
    assert "is for X86_64, and t2a-standard-1 is ARM64" in found["group web: image"].detail


def test_a_feature_that_machines_need_is_asked_of_the_settings(scene: Scene, tmp_path: Path) -> None:
    found = examined(scene, archive_image(tmp_path / "web.tar.gz"), nic_type="gvnic")["group web: image"]
    assert (found.grade, "needs an image with the feature GVNIC" in found.detail) == (Grade.PROBLEM, True)


def test_the_bucket_is_examined_by_a_call_that_changes_nothing(scene: Scene) -> None:
    found = examined(scene, KERNEL)[f"bucket {BUCKET}"]
    assert (found.grade, found.detail) == (Grade.OK, "it is there, with all 4 permissions that are needed")
    assert dict(scene.fake.world.storage.calls) == {"buckets.testIamPermissions": 1}
    scene.fake.deny("storage.objects.create")
    found = examined(scene, KERNEL)[f"bucket {BUCKET}"]
    assert (found.grade, found.detail) == (Grade.PROBLEM, "not allowed there: storage.objects.create")
    del scene.fake.world.storage.objects[BUCKET]
    found = examined(scene, KERNEL)[f"bucket {BUCKET}"]
    assert (found.grade, found.detail) == (Grade.PROBLEM, "there is no such bucket")


def test_a_bucket_that_nothing_goes_through_is_not_examined(scene: Scene) -> None:
    assert f"bucket {BUCKET}" not in examined(scene, of_reference())


def test_publishing_needs_more_permissions_only_where_something_is_published() -> None:
    plain = allowed(of_reference(), SETTINGS)
    found = {"compute.globalOperations.get", "compute.images.delete", "compute.images.list"}
    assert allowed(of_reference()) - plain == found
    publishing = {"compute.images.create", "compute.images.setLabels"}
    bucket = {f"storage.objects.{one}" for one in ("create", "delete", "get", "list")}
    assert allowed(KERNEL) - plain == found | publishing | bucket
    shared = {**SETTINGS, "publish": {"bucket": BUCKET, "share_with": ["domain:example.com"]}}
    assert allowed(KERNEL, shared) - allowed(KERNEL) == {"compute.images.getIamPolicy", "compute.images.setIamPolicy"}


def test_the_role_says_what_is_needed_elsewhere() -> None:
    text = role(KERNEL, {**SETTINGS, "publish": {"bucket": BUCKET, "kms_key": KEY}})
    assert f"# Needed in bucket {BUCKET} only" in text
    assert f"roles/cloudkms.cryptoKeyEncrypterDecrypter on\n#   {KEY}" in text
