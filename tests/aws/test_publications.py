"""What was published is listed, kept while anybody boots from it, and taken away whole."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import boto3
import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import DestroyRequest, Leftover, Provider
from tests.aws.driving import read_models_once
from tests.aws.ground import credentials
from tests.aws.publishing import faults_of_images, kernel_image, publisher, unheard
from tests.aws.test_publishing import request
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.proxy import FaultProxy, Say

pytestmark = pytest.mark.disks

_LOAD: Final = read_models_once()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeEC2]:
    with FakeEC2(FakeSettings(boot_seconds=1, terminate_seconds=1), clock) as fake, credentials(fake.url):
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def cloud(fake: FakeEC2, clock: VirtualClock, tmp_path: Path) -> Iterator[Provider]:
    provider = publisher(clock, tmp_path)
    yield provider
    provider.close()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return kernel_image(tmp_path)


def cut_short(fake: FakeEC2, clock: VirtualClock, directory: Path, image: Image) -> None:
    """Begin to publish, and come to an end before there is an AMI."""
    with FaultProxy(fake.url) as proxy, credentials(proxy.url):
        proxy.add("RegisterImage", Say(403, "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error>"
                                           "</Errors></Response>"), times=None)  # fmt: skip
        provider = publisher(clock, directory)
        with pytest.raises(ProviderError):
            provider.publish(image, unheard)
        provider.close()


def test_a_publication_tells_what_it_is_of_and_who_uses_it(
    cloud: Provider, image: Image, clock: VirtualClock
) -> None:
    assert list(cloud.publications()) == []
    cloud.publish(image, unheard)
    size = 4 * 524_288  # what of it is not zeros
    expected = Publication(
        image.identity, image.identity, f"infrakit-web-{image.identity[:24]}", size, clock.now(), False, True
    )
    (found,) = cloud.publications()
    assert replace(found, size=size) == expected and 0 < found.size < 2**30
    cloud.provision([request(image)])
    (found,) = cloud.publications()
    assert found.in_use


def test_what_a_crash_left_is_listed_as_incomplete_and_can_be_taken_away(
    fake: FakeEC2, cloud: Provider, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    cut_short(fake, clock, tmp_path, image)
    assert len(fake.snapshots()) == 1
    (found,) = cloud.publications()
    assert (found.identity, found.complete, found.in_use) == (image.identity, False, False)
    assert [one.error for one in cloud.unpublish([found])] == [None]
    assert fake.snapshots() == []


def test_what_is_taken_away_leaves_neither_ami_nor_snapshot(fake: FakeEC2, cloud: Provider, image: Image) -> None:
    cloud.publish(image, unheard)
    found = cloud.publications()
    for _ in range(2):
        assert [one.error for one in cloud.unpublish(found)] == [None]
    assert (fake.images(), fake.snapshots()) == ([], [])
    assert cloud.published([image]) == frozenset()


def test_an_image_of_which_a_machine_was_made_stays_until_that_is_gone(
    fake: FakeEC2, cloud: Provider, clock: VirtualClock, image: Image
) -> None:
    cloud.publish(image, unheard)
    found = cloud.publications()
    (outcome,) = cloud.provision([request(image, cluster="elsewhere")])
    assert outcome.instance_id is not None
    (refused,) = cloud.unpublish(found)
    assert isinstance(refused.error, ProviderError) and "elsewhere" in str(refused.error)
    assert len(fake.images()) == 1
    cloud.destroy([DestroyRequest(outcome.instance_id, "elsewhere", "web")])
    clock.sleep(10)
    assert [one.error for one in cloud.unpublish(found)] == [None]
    assert fake.images() == []


def test_an_image_that_is_published_anew_after_it_was_taken_away_is_whole(
    fake: FakeEC2, cloud: Provider, image: Image, clock: VirtualClock, tmp_path: Path
) -> None:
    cloud.publish(image, unheard)
    cloud.unpublish(cloud.publications())
    clock.sleep(1000)
    cloud.publish(image, unheard)
    assert faults_of_images(fake, tmp_path, image) == []


def test_images_are_left_over_from_a_cluster_unless_another_uses_them(
    fake: FakeEC2, cloud: Provider, image: Image, tmp_path: Path
) -> None:
    other = kernel_image(tmp_path, seed=2, name="db")
    for one in (image, other):
        cloud.publish(one, unheard)
    cloud.provision([request(image, cluster="shop"), request(other, cluster="elsewhere")])
    (left,) = cloud.leftovers("shop")
    assert left == Leftover(image.identity, "image", f"infrakit-web-{image.identity[:24]}")
    assert cloud.sweep("shop", [left])[0].error is not None, "its machine is still there"
    assert len(fake.images()) == 2


def test_a_snapshot_from_which_somebody_made_an_ami_of_his_own_is_told_and_stays(
    fake: FakeEC2, cloud: Provider, image: Image
) -> None:
    cloud.publish(image, unheard)
    (snapshot,) = fake.snapshots()
    boto3.client("ec2", region_name="eu-central-1").register_image(
        Name="mine",
        RootDeviceName="/dev/xvda",
        Architecture="x86_64",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot.id}}],
    )
    (outcome,) = cloud.unpublish(cloud.publications())
    assert outcome.error is not None and "used by another AMI" in str(outcome.error)
    assert [one.id for one in fake.snapshots()] == [snapshot.id]


def test_a_removal_that_was_cut_short_is_finished_by_the_next(
    fake: FakeEC2, cloud: Provider, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    cloud.publish(image, unheard)
    with FaultProxy(fake.url) as proxy, credentials(proxy.url):
        proxy.add("DeleteSnapshot", Say(403, "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error>"
                                             "</Errors></Response>"), times=None)  # fmt: skip
        half = publisher(clock, tmp_path)
        (outcome,) = half.unpublish(half.publications())
        half.close()
    assert outcome.error is not None and (len(fake.images()), len(fake.snapshots())) == (0, 1)
    (found,) = cloud.publications()
    assert not found.complete
    assert [one.error for one in cloud.unpublish([found])] == [None]
    assert fake.snapshots() == []
