"""`infra` is killed at each call by which an image is published, and goes on: one snapshot, one AMI, nothing besides.

The process is real, and dies by SIGKILL: before its request arrives, while that is on its way (it arrives when the
next process has looked), or after the work and before the answer. Both ways to AWS, and what is done there then.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.cli.options import configure_logging
from infrakit_py.model.spec import Image
from tests.aws import driving
from tests.aws.driving import read_models_once
from tests.aws.ground import credentials
from tests.aws.publishing import (
    BY_BUCKET,
    DIRECT,
    NEIGHBOUR,
    disk_image,
    faults_of_images,
    sparse_disk,
)
from tests.driving.crashes import Moment, Opens, Scenario, die_at_each_call, opener
from tests.driving.forks import Forks
from tests.driving.vendor import Document, Vendor
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.tables import Instance
from tests.fakes.proxy import Call

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.disks]

CHANGING: Final = r"\A(PUT|DELETE) |\APOST /[^\s]|\nAction=(?!Describe|Get)"
LASTING: Final = (
    r"\A(?!PUT /snapshots/[^\s]+/blocks/)(PUT|DELETE) |\APOST /[^\s]|\nAction=(?!Describe|Get|Modify\w+Attribute)"
)
MIB: Final = 2**20
FRIEND: Final = "210987654321"
WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "direct": DIRECT,
    "s3": BY_BUCKET,
    "handed on": {"copy_to": [NEIGHBOUR], "share_with": [FRIEND]},
}
SCENARIO: Final = Scenario({}, {"web": {"size": 1}}, {"web": (0, 1)})
_LOAD: Final = read_models_once()


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with driving.forks() as ancestor:
        yield ancestor


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)
    configure_logging(logging.CRITICAL)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    content = {0: b"boot", 2 * MIB: b"kernel and initrd" * 1000}
    return disk_image(sparse_disk(tmp_path / "web.raw", 3 * MIB, at=content))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opens(ancestor: Forks, tmp_path: Path, image: Image, buckets: str, s3: Any, way: str) -> Iterator[Opens[FakeEC2]]:
    def fake(lag: float) -> FakeEC2:
        for one in s3.list_objects_v2(Bucket=BY_BUCKET["bucket"]).get("Contents", ()):
            s3.delete_object(Bucket=BY_BUCKET["bucket"], Key=one["Key"])
        settings = FakeSettings(boot_seconds=0.05, terminate_seconds=0.05, listing_lag=lag, neighbours=(NEIGHBOUR,))
        return FakeEC2(settings, buckets=buckets)

    def faults(fake: FakeEC2, document: Document | None) -> list[str]:
        del document
        found = faults_of_images(fake, tmp_path, image, s3=s3)
        machines = driving.members(fake, "web")
        if len(machines) != 1 or {one.image.id for one in machines} != {one.id for one in fake.images()}:
            found.append(f"machines {[one.id for one in machines]} of {[one.image.id for one in machines]}")
        if way == "handed on":
            there = fake.abroad(NEIGHBOUR)
            if (len(there.images()), len(there.snapshots())) != (1, 1):
                found.append(f"{len(there.images())} copies, {len(there.snapshots())} snapshots of copies")
            things: list[Any] = [*fake.images(), *fake.snapshots(), *there.images(), *there.snapshots()]
            found += [f"{one.id} is not shared" for one in things if one.shared != {FRIEND}]
        return found

    vendor = Vendor(
        credentials=lambda _, url: credentials(url),
        variables=("AWS_",),
        cluster=lambda settings=None, **groups: _cluster(image, way, settings, groups),
        faults_of=faults,
        members=driving.members,
        serving=_serving,
        changing=CHANGING,
        launching="Action=RunInstances",
        name_of=_name,
    )
    with credentials("http://127.0.0.1:9"):
        yield opener(vendor, ancestor, fake, tmp_path / "worlds")


def _cluster(
    image: Image, way: str, settings: Mapping[str, Any] | None, groups: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    document = driving.cluster(
        settings={**(settings or {}), "publish": dict(WAYS[way])},
        **{name: driving.web(group["size"], image="web") for name, group in groups.items()},
    )
    return {**document, "images": {"web": {"disk": image.files["disk"].path}}}


def _serving(fake: FakeEC2, group: str, declared: Document) -> list[Instance]:
    del declared
    return driving.serving(fake, group, behind=False)


def _name(call: Call) -> str:
    return call.text.partition("Action=")[2].partition("&")[0] or f"{call.method} {call.path}"


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        pytest.param(way, moment, marks=[] if (way, moment) == ("direct", Moment.DONE) else [pytest.mark.long])
        for way in WAYS
        for moment in Moment
    ],
    indirect=["way"],
)
def test_a_death_at_any_call_of_publishing_leaves_one_snapshot_and_one_ami(
    moment: Moment, opens: Opens[FakeEC2]
) -> None:
    die_at_each_call(opens, SCENARIO, 0.0, moment, lose_state=False)


@pytest.mark.long
def test_death_after_death_comes_to_an_end(opens: Opens[FakeEC2]) -> None:
    """What a dead one had done is not done again, but for blocks (nobody can ask which are there) and for shares."""
    with opens(SCENARIO, lag=0.0) as world:
        world.vendor = replace(world.vendor, changing=LASTING)
        while world.die_at(1, Moment.DONE):
            world.heal()
        world.check()


@pytest.mark.long
@pytest.mark.parametrize("way", ["direct"], indirect=True)
def test_a_late_listing_of_what_the_dead_one_made_leads_to_no_second(opens: Opens[FakeEC2]) -> None:
    for number in count(1):
        with opens(SCENARIO, lag=0.3) as world:
            if not world.die_at(number, Moment.DONE):
                world.check()
                break
            with world.explained(f"death at call {number} ({world.struck(number)})"):
                world.go_on()
                world.check()
