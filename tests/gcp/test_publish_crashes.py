"""`infra` dies at each of its calls while it publishes an image, and whoever comes next makes it good.

There is one image in the end, and nothing in the bucket. See tests/driving/crashes.py for how it dies.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_providers.gcp.published import name_of
from infrakit_py.cli.options import configure_logging
from infrakit_py.images import read_image
from infrakit_py.model.spec import ImageForm
from tests.driving.crashes import (
    Moment,
    Opens,
    Scenario,
    World,
    die_after_each_change,
    die_at_each_call,
    opener,
)
from tests.driving.forks import Forks, forks
from tests.driving.vendor import Document, Vendor
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.storage import BUCKET
from tests.gcp import driving
from tests.gcp.archives import write_archive
from tests.gcp.driving import GCP, web
from tests.gcp.ground import PROJECT

pytestmark = [pytest.mark.crash, pytest.mark.slow]

LASTING: Final = GCP.changing.replace("getHealth", "/upload/storage/|getHealth")
ONE: Final[Mapping[str, Any]] = {"machine": {"zones": ["europe-west1-b"]}, "rollout": {"max_surge": 1}}
SCENARIOS: Final = {
    "creation": Scenario({}, {"web": web(1, **ONE)}, {"web": (0, 1)}),
    "rollout": Scenario({"web": web(1, **ONE)}, {"web": web(1, "v2", **ONE)}, {"web": (0, 2)}),
    "destruction": Scenario({"web": web(1, **ONE)}, {"web": web(1, **ONE)}, {"web": (0, 1)}, destroys=True),
}
CASES: Final = [
    pytest.param(
        name,
        moment,
        id=f"{name}-{moment}",
        marks=[] if (name, moment) == ("creation", Moment.DONE) else [pytest.mark.long],
    )
    for name in SCENARIOS
    for moment in Moment
]


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks("tests.gcp.driving") as ancestor:
        yield ancestor


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


def vendor(root: Path) -> Vendor[FakeGCE]:
    """Return Compute Engine with a bucket, and clusters whose images are disks that lie here."""
    disks = {name: write_archive(root / f"{name}.tar.gz", seed) for seed, name in enumerate(driving.IMAGES)}
    names = {
        name: name_of(read_image(name, ImageForm.DISK, {"disk": disk}, disk_format="gcp"))
        for name, disk in disks.items()
    }
    paths = {name: f"projects/{PROJECT}/global/images/{made}" for name, made in names.items()}

    def cluster(*, settings: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> dict[str, Any]:
        document = driving.cluster(settings={**(settings or {}), "publish": {"bucket": BUCKET}}, **groups)
        return {**document, "images": {name: {"disk": str(disk), "format": "gcp"} for name, disk in disks.items()}}

    def faults_of(fake: FakeGCE, document: Document | None) -> list[str]:
        wanted = {names[group["image"]] for group in document["groups"].values()} if document else set()
        made = {one.name for one in fake.published() if one.status == "READY"}
        faults = driving.faults_of(fake, document, paths)
        faults += [f"{one.name} is {one.status}" for one in fake.published() if one.status != "READY"]
        faults += [f"{one.name} was left in the bucket" for one in fake.stored()]
        faults += [f"{name} is not published" for name in wanted - made]
        return faults + [f"{name} was left" for name in made if document is None]

    return replace(GCP, cluster=cluster, faults_of=faults_of)


def quick(lag: float) -> FakeGCE:
    soon = 0.02
    settings = FakeSettings(
        boot_seconds=soon, delete_seconds=soon, operation_seconds=soon, import_seconds=soon, listing_lag=lag
    )
    return FakeGCE(settings)


def opens_with(of: Vendor[FakeGCE], ancestor: Forks, root: Path) -> Opens[FakeGCE]:
    within = opener(of, ancestor, quick, root)

    @contextmanager
    def open_(scenario: Scenario, **how: Any) -> Iterator[World[FakeGCE]]:
        with within(scenario, **how) as world:
            world.fake.world.storage.url = world.proxy.url  # so that uploads go over the bad line, too
            yield world

    return open_


@pytest.mark.parametrize(("name", "moment"), CASES)
def test_a_death_at_any_call_leaves_one_image_and_no_object(
    name: str, moment: Moment, ancestor: Forks, tmp_path: Path
) -> None:
    opens = opens_with(vendor(tmp_path), ancestor, tmp_path)
    die_at_each_call(opens, SCENARIOS[name], 0.0, moment, lose_state=False)


def test_death_after_death_comes_to_an_end(ancestor: Forks, tmp_path: Path) -> None:
    """Each process makes one change, and never learns that it did. To begin an upload is none: that is forgotten."""
    of = replace(vendor(tmp_path), changing=LASTING)
    die_after_each_change(opens_with(of, ancestor, tmp_path), SCENARIOS["creation"], 0.0)
