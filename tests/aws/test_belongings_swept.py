"""What named members keep is deleted when nobody uses it, and when it is ours."""

import pytest

from infrakit_providers.aws.machine import Machine
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import NotOurs
from infrakit_py.model import tags
from infrakit_py.spi.provider import Leftover
from tests.aws.ground import fake_ec2
from tests.aws.keeping import ADDRESSED, CLUSTER, DISKED, GROUP, WHOLE, WIRED, A, Scene
from tests.fakes.ec2 import FakeSettings
from tests.fakes.ec2.settings import DEFAULT_GROUP, SUBNETS, WEB_GROUP


def test_all_that_is_kept_is_left_over_and_nothing_else(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(cluster="other"), WHOLE, A, SUBNETS["a"])
    scene.boot(scene.request(), WHOLE)
    left = scene.belongings.leftovers(CLUSTER)
    assert [(one.kind, one.group, one.holds_data) for one in left] == [
        ("data disk", GROUP, True),
        ("data disk", GROUP, True),
        ("address", GROUP, False),
        ("network interface", GROUP, False),
    ]
    assert [one.name for one in left] == [
        "db-1: data",
        "db-1: logs",
        f"db-1: {scene.fake.world.addresses[left[2].id].public_ip}",
        f"db-1: {scene.fake.world.interfaces[left[3].id].private_ip}",
    ]


def test_what_a_machine_uses_is_not_swept(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    left = scene.belongings.leftovers(CLUSTER)
    assert all("in use" in str(one.error) for one in scene.belongings.sweep(CLUSTER, left))
    assert scene.lacking(id_) == {}


@pytest.mark.parametrize("machine", [DISKED, ADDRESSED, WIRED], ids=["disks", "address", "interface"])
def test_what_a_machine_is_about_to_get_is_not_swept(scene: Scene, machine: Machine) -> None:
    request = scene.request()
    id_ = scene.launch(request, machine)
    left = scene.belongings.leftovers(CLUSTER)
    assert all(f"in use by {id_}" in str(one.error) for one in scene.belongings.sweep(CLUSTER, left))
    scene.clock.sleep(5)
    scene.belongings.complete(request, machine, id_, A)
    assert scene.lacking(id_) == {}


@pytest.mark.parametrize("id_lag", [0, 30], ids=["known by its id", "not known at all"])
def test_what_a_machine_gets_that_no_listing_shows_yet_is_not_swept(id_lag: float) -> None:
    clock = VirtualClock()
    with fake_ec2(FakeSettings(boot_seconds=2, listing_lag=30, id_lag=id_lag), clock) as fake:
        scene = Scene(fake, clock)
        id_ = scene.launch(scene.request(), DISKED)
        left = scene.belongings.leftovers(CLUSTER)
        assert all(id_ in str(one.error) for one in scene.belongings.sweep(CLUSTER, left, new=[id_]))
        assert len(scene.kept_volumes()) == 2
        scene.clients.close()


def test_a_machine_that_ended_at_once_promises_nothing(scene: Scene) -> None:
    id_ = scene.launch(scene.request(), DISKED)
    scene.end(id_)
    outcomes = scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER), new=[id_])
    assert [one.error for one in outcomes] == [None, None]


def test_sweeping_nothing_costs_no_call(scene: Scene) -> None:
    assert scene.belongings.sweep(CLUSTER, []) == []
    assert not scene.fake.calls


@pytest.mark.parametrize("backwards", [False, True])
def test_what_nobody_uses_any_more_is_swept(scene: Scene, backwards: bool) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    left = scene.belongings.leftovers(CLUSTER)
    assert len(left) == 4
    for _ in range(2):  # gone already is fine
        outcomes = scene.belongings.sweep(CLUSTER, left[::-1] if backwards else left)
        assert [one.error for one in outcomes] == [None] * 4
    assert scene.belongings.leftovers(CLUSTER) == []
    world = scene.fake.world
    assert not (world.volumes or world.addresses or world.interfaces)


def test_what_is_not_of_the_cluster_is_not_swept(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), WHOLE, A, SUBNETS["a"])
    left = scene.belongings.leftovers(CLUSTER)
    assert all(isinstance(one.error, NotOurs) for one in scene.belongings.sweep("other", left))
    assert scene.belongings.leftovers(CLUSTER) == left


def test_what_never_had_our_tags_is_not_swept(scene: Scene) -> None:
    ec2 = scene.clients.of("ec2")
    specification = [{"ResourceType": "volume", "Tags": [{"Key": tags.CLUSTER, "Value": CLUSTER}]}]
    volume = ec2.create_volume(AvailabilityZone=A, Size=1, TagSpecifications=specification)["VolumeId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    interface = ec2.create_network_interface(SubnetId=SUBNETS["a"])["NetworkInterface"]["NetworkInterfaceId"]
    left = [
        Leftover(volume, "data disk", "x"),
        Leftover(address, "address", "x"),
        Leftover(interface, "network interface", "x"),
        Leftover("ami-1", "image", "x"),
    ]
    assert scene.belongings.leftovers(CLUSTER) == []
    assert all(one.error is not None for one in scene.belongings.sweep(CLUSTER, left))
    world = scene.fake.world
    assert (list(world.volumes), list(world.addresses), list(world.interfaces)) == ([volume], [address], [interface])


def test_one_thing_in_use_spoils_nothing_else(scene: Scene) -> None:
    scene.boot(scene.request(), DISKED)
    scene.belongings.prepare(scene.request(key="db-2"), DISKED, A, None)
    outcomes = scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER))
    assert [one.error is None for one in outcomes] == [False, False, True, True]


def test_an_elastic_address_of_a_kept_interface_follows_it_to_the_next_machine(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    associate = scene.fake.calls["AssociateAddress"]
    second = scene.boot(scene.request(1), WHOLE)
    assert scene.holder_of_address() == second
    assert scene.fake.calls["AssociateAddress"] == associate


def test_an_interface_goes_over_to_the_security_groups_of_its_next_machine(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), WIRED, A, SUBNETS["a"])
    assert scene.kept_interface().groups == (DEFAULT_GROUP,)
    other = Machine.model_validate({**WIRED.model_dump(exclude_defaults=True), "security_groups": [WEB_GROUP]})
    for _ in range(2):
        scene.belongings.prepare(scene.request(), other, A, SUBNETS["a"])
    assert scene.kept_interface().groups == (WEB_GROUP,)
    assert scene.fake.calls["ModifyNetworkInterfaceAttribute"] == 1
