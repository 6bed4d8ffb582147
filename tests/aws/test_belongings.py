"""What named members keep, on the fake EC2: it is made once, and found again by its tags."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from infrakit_providers.aws.machine import Machine
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError, QuotaExceeded, Transient
from tests.aws.ground import fake_ec2
from tests.aws.keeping import (
    ADDRESSED,
    CLUSTER,
    DISKED,
    GROUP,
    KEPT,
    KEY,
    PLAIN,
    WHOLE,
    WIRED,
    A,
    B,
    Killed,
    Scene,
    die,
    lose,
)
from tests.fakes.ec2 import FakeSettings
from tests.fakes.ec2.settings import DEFAULT_GROUP, SUBNETS, WEB_GROUP


def test_a_machine_that_keeps_nothing_costs_no_call(scene: Scene) -> None:
    request = scene.request()
    assert scene.belongings.prepare(request, PLAIN, A, SUBNETS["a"]) is None
    scene.belongings.complete(request, PLAIN, "i-0123456789abcdef0", A)
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, PLAIN) is None
    assert not scene.fake.calls


def test_what_a_machine_keeps_is_made_as_it_is_written(scene: Scene) -> None:
    interface_id = scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    volumes, interface = scene.kept_volumes(), scene.kept_interface()
    assert {name: (one.gibibytes, one.type, one.zone) for name, one in volumes.items()} == {
        "data": (10, "gp3", A),
        "logs": (2, "gp3", A),
    }
    assert (interface.id, interface.subnet.id, interface.groups) == (interface_id, SUBNETS["a"], (WEB_GROUP,))
    assert scene.kept_address()


def test_everything_that_is_kept_says_whose_it_is(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    owner = {"infrakit.cluster": CLUSTER, "infrakit.group": GROUP, "infrakit.aws.key": KEY}
    name = {"Name": "shop/db-1"}
    data = scene.kept_volumes()["data"].tags
    assert data == {**owner, "Name": "shop/db-1/data", "infrakit.aws.disk": "data", "cost": "db"}
    assert scene.kept_interface().tags == {**owner, **name, "net": "inner"}
    assert scene.kept_address().tags == {**owner, **name}


def test_a_disk_is_made_with_all_that_is_written_of_it(scene: Scene) -> None:
    disk = {
        "name": "data", "device": "/dev/sdf", "size": "100GiB", "iops": 4000, "throughput": 500, "kms_key": "alias/k",
    }  # fmt: skip
    machine = Machine.model_validate({"instance_types": "t3.micro", "data_disks": [disk]})
    scene.belongings.prepare(scene.request(), machine, A, SUBNETS["a"])
    made = scene.kept_volumes()["data"]
    assert (made.gibibytes, made.iops, made.throughput, made.encrypted, made.kms_key) == (
        100, 4000, 500, True, "alias/k",
    )  # fmt: skip


def test_an_interface_without_a_subnet_is_in_the_default_one_of_the_zone(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), WIRED, B, None)
    interface = scene.kept_interface()
    assert (interface.subnet.id, interface.groups) == (SUBNETS["b"], (DEFAULT_GROUP,))


def test_preparing_again_makes_nothing_more(scene: Scene) -> None:
    first = scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    before = scene.fake.picture()
    scene.restart()
    assert scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"]) == first
    assert {**scene.fake.picture(), "calls": 0} == {**before, "calls": 0}


def test_the_next_incarnation_finds_what_the_first_made(scene: Scene) -> None:
    first = scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    assert scene.belongings.prepare(scene.request(1), WHOLE, A, SUBNETS["a"]) == first
    assert len(scene.kept_volumes()) == 2
    assert scene.kept_address()


def test_each_member_has_its_own(scene: Scene) -> None:
    first = scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    assert scene.belongings.prepare(scene.request(key="db-2"), WHOLE, A, SUBNETS["a"]) != first
    assert scene.belongings.prepare(scene.request(cluster="other"), WHOLE, A, SUBNETS["a"]) != first
    kept = [one for one in scene.fake.world.volumes.values() if one.tags.get("infrakit.aws.disk") == "data"]
    assert len(kept) == len(scene.fake.world.addresses) == 3


@pytest.mark.parametrize("key", ["db-*", "db-?", "db\\1"])
def test_a_name_is_never_taken_for_a_pattern(scene: Scene, key: str) -> None:
    scene.belongings.prepare(scene.request(), ADDRESSED, A, SUBNETS["a"])
    scene.belongings.prepare(scene.request(key=key), ADDRESSED, A, SUBNETS["a"])
    assert len(scene.fake.world.addresses) == 2


def test_only_a_named_machine_keeps_anything(scene: Scene) -> None:
    with pytest.raises(ProviderError, match="only a named machine keeps"):
        scene.belongings.prepare(replace(scene.request(), data_key=None), WHOLE, A, SUBNETS["a"])
    assert scene.belongings.tags_for(WHOLE, named=False) == {}


def test_a_disk_that_is_smaller_than_written_stays_as_it_is(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), DISKED, A, SUBNETS["a"])
    disks = [{"name": "data", "device": "/dev/sdf", "size": "20GiB", "type": "gp2"}]
    larger = Machine.model_validate({"instance_types": "t3.micro", "data_disks": disks})
    scene.belongings.prepare(scene.request(1), larger, A, SUBNETS["a"])
    assert scene.kept_volumes()["data"].gibibytes == 10


# Crashes, lost replies, and others at the same time.

MAKING = ("CreateVolume", "CreateNetworkInterface", "AllocateAddress")


@pytest.mark.parametrize("operation", MAKING)
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_a_crash_while_making_costs_nothing(scene: Scene, operation: str, when: str) -> None:
    scene.interfere(when, operation, die)
    with pytest.raises(Killed):
        scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    scene.restart()
    scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    assert set(scene.kept_volumes()) == {"data", "logs"}
    assert scene.kept_interface()
    assert scene.kept_address()


@pytest.mark.parametrize("operation", MAKING)
def test_a_lost_reply_costs_nothing_but_another_try(scene: Scene, operation: str) -> None:
    scene.interfere("after-call", operation, lose)
    with pytest.raises(Transient):
        scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    assert set(scene.kept_volumes()) == {"data", "logs"}
    assert scene.kept_interface()
    assert scene.kept_address()


def test_two_who_make_the_same_at_once_make_it_once(scene: Scene) -> None:
    both = Barrier(2)
    machine = Machine.model_validate({**KEPT, "elastic_ip": False})

    def prepare(_: int) -> str | None:
        clients, belongings = scene.another()
        events = clients.of("ec2").meta.events

        def meet(**_: object) -> None:
            both.wait(10)  # both have looked and found nothing

        for operation in ("CreateVolume", "CreateNetworkInterface"):
            events.register(f"before-call.ec2.{operation}", meet)
        try:
            return belongings.prepare(scene.request(), machine, A, SUBNETS["a"])
        finally:
            clients.close()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(prepare, range(2))
    assert first == second == scene.kept_interface().id
    assert set(scene.kept_volumes()) == {"data", "logs"}


def test_threads_of_one_process_allocate_one_address(scene: Scene) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: scene.belongings.prepare(scene.request(), ADDRESSED, A, None), range(4)))
    assert scene.kept_address()


def test_two_processes_that_allocate_at_once_keep_one_address(scene: Scene) -> None:
    """Both look, and find none; the second is done before the first has its own."""
    clients, other = scene.another()
    for _ in range(4):  # ids are drawn: either may be the lower one
        scene.interfere("before-call", "AllocateAddress", lambda: other.prepare(scene.request(), ADDRESSED, A, None))
        scene.belongings.prepare(scene.request(), ADDRESSED, A, None)
        assert scene.kept_address()
        scene.fake.world.addresses.clear()
    clients.close()


def test_no_address_left_is_a_quota() -> None:
    clock = VirtualClock()
    with fake_ec2(FakeSettings(address_quota=0), clock) as fake:
        scene = Scene(fake, clock)
        with pytest.raises(QuotaExceeded):
            scene.belongings.prepare(scene.request(), ADDRESSED, A, None)
        scene.clients.close()


@pytest.mark.parametrize("times", [1, 3])
def test_what_was_deleted_is_made_anew_although_its_token_is_remembered(scene: Scene, times: int) -> None:
    machine = Machine.model_validate({**KEPT, "elastic_ip": False})
    for _ in range(times):
        scene.belongings.prepare(scene.request(), machine, A, SUBNETS["a"])
        errors = [one.error for one in scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER))]
        assert errors == [None] * 3
    scene.restart()
    scene.belongings.prepare(scene.request(), machine, A, SUBNETS["a"])
    assert set(scene.kept_volumes()) == {"data", "logs"}
    assert scene.kept_interface()


def test_what_was_made_a_moment_ago_with_other_words_is_taken_as_it_is(scene: Scene) -> None:
    """Another process has a newer spec, and was quicker: its token is the same, its parameters are not."""
    disks = [{"name": "data", "device": "/dev/sdf", "size": "20GiB"}]
    newer = Machine.model_validate({"instance_types": "t3.micro", "data_disks": disks})
    clients, other = scene.another()
    scene.interfere("before-call", "CreateVolume", lambda: other.prepare(scene.request(), newer, A, None))
    scene.belongings.prepare(scene.request(), DISKED, A, None)
    assert {name: one.gibibytes for name, one in scene.kept_volumes().items()} == {"data": 20, "logs": 2}
    clients.close()


# Zones.


def test_nothing_ties_a_new_member_to_a_zone(scene: Scene) -> None:
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, WHOLE) is None


def test_an_address_ties_nobody_to_a_zone(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), ADDRESSED, A, None)
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, ADDRESSED) is None


@pytest.mark.parametrize(
    ("machine", "expected"),
    [(DISKED, (B, None)), (WIRED, (B, SUBNETS["b"])), (WHOLE, (B, SUBNETS["b"]))],
    ids=["disks", "interface", "both"],
)
def test_a_member_is_tied_to_where_its_things_are(
    scene: Scene, machine: Machine, expected: tuple[str, str | None]
) -> None:
    scene.belongings.prepare(scene.request(), machine, B, SUBNETS["b"])
    scene.fake.calls.clear()
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, machine) == expected
    assert set(scene.fake.calls.values()) == {1}
    assert scene.belongings.zone_of(CLUSTER, GROUP, "db-2", machine) is None


def test_things_in_two_zones_are_an_error(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), DISKED, A, None)
    scene.belongings.prepare(scene.request(), WIRED, B, None)
    both = Machine.model_validate({**KEPT, "elastic_ip": False})
    with pytest.raises(ProviderError, match=r"more than one zone: data disk data .* in eu-central-1a, interface"):
        scene.belongings.zone_of(CLUSTER, GROUP, KEY, both)


@pytest.mark.parametrize(("machine", "what"), [(DISKED, "data disk data"), (WIRED, "its interface")])
def test_a_machine_in_another_zone_than_its_things_is_an_error(scene: Scene, machine: Machine, what: str) -> None:
    scene.belongings.prepare(scene.request(), machine, A, SUBNETS["a"])
    with pytest.raises(
        ProviderError, match=f"{what}.* is in eu-central-1a, and the machine in eu-central-1b"
    ) as told:
        scene.belongings.prepare(scene.request(1), machine, B, SUBNETS["b"])
    assert not told.value.retryable
    assert told.value.hint
