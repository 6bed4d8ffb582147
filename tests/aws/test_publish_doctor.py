"""What an examination says of publishing: what would hinder it, and nothing that changes anything."""

from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.clock import VirtualClock
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Examining, Finding, Grade, Provider, Wanted
from tests.aws.driving import read_models_once
from tests.aws.ground import image as reference
from tests.aws.publishing import BUCKET, BY_BUCKET, kernel_image, publisher, unheard
from tests.aws.test_doctor import Refusing
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2.errors import AwsError

pytestmark = pytest.mark.disks

_LOAD: Final = read_models_once()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return kernel_image(tmp_path)


def found(provider: Provider, image: Image) -> dict[str, Finding]:
    assert isinstance(provider, Examining)
    wanted = [Wanted("web", {"instance_types": "t3.micro"}, image, 3, False)]
    return {one.about: one for one in provider.examine("shop", wanted)}


def test_an_image_that_is_not_there_yet_is_no_problem_and_nothing_is_made(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, s3: Any
) -> None:
    for publish in ({}, BY_BUCKET):
        findings = found(publisher(clock, tmp_path, publish), image)
        assert {one.grade for one in findings.values()} == {Grade.OK}, findings
        assert findings["image web"].detail.startswith("not published yet")
        assert findings["group web: launch"].detail == "examined once the image is published"
        assert findings["register images"].detail == "allowed to register images"
    assert findings[f"bucket {BUCKET}"].detail == "in eu-central-1"
    assert findings["import images"].detail == "allowed to import snapshots"
    assert (account.images(), account.snapshots(), account.world.import_tasks) == ([], [], {})
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


def test_a_published_image_is_examined_as_any_other(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    provider = publisher(clock, tmp_path)
    provider.publish(image, unheard)
    (ami,) = account.images()
    findings = found(provider, image)
    assert findings["image web"].detail == f"published as {ami.id}"
    assert findings["group web: image"].detail == f"{ami.id} (x86_64, available, root /dev/sda1)"
    assert (
        findings["group web: launch"].grade is Grade.OK
        and "allowed to launch" in findings["group web: launch"].detail
    )


@pytest.mark.parametrize(
    ("action", "about"),
    [("RegisterImage", "register images"), ("ImportSnapshot", "import images")],
)
def test_what_is_not_allowed_is_a_problem(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, action: str, about: str
) -> None:
    error = AwsError("UnauthorizedOperation", "You are not authorized", 403)
    account.front.handlers["ec2"] = Refusing(account.front.handlers["ec2"], {action: error})
    one = found(publisher(clock, tmp_path, BY_BUCKET), image)[about]
    assert one.grade is Grade.PROBLEM and "infra iam aws" in one.hint


def test_a_bucket_that_is_not_there_is_a_problem(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    del account
    one = found(publisher(clock, tmp_path, {"upload": "s3", "bucket": "nobodys"}), image)["bucket nobodys"]
    assert (one.grade, one.detail) == (Grade.PROBLEM, "there is no such bucket")


def test_a_bucket_of_another_region_is_a_problem(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, buckets: str
) -> None:
    del account
    far: Any = boto3.client(
        "s3",
        endpoint_url=buckets,
        region_name="us-west-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    far.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    one = found(publisher(clock, tmp_path, {"upload": "s3", "bucket": "far-away"}), image)["bucket far-away"]
    assert one.grade is Grade.PROBLEM and "us-west-2" in one.detail


def test_an_account_that_encrypts_everything_cannot_share(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    account.encrypt_by_default()
    sharing = found(publisher(clock, tmp_path, {"share_with": ["210987654321"]}), image)["encryption of images"]
    assert sharing.grade is Grade.PROBLEM and "cannot be shared" in sharing.detail
    assert found(publisher(clock, tmp_path), image)["encryption of images"].grade is Grade.OK


def test_of_references_nothing_is_published_and_nothing_said(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path
) -> None:
    del account
    findings = found(publisher(clock, tmp_path), reference())
    assert {"register images", "encryption of images"} & set(findings) == set()
