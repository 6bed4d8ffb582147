"""Which images can be published, how that may be set, and what a plan says of the machines that boot them."""

from dataclasses import replace
from typing import Any, Final

import pytest
from pydantic import ValidationError

from infrakit_providers.aws import plugin
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.metadata_service import fitted
from infrakit_providers.aws.settings import Settings, complaints
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json
from infrakit_py.spi.provider import MachineReview, Remarking
from tests.aws.material import AMI, MULTI_REGION_KEY
from tests.aws.material import KEY as ONE_REGION_S

REGION: Final[dict[str, Json]] = {"region": "eu-central-1"}


def built(form: ImageForm = ImageForm.KERNEL, **unlike: Any) -> Image:
    return replace(Image("web", "ab" * 32, form, {"disk": ImageFile("/d", "ab" * 32, 2**20)}), **unlike)


def said(machine: dict[str, Json], image: Image) -> list[str]:
    review = MachineReview(REGION, {"instance_types": "m5.large", **machine}, image, named=False)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in complaints(review)]


@pytest.mark.parametrize(
    "image",
    [
        built(),
        built(ImageForm.DISK),
        built(ImageForm.DISK, disk_format="qcow2"),
        built(ImageForm.DISK, disk_format="gcp"),
    ],
    ids=["kernel", "raw", "qcow2", "gcp"],
)
def test_kernels_and_disks_boot(image: Image) -> None:
    assert said({}, image) == []


def test_a_disk_for_arm_boots_on_graviton() -> None:
    machine: dict[str, Json] = {"instance_types": ["m6g.large", "c7gn.large", "t4g.small", "im4gn.large", "a1.large"]}
    assert said(machine, built(ImageForm.DISK, architecture="arm64")) == []


@pytest.mark.parametrize(
    ("image", "type_", "words"),
    [
        (built(architecture="arm64"), "m6g.large", "disks are made of kernels for amd64 only"),
        (
            built(ImageForm.DISK, disk_format="iso"),
            "m5.large",
            "AWS boots no iso; use a disk of format raw",
        ),
        (built(), "m6g.large", "image web is for amd64, and m6g.large has another architecture"),
        (built(ImageForm.DISK, architecture="arm64"), "g4dn.xlarge", "is for arm64, and g4dn.xlarge has another"),
    ],
    ids=["arm kernel", "iso", "amd64 on Graviton", "arm64 on Intel"],
)
def test_images_that_cannot_be_published_are_refused_with_the_way_out(image: Image, type_: str, words: str) -> None:
    [line] = said({"instance_types": [type_]}, image)
    assert words in line


@pytest.mark.parametrize(
    ("publish", "words"),
    [
        ({"upload": "s3"}, "upload: s3 needs a bucket"),
        ({"bucket": "images"}, "bucket is for upload: s3"),
        ({"role_name": "vmimport"}, "role_name is for upload: s3"),
        ({"upload": "s3", "bucket": "Images"}, "be the name of an S3 bucket"),
        ({"upload": "s3", "bucket": "images", "prefix": "no-slash"}, "pattern"),
        ({"kms_key": ONE_REGION_S}, "write encrypt: true too"),
        ({"encrypt": True, "kms_key": "alias/images"}, "a key's ARN"),
        ({"encrypt": True, "share_with": ["210987654321"]}, "the account's default key encrypts cannot be shared"),
        ({"encrypt": True, "kms_key": ONE_REGION_S, "copy_to": ["eu-west-1"]}, "a multi-Region key"),
        ({"encrypt": True, "kms_key": MULTI_REGION_KEY.replace("central", "north")}, "the provider's region"),
        ({"copy_to": ["eu-central-1"]}, "the provider's own region"),
        ({"copy_to": ["eu-west-1", "eu-west-1"]}, "there twice"),
        ({"share_with": [210987654321]}, "string"),
        ({"share_with": ["42"]}, "twelve digits"),
        ({"parallel": 0}, "greater than or equal to 1"),
    ],
)
def test_what_publishing_cannot_do_is_refused_when_the_file_is_read(publish: dict[str, Json], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({**REGION, "publish": publish})


@pytest.mark.parametrize(
    ("image", "metadata", "words"),
    [
        (built(), {}, "metadata service v1 is allowed (HttpTokens=optional): LinuxKit's metadata package cannot use"),
        (built(), {"metadata": {"hop_limit": 2}}, "metadata service v1 is allowed"),
        (built(), {"metadata": {"tokens": "required"}}, "get no user data"),
        (built(), {"metadata": {"tokens": "optional"}}, None),
        (built(), {"metadata": {"endpoint": False}}, None),
        (built(ImageForm.DISK), {}, None),
        (AMI, {}, None),
    ],
)
def test_a_plan_says_where_linuxkit_needs_the_old_metadata_service(
    image: Image, metadata: dict[str, Json], words: str | None
) -> None:
    review = MachineReview(REGION, {"instance_types": "m5.large", **metadata}, image, named=False)
    assert isinstance(plugin, Remarking)
    found = list(plugin.remarks(review))
    assert found == [] if words is None else words in found[0] and len(found) == 1


@pytest.mark.parametrize(
    ("image", "metadata", "tokens"),
    [
        (built(), {}, "optional"),
        (built(), {"metadata": {"hop_limit": 2}}, "optional"),
        (built(), {"metadata": {"tokens": "required"}}, "required"),
        (built(ImageForm.DISK), {}, "required"),
        (AMI, {}, "required"),
    ],
)
def test_only_kernels_may_use_the_old_metadata_service_and_only_where_nothing_is_written(
    image: Image, metadata: dict[str, Json], tokens: str
) -> None:
    machine = Machine.model_validate({"instance_types": "m5.large", **metadata})
    assert fitted(machine, image).metadata.tokens == tokens
    assert fitted(machine, image).metadata.hop_limit == machine.metadata.hop_limit
