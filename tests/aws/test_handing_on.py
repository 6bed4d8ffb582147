"""Published images are copied to other regions and shared with other accounts, as the settings say, and only once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_providers.aws import marks
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image, Json
from tests.aws.driving import read_models_once
from tests.aws.ground import credentials
from tests.aws.publishing import NEIGHBOUR, kernel_image, publisher, raw_disk, unheard
from tests.fakes.ec2 import FakeEC2
from tests.fakes.proxy import DropReply, FaultProxy

pytestmark = pytest.mark.disks

_LOAD: Final = read_models_once()
KEY: Final = "arn:aws:kms:eu-central-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
FRIEND: Final = "210987654321"
COPIED: Final[Mapping[str, Json]] = {"copy_to": [NEIGHBOUR]}
SHARED: Final[Mapping[str, Json]] = {"share_with": [FRIEND]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return kernel_image(tmp_path)


def test_a_copy_in_another_region_is_the_same_image_there(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    here = publisher(clock, tmp_path, COPIED)
    here.publish(image, unheard)
    assert here.published([image]) == {image.identity}
    (copy,) = account.abroad(NEIGHBOUR).images()
    assert (copy.name, copy.tags[marks.KEY]) == (marks.ami_name(image), image.identity)
    there = publisher(clock, tmp_path, region=NEIGHBOUR)
    assert there.published([image]) == frozenset(), "it is still on its way"
    there.publish(image, unheard)
    assert there.published([image]) == {image.identity}
    (snapshot,) = account.abroad(NEIGHBOUR).snapshots()
    assert account.abroad(NEIGHBOUR).content(snapshot.id) == raw_disk(tmp_path, image).rstrip(b"\0")
    assert [one.id for one in account.abroad(NEIGHBOUR).images()] == [copy.id], "it was not published again"
    assert [one.complete for one in there.publications()] == [True]


def test_publishing_again_copies_and_shares_nothing_again(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    both = {**COPIED, **SHARED}
    for _ in range(2):
        publisher(clock, tmp_path, both).publish(image, unheard)
    assert len(account.abroad(NEIGHBOUR).images()) == len(account.abroad(NEIGHBOUR).snapshots()) == 1
    assert account.calls["ModifyImageAttribute"] == 1


def test_the_ami_its_snapshot_and_its_copies_are_shared(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    publisher(clock, tmp_path, {**COPIED, **SHARED}).publish(image, unheard)
    for hand in (account, account.abroad(NEIGHBOUR)):
        assert [one.shared for one in hand.images()] == [{FRIEND}]
        assert [one.shared for one in hand.snapshots()] == [{FRIEND}]


@pytest.mark.parametrize("operation", ["CopyImage", "ModifyImageAttribute", "ModifySnapshotAttribute", "CreateTags"])
def test_a_step_whose_answer_was_lost_is_done_once_and_the_image_counts_only_then(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, operation: str
) -> None:
    both = {**COPIED, **SHARED}
    with FaultProxy(account.url) as proxy, credentials(proxy.url):
        proxy.add(f"Action={operation}", DropReply(), times=None)
        half = publisher(clock, tmp_path, both)
        told = True
        try:
            half.publish(image, unheard)
        except ProviderError:
            told = False
    whole = publisher(clock, tmp_path, both)
    assert whole.published([image]) == ({image.identity} if told else frozenset())
    whole.publish(image, unheard)
    assert whole.published([image]) == {image.identity}
    assert len(account.abroad(NEIGHBOUR).images()) == len(account.images()) == 1
    assert [one.shared for one in account.images()] == [{FRIEND}]


def test_what_is_wanted_later_is_done_to_an_image_that_is_there(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path
) -> None:
    plain = publisher(clock, tmp_path)
    plain.publish(image, unheard)
    sharing = publisher(clock, tmp_path, SHARED)
    assert sharing.published([image]) == frozenset()
    sharing.publish(image, unheard)
    assert plain.published([image]) == sharing.published([image]) == {image.identity}
    assert [one.shared for one in account.images()] == [{FRIEND}]


@pytest.mark.parametrize("way", [{}, {"upload": "s3", "bucket": "infrakit-images"}], ids=["direct", "s3"])
def test_snapshots_are_encrypted_by_the_key_and_copies_by_its_replica(
    account: FakeEC2, clock: VirtualClock, image: Image, tmp_path: Path, way: dict[str, Any]
) -> None:
    settings = {**way, **COPIED, **SHARED, "encrypt": True, "kms_key": KEY}
    publisher(clock, tmp_path, settings).publish(image, unheard)
    (snapshot,), (copy,) = account.snapshots(), account.abroad(NEIGHBOUR).snapshots()
    assert (snapshot.encrypted, snapshot.kms_key) == (True, KEY)
    assert (copy.encrypted, copy.kms_key) == (True, KEY.replace("eu-central-1", NEIGHBOUR))
    assert snapshot.shared == copy.shared == {FRIEND}
