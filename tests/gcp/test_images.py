"""Images as Compute Engine has them, and the zones of a region: what is asked, and for how long it is believed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import pytest

from infrakit_providers.gcp.calls import Caller, Rates
from infrakit_providers.gcp.clients import Clients
from infrakit_providers.gcp.images import Images
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.settings import Settings
from infrakit_providers.gcp.zones import Zones
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.spec import Json
from tests.fakes.gce import FakeGCE
from tests.gcp.ground import LINUX, LINUX_2, PROJECT, REGION, SETTINGS

FAMILY = f"projects/{PROJECT}/global/images/family/linuxkit"
DEBIAN = "projects/debian-cloud/global/images/debian-12-bookworm-v20250610"
B, C, D = (f"{REGION}-{letter}" for letter in "bcd")


@pytest.fixture(name="caller")
def _caller(fake: FakeGCE, clock: VirtualClock) -> Iterator[Caller]:
    settings = Settings.model_validate(dict(SETTINGS))
    clients = Clients(settings, Path())
    yield Caller(clients, Rates(settings.limits), clock, Random(0), 4)
    clients.close()


@pytest.fixture(name="images")
def _images(caller: Caller, clock: VirtualClock) -> Images:
    return Images(caller, clock)


def zones(caller: Caller, clock: VirtualClock, **written: Json) -> Zones:
    return Zones(caller, Settings.model_validate({**SETTINGS, **written}), clock)


def machine(**written: Json) -> Machine:
    return Machine.model_validate({"machine_types": "e2-small", **written})


def deprecate(fake: FakeGCE, state: str, name: str = "linuxkit-1") -> None:
    fake.world.images[PROJECT, name].deprecated = state


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        (LINUX, LINUX),
        ("global/images/linuxkit-1", LINUX),
        (f"https://www.googleapis.com/compute/v1/{LINUX}", LINUX),
        (f"https://compute.googleapis.com/compute/v1/{LINUX}", LINUX),
        (FAMILY, LINUX_2),
        ("global/images/family/linuxkit", LINUX_2),
        ("projects/debian-cloud/global/images/family/debian-12", DEBIAN),
    ],
)
def test_a_reference_stands_for_an_image_by_its_path(images: Images, reference: str, path: str) -> None:
    assert images.resolve(reference) == path


def test_a_family_stands_for_its_newest_image_that_is_not_deprecated(images: Images, fake: FakeGCE) -> None:
    deprecate(fake, "DEPRECATED", "linuxkit-2")
    assert images.resolve(FAMILY) == LINUX


def test_a_family_that_there_is_not_stands_for_no_image(images: Images) -> None:
    with pytest.raises(ImageMissing, match="family/none"):
        images.resolve("global/images/family/none")


def test_what_is_no_reference_is_refused_without_a_call(images: Images, fake: FakeGCE) -> None:
    with pytest.raises(ProviderError, match="ami-1 is no image"):
        images.is_available("ami-1")
    assert not fake.calls


@pytest.mark.parametrize(
    ("state", "available"), [("", True), ("DEPRECATED", True), ("OBSOLETE", False), ("DELETED", False)]
)
def test_machines_boot_from_all_but_withdrawn_images(
    images: Images, fake: FakeGCE, state: str, available: bool
) -> None:
    deprecate(fake, state)
    assert images.is_available(LINUX) is available


def test_an_image_that_there_is_not_is_not_available_until_it_is(images: Images, fake: FakeGCE) -> None:
    gone = fake.world.images.pop((PROJECT, "linuxkit-1"))
    assert not images.is_available(LINUX)
    fake.world.images[PROJECT, "linuxkit-1"] = gone
    assert images.is_available(LINUX)


def test_an_image_is_asked_for_once_in_a_while(images: Images, fake: FakeGCE, clock: VirtualClock) -> None:
    assert [images.is_available(LINUX) for _ in range(3)] == [True] * 3
    assert fake.calls["images.get"] == 1
    deprecate(fake, "OBSOLETE")
    clock.sleep(600)
    assert not images.is_available(LINUX)


def test_an_image_that_is_forgotten_is_asked_for_again(images: Images, fake: FakeGCE) -> None:
    images.is_available("global/images/linuxkit-1")
    deprecate(fake, "OBSOLETE")
    images.forget(LINUX)
    assert not images.is_available("global/images/linuxkit-1")


def test_an_image_says_what_it_is_for_and_how_large(images: Images) -> None:
    found = images.find(DEBIAN)
    assert found is not None
    assert (found.path, found.architecture, found.size_gib) == (DEBIAN, "X86_64", 10)


@pytest.mark.parametrize(
    ("of_provider", "of_machine", "expected"),
    [
        ({}, {}, (B, C, D)),
        ({"zones": [D, B]}, {}, (D, B)),
        ({}, {"zones": [C]}, (C,)),
        ({"zones": [B, C]}, {"zones": [C]}, (C,)),
    ],
    ids=["all of the region", "the provider's", "the machine's", "the machine's before the provider's"],
)
def test_machines_go_where_it_is_written_or_to_all_zones(
    caller: Caller,
    clock: VirtualClock,
    of_provider: Mapping[str, Json],
    of_machine: Mapping[str, Json],
    expected: tuple[str, ...],
) -> None:
    assert zones(caller, clock, **of_provider).of(machine(**of_machine)) == expected


def test_zones_are_known_without_asking_once_they_were_asked_for(
    caller: Caller, clock: VirtualClock, fake: FakeGCE
) -> None:
    region = zones(caller, clock)
    assert region.known(machine()) == ()
    assert [region.of(machine()), region.of(machine()), region.known(machine())] == [(B, C, D)] * 3
    assert fake.calls["zones.list"] == 1


def test_zones_that_are_down_or_out_of_the_ordinary_are_left_out(
    caller: Caller, clock: VirtualClock, fake: FakeGCE
) -> None:
    listed = fake.front.handlers["zones.list"]

    def others(*asked: object) -> dict[str, object]:
        reply = listed(*asked)  # type: ignore[arg-type]
        assert isinstance(reply, dict)
        items = [{**one, "status": "DOWN"} if one["name"] == B else one for one in reply["items"]]
        return {**reply, "items": [*items, {**items[-1], "name": f"{REGION}-ai1a"}]}

    fake.front.handlers["zones.list"] = others
    assert zones(caller, clock).of(machine()) == (C, D)


def test_a_region_that_there_is_not_has_no_zones(caller: Caller, clock: VirtualClock) -> None:
    with pytest.raises(ProviderError, match="region europe-west7: there is no such region"):
        zones(caller, clock, region="europe-west7").of(machine())
