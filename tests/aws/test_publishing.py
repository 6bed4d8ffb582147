"""Images become AMIs: once each, with the very bytes, and found again by whoever asks next."""

import base64
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_providers.aws import marks
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ImageMissing, ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Provider, ProvisionRequest
from tests.aws.driving import read_models_once
from tests.aws.ground import credentials
from tests.aws.publishing import (
    BUCKET,
    BY_BUCKET,
    DIRECT,
    disk_image,
    faults_of_images,
    kernel_image,
    publisher,
    raw_disk,
    renamed,
    sparse_disk,
    unheard,
)
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.proxy import Call, DropReply, DropRequest, Effect, FaultProxy, Say, Tap

pytestmark = pytest.mark.disks

MIB = 2**20
WAYS = {"direct": DIRECT, "s3": BY_BUCKET}
THROTTLED = Say(400, '{"__type": "RequestThrottledException", "Message": "slow down"}', "application/json")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)


_LOAD: Final = read_models_once()


@pytest.fixture(params=["direct", pytest.param("s3", marks=pytest.mark.long)])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cloud(account: FakeEC2, clock: VirtualClock, tmp_path: Path, way: str) -> Iterator[Provider]:
    provider = publisher(clock, tmp_path, WAYS[way])
    yield provider
    provider.close()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return kernel_image(tmp_path)


def request(image: Image, cluster: str = "shop", slot: str = "0", **machine: Any) -> ProvisionRequest:
    token = tags.token(cluster, "web", slot, 0)
    owned = {tags.CLUSTER: cluster, tags.GROUP: "web", tags.SLOT: slot, tags.TOKEN: token, tags.IMAGE: image.identity}
    return ProvisionRequest(token, slot, owned, image, {"instance_types": "t3.micro", **machine}, b'{"a": "b"}')


def test_an_image_of_a_kernel_becomes_one_ami_with_the_disk_s_very_bytes(
    account: FakeEC2, cloud: Provider, image: Image, tmp_path: Path, s3: Any
) -> None:
    progress: list[tuple[int, int]] = []
    assert cloud.published([image]) == frozenset()
    cloud.publish(image, lambda done, total: progress.append((done, total)))
    assert faults_of_images(account, tmp_path, image, s3=s3) == []
    assert cloud.published([image]) == {image.identity}
    size = len(raw_disk(tmp_path, image))
    assert progress[-1] == (size, size) and progress == sorted(progress)


def test_the_ami_is_one_that_today_s_machines_can_boot(account: FakeEC2, cloud: Provider, image: Image) -> None:
    cloud.publish(image, unheard)
    (ami,) = account.images()
    assert ami.name == f"infrakit-{image.identity[:24]}"
    assert (ami.arch, ami.boot_mode, ami.ena, ami.imds) == ("x86_64", "legacy-bios", True, None)
    assert (ami.root, ami.volume_type, ami.gibibytes) == ("/dev/sda1", "gp3", 1)
    expected = {tags.IMAGE: image.identity, marks.IMAGE_NAME: "web", "Name": f"infrakit-web-{image.identity[:24]}"}
    (snapshot,) = account.snapshots()
    assert expected.items() <= ami.tags.items() and expected.items() <= snapshot.tags.items()


def test_publishing_again_makes_nothing_more(
    account: FakeEC2, cloud: Provider, clock: VirtualClock, way: str, image: Image, tmp_path: Path, s3: Any
) -> None:
    cloud.publish(image, unheard)
    cloud.publish(image, unheard)
    publisher(clock, tmp_path, WAYS[way]).publish(renamed(image, "frontend"), unheard)
    assert faults_of_images(account, tmp_path, image, s3=s3) == []


def test_many_publishers_at_once_end_with_one(
    account: FakeEC2, clock: VirtualClock, way: str, image: Image, tmp_path: Path, s3: Any
) -> None:
    raw_disk(tmp_path, image)
    providers = [publisher(clock, tmp_path, WAYS[way]) for _ in range(4)]
    begin = threading.Barrier(len(providers))

    def publish(one: Provider) -> None:
        begin.wait()
        one.publish(image, unheard)

    with ThreadPoolExecutor(len(providers)) as pool:
        list(pool.map(publish, providers))
    assert faults_of_images(account, tmp_path, image, s3=s3) == []


def test_publishers_that_call_it_by_different_names_end_with_one(
    account: FakeEC2, clock: VirtualClock, way: str, image: Image, tmp_path: Path, s3: Any
) -> None:
    raw_disk(tmp_path, image)
    providers = {name: publisher(clock, tmp_path, WAYS[way]) for name in ("web", "frontend", "api")}
    begin = threading.Barrier(len(providers))

    def publish(name: str) -> None:
        begin.wait()
        providers[name].publish(renamed(image, name), unheard)

    with ThreadPoolExecutor(len(providers)) as pool:
        list(pool.map(publish, providers))
    assert faults_of_images(account, tmp_path, image, s3=s3) == []


def test_a_machine_boots_from_the_image_and_gets_its_user_data_as_it_was_written(
    account: FakeEC2, cloud: Provider, image: Image
) -> None:
    cloud.publish(image, unheard)
    (outcome,) = cloud.provision([request(image)])
    assert outcome.error is None
    (instance,) = account.instances()
    assert instance.image.id == account.images()[0].id
    assert base64.b64decode(instance.user_data) == b'{"a": "b"}'
    assert instance.asked["MetadataOptions"]["HttpTokens"] == "optional"


def test_a_machine_waits_for_an_image_that_is_not_there(cloud: Provider, image: Image) -> None:
    (outcome,) = cloud.provision([request(image)])
    assert isinstance(outcome.error, ImageMissing)


def test_an_image_that_is_taken_away_behind_our_back_is_published_again(
    account: FakeEC2, cloud: Provider, image: Image, tmp_path: Path
) -> None:
    cloud.publish(image, unheard)
    account.remove_image(account.images()[0].id)
    (outcome,) = cloud.provision([request(image)])
    assert isinstance(outcome.error, ImageMissing)
    assert cloud.published([image]) == frozenset()
    cloud.publish(image, unheard)
    assert faults_of_images(account, tmp_path, image) == []
    assert cloud.provision([request(image)])[0].error is None


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_disk_that_was_made_elsewhere_is_published_byte_by_byte(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path, format: str
) -> None:
    raw = sparse_disk(tmp_path / "disk.raw", 5 * MIB + 1000, at={0: b"boot", 3 * MIB: b"x" * MIB, 5 * MIB: b"end"})
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    image = disk_image(raw if format == "raw" else disk, format)
    provider = publisher(clock, tmp_path)
    provider.publish(image, unheard)
    assert faults_of_images(account, tmp_path, image) == []
    assert account.calls["PutSnapshotBlock"] == 4, "blocks of zeros were written"
    assert provider.provision([request(image)])[0].error is None
    assert account.instances()[0].asked["MetadataOptions"]["HttpTokens"] == "required"
    provider.close()


def test_the_same_kernel_on_a_larger_disk_is_another_ami(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    provider, larger = publisher(clock, tmp_path), replace(image, disk_size=64 * MIB)
    provider.publish(image, unheard)
    provider.publish(larger, unheard)
    assert faults_of_images(account, tmp_path, image, larger) == []
    provider.close()


def test_a_backup_that_bears_a_machine_s_tags_is_not_taken_for_the_image(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    account.add_image("ami-0123456789abcdef0", "backup of a machine")
    account.world.images["ami-0123456789abcdef0"].tags = {tags.IMAGE: image.identity, tags.CLUSTER: "shop"}
    provider = publisher(clock, tmp_path)
    assert provider.published([image]) == frozenset()
    provider.close()


def test_a_snapshot_that_was_given_up_is_cleared_away_by_the_next_publisher(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        proxy.add("PUT /snapshots/", Say(400, '{"Message": "no"}', "application/json"), times=None)
        with pytest.raises(ProviderError):
            publisher(clock, tmp_path).publish(image, unheard)
    (snapshot,) = account.snapshots()
    clock.sleep(3700)
    account.ids()
    assert snapshot.state == "error", "EBS gives up what nobody writes to"
    publisher(clock, tmp_path).publish(image, unheard)
    assert faults_of_images(account, tmp_path, image) == []


def test_a_snapshot_that_fails_while_it_is_awaited_is_made_anew(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        fail = Tap(lambda _: account.fail_snapshot(account.snapshots()[0].id), "after")
        proxy.add("POST /snapshots/completion/", fail)
        publisher(clock, tmp_path).publish(image, unheard)
    assert faults_of_images(account, tmp_path, image) == []
    assert account.calls["StartSnapshot"] > 1


def test_a_storm_of_throttled_calls_delays_and_spoils_nothing(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        proxy.add("PUT /snapshots/", THROTTLED, times=40)
        proxy.add("POST /snapshots", THROTTLED, times=2)
        proxy.add("RegisterImage", Say(), times=2)
        publisher(clock, tmp_path).publish(image, unheard)
    assert faults_of_images(account, tmp_path, image) == []


def test_an_import_that_fails_is_told_in_aws_s_words_and_tried_anew_when_asked_again(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, s3: Any
) -> None:
    provider = publisher(clock, tmp_path, BY_BUCKET)
    account.fail_import("ClientError: Disk validation failed [No bootable partition]")
    with pytest.raises(ProviderError, match="No bootable partition"):
        provider.publish(image, unheard)
    provider.publish(image, unheard)
    assert faults_of_images(account, tmp_path, image, s3=s3) == []
    provider.close()


def test_an_upload_that_was_cut_short_goes_on_with_the_parts_that_are_missing(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path, s3: Any
) -> None:
    image = kernel_image(tmp_path, size=7 * MIB)
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        proxy.add("partNumber=3", Say(403, "<Error><Code>AccessDenied</Code></Error>"), times=None)
        with pytest.raises(ProviderError):
            publisher(clock, tmp_path, BY_BUCKET).publish(image, unheard)
    (upload,) = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    sent = s3.list_parts(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])["Parts"]
    assert [one["PartNumber"] for one in sent] == [1, 2]
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        publisher(clock, tmp_path, BY_BUCKET).publish(image, unheard)
        assert len(proxy.calls("partNumber=")) == 1, "parts that were there already were sent again"
    assert faults_of_images(account, tmp_path, image, s3=s3) == []


def test_a_disk_that_changed_since_it_was_read_is_not_published(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path, way: str
) -> None:
    path = sparse_disk(tmp_path / "disk.raw", MIB, at={0: b"boot"})
    image = disk_image(path)
    path.write_bytes(b"else" * 1000)
    with pytest.raises(ProviderError, match="changed"):
        publisher(clock, tmp_path, WAYS[way]).publish(image, unheard)
    assert (account.images(), account.snapshots()) == ([], [])


def test_a_disk_that_changes_while_it_is_uploaded_leaves_nothing_of_it(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path
) -> None:
    path = sparse_disk(tmp_path / "disk.raw", 4 * MIB, at={0: b"boot", 3 * MIB: b"end"})
    image = disk_image(path)

    def spoil(call: Call) -> None:
        del call
        with path.open("r+b") as file:  # in place: a shorter file is another mistake
            file.write(b"else")

    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        proxy.add("PUT /snapshots/", Tap(spoil))
        with pytest.raises(ProviderError, match="changed while it was uploaded"):
            publisher(clock, tmp_path).publish(image, unheard)
    assert (account.images(), account.snapshots()) == ([], [])


def test_late_listings_lead_to_one_ami_all_the_same(buckets: str, clock: VirtualClock, tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    with FakeEC2(FakeSettings(listing_lag=20), clock) as fake, credentials(fake.url):
        provider = publisher(clock, tmp_path, listing_lag="20s")
        provider.publish(image, unheard)
        publisher(clock, tmp_path, listing_lag="20s").publish(image, unheard)
        clock.sleep(30)
        assert faults_of_images(fake, tmp_path, image) == []
        assert provider.published([image]) == {image.identity}
        assert not fake.mistakes


def test_a_fleet_s_machines_boot_from_the_image_too(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    provider = publisher(clock, tmp_path)
    provider.publish(image, unheard)
    mixed = request(image, instance_types=["t3.micro", "t3.small"], capacity={"spot_percent": 100})
    (ticket,) = provider.arrange([mixed])
    assert provider.provision([replace(mixed, ticket=ticket)])[0].error is None
    (template,) = account.world.templates.values()
    assert template.data["ImageId"] == account.images()[0].id
    assert template.data["MetadataOptions"]["HttpTokens"] == "optional"
    assert [one.image.id for one in account.instances()] == [account.images()[0].id]
    provider.close()


def test_a_larger_root_disk_lies_on_the_image_s_root_device(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    provider = publisher(clock, tmp_path)
    provider.publish(image, unheard)
    assert provider.provision([request(image, root_disk={"size": "8GiB"})])[0].error is None
    (volume,) = account.volumes()
    assert (volume.device, volume.gibibytes, volume.snapshot) == ("/dev/sda1", 8, account.snapshots()[0].id)
    provider.close()


def test_a_name_that_somebody_else_s_ami_has_is_told(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    account.add_image("ami-0123456789abcdef0", marks.ami_name(image))
    with pytest.raises(ProviderError, match="ami-0123456789abcdef0 has the name infrakit-"):
        publisher(clock, tmp_path).publish(image, unheard)
    (snapshot,) = account.snapshots()
    account.remove_image("ami-0123456789abcdef0")
    publisher(clock, tmp_path).publish(image, unheard)
    assert [one.snapshot for one in account.images()] == [snapshot.id], "what was uploaded was thrown away"


def test_a_snapshot_that_is_never_completed_is_waited_for_an_hour_and_not_longer(
    clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    with FakeEC2(FakeSettings(snapshot_seconds=1_000_000), clock) as fake, credentials(fake.url):
        began = clock.now()
        with pytest.raises(Transient, match="has taken more than 60 minutes"):
            publisher(clock, tmp_path).publish(image, unheard)
        assert 3600 <= clock.now() - began < 3800


@pytest.mark.parametrize(
    ("calls", "publish"),
    [
        (r"\APOST /snapshots\n", DIRECT),
        pytest.param(r"\APUT /snapshots/", DIRECT, marks=pytest.mark.long),
        (r"\APOST /snapshots/completion", DIRECT),
        ("Action=RegisterImage", DIRECT),
        pytest.param(r"\?uploads", BY_BUCKET, marks=pytest.mark.long),
        pytest.param("partNumber=1", BY_BUCKET, marks=pytest.mark.long),
        (r"\APOST /\S+\?uploadId", BY_BUCKET),
        ("Action=ImportSnapshot", BY_BUCKET),
        pytest.param("Action=CreateTags", BY_BUCKET, marks=pytest.mark.long),
        pytest.param(r"\ADELETE /", BY_BUCKET, marks=pytest.mark.long),
    ],
    ids=["start", "block", "completion", "registration", "begin", "part", "end", "import", "tags", "object"],
)
@pytest.mark.parametrize(
    "effect", [DropReply(), pytest.param(DropRequest(), marks=pytest.mark.long)], ids=["reply lost", "request lost"]
)
def test_a_call_that_is_lost_on_the_way_is_made_again_to_the_same_end(
    account: FakeEC2,
    clock: VirtualClock,
    image: Image,
    tmp_path: Path,
    s3: Any,
    calls: str,
    publish: dict[str, Any],
    effect: Effect,
) -> None:
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        rule = proxy.add(calls, effect)
        publisher(clock, tmp_path, publish).publish(image, unheard)
        assert rule.seen >= 1
    assert faults_of_images(account, tmp_path, image, s3=s3) == []
