"""What named members keep follows them from one machine to the next."""

import pytest

from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import ADDRESS, DISKS
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model import tags
from tests.aws.keeping import ADDRESSED, CLUSTER, DISKED, PLAIN, WHOLE, WIRED, A, Killed, Scene, die, lose
from tests.fakes.ec2.settings import SUBNETS


def test_a_machine_gets_each_disk_on_its_device_and_its_address(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    assert {name: (one.instance, one.device) for name, one in scene.kept_volumes().items()} == {
        "data": (id_, "/dev/sdf"),
        "logs": (id_, "/dev/sdg"),
    }
    assert scene.kept_interface().instance == id_
    assert scene.holder_of_address() == id_
    assert scene.lacking(id_) == {}


def test_completing_again_changes_nothing(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, WHOLE)
    before = {**scene.fake.calls}
    scene.restart()
    scene.belongings.complete(request, WHOLE, id_, A)
    changed = {name for name, count in scene.fake.calls.items() if count != before.get(name, 0)}
    assert all(name.startswith("Describe") for name in changed)


@pytest.mark.parametrize("operation", ["AttachVolume", "AssociateAddress"])
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_a_crash_while_giving_costs_nothing(scene: Scene, operation: str, when: str) -> None:
    request = scene.request()
    id_ = scene.launch(request, WHOLE)
    scene.clock.sleep(5)
    scene.interfere(when, operation, die)
    with pytest.raises(Killed):
        scene.belongings.complete(request, WHOLE, id_, A)
    scene.restart()
    scene.belongings.complete(request, WHOLE, id_, A)
    assert {one.instance for one in scene.kept_volumes().values()} == {id_} == {scene.holder_of_address()}


@pytest.mark.parametrize("operation", ["AttachVolume", "AssociateAddress"])
def test_a_lost_reply_while_giving_costs_nothing(scene: Scene, operation: str) -> None:
    request = scene.request()
    id_ = scene.launch(request, WHOLE)
    scene.clock.sleep(5)
    scene.interfere("after-call", operation, lose)
    scene.belongings.complete(request, WHOLE, id_, A)
    assert {one.instance for one in scene.kept_volumes().values()} == {id_} == {scene.holder_of_address()}


def test_a_machine_gets_nothing_before_it_runs(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.launch(request, WHOLE)
    with pytest.raises(Transient, match="it is pending"):
        scene.belongings.complete(request, WHOLE, id_, A)
    with pytest.raises(Transient, match="it is not there"):
        scene.belongings.complete(request, WHOLE, "i-0123456789abcdef0", A)


def test_a_machine_whose_disk_vanished_gets_a_new_one(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.launch(request, DISKED)
    scene.clock.sleep(5)
    del scene.fake.world.volumes[scene.kept_volumes()["logs"].id]
    scene.belongings.complete(request, DISKED, id_, A)
    assert scene.kept_volumes()["logs"].instance == id_


def test_preparing_again_while_the_machine_is_there_is_fine(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, WHOLE)
    scene.restart()
    assert scene.belongings.prepare(request, WHOLE, A, SUBNETS["a"]) == scene.kept_interface().id
    assert scene.launch(request, WHOLE) == id_


# Replacing.


@pytest.mark.parametrize(
    ("machine", "what"), [(DISKED, "data disk data"), (WIRED, "interface eni-")], ids=["disk", "interface"]
)
@pytest.mark.parametrize("leaving", [False, True], ids=["running", "shutting down"])
def test_who_comes_before_its_predecessor_has_gone_must_wait(
    scene: Scene, machine: Machine, what: str, leaving: bool
) -> None:
    id_ = scene.boot(scene.request(), machine)
    if leaving:
        scene.fake.terminate(id_)
    state = "shutting-down" if leaving else "running"
    with pytest.raises(Transient, match=f"{what}.* is still attached to {id_}, which is {state}"):
        scene.belongings.prepare(scene.request(1), machine, A, SUBNETS["a"])


def test_a_replacement_has_all_that_its_predecessor_had(scene: Scene) -> None:
    first = scene.boot(scene.request(), WHOLE)
    before = {name: (one.id, one.device) for name, one in scene.kept_volumes().items()}
    private, public = scene.kept_interface().private_ip, scene.kept_address().public_ip
    scene.end(first)
    second = scene.boot(scene.request(1), WHOLE)
    after = scene.kept_volumes()
    assert {name: (one.id, one.device) for name, one in after.items()} == before
    assert {one.instance for one in after.values()} == {second}
    assert (scene.kept_interface().private_ip, scene.kept_address().public_ip) == (private, public)
    assert scene.holder_of_address() == second
    assert scene.lacking(second) == {}


def test_a_disk_that_another_machine_has_is_waited_for(scene: Scene) -> None:
    first, second = scene.request(), scene.request(1)
    second_id = scene.launch(second, DISKED)
    first_id = scene.boot(first, DISKED)
    with pytest.raises(Transient, match=f"still attached to {first_id}"):
        scene.belongings.complete(second, DISKED, second_id, A)
    scene.end(first_id)
    scene.belongings.complete(second, DISKED, second_id, A)
    assert {one.instance for one in scene.kept_volumes().values()} == {second_id}


def test_an_address_is_taken_from_a_predecessor_once_that_ends(scene: Scene) -> None:
    first = scene.boot(scene.request(), ADDRESSED)
    second = scene.launch(scene.request(1), ADDRESSED)
    scene.clock.sleep(5)
    with pytest.raises(Transient, match=f"still that of {first}, which is running"):
        scene.belongings.complete(scene.request(1), ADDRESSED, second, A)
    assert scene.holder_of_address() == first
    scene.fake.terminate(first)
    scene.belongings.complete(scene.request(1), ADDRESSED, second, A)
    assert scene.holder_of_address() == second


def test_an_address_is_not_taken_from_somebody_else(scene: Scene) -> None:
    stranger = scene.boot(scene.request(key="bastion"), PLAIN)
    id_ = scene.launch(scene.request(), ADDRESSED)
    scene.clock.sleep(5)
    scene.clients.of("ec2").associate_address(AllocationId=scene.kept_address().id, InstanceId=stranger)
    with pytest.raises(ProviderError, match=f"associated with {stranger}, which is none of its machines") as told:
        scene.belongings.complete(scene.request(), ADDRESSED, id_, A)
    assert not told.value.retryable
    assert scene.holder_of_address() == stranger


def test_an_address_is_not_taken_from_an_interface_of_somebody_else(scene: Scene) -> None:
    ec2 = scene.clients.of("ec2")
    id_ = scene.launch(scene.request(), ADDRESSED)
    scene.clock.sleep(5)
    gateway = ec2.create_network_interface(SubnetId=SUBNETS["a"])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.associate_address(AllocationId=scene.kept_address().id, NetworkInterfaceId=gateway)
    with pytest.raises(ProviderError, match=f"associated with {gateway}, which is not its interface"):
        scene.belongings.complete(scene.request(), ADDRESSED, id_, A)
    (outcome,) = scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER))
    assert outcome.error is not None
    assert "in use" in str(outcome.error)


# Telling what is missing.


def test_a_machine_lacks_what_its_tags_promise_and_nobody_gave(scene: Scene) -> None:
    id_ = scene.launch(scene.request(), WHOLE)
    scene.clock.sleep(5)
    text = "data disk data is not attached; data disk logs is not attached; its address is not associated"
    assert scene.lacking(id_) == {id_: text}


def test_a_machine_without_such_tags_lacks_nothing_and_costs_no_call(scene: Scene) -> None:
    raw = {"InstanceId": "i-0123456789abcdef0", "Tags": [{"Key": tags.CLUSTER, "Value": CLUSTER}]}
    assert scene.belongings.lacks(CLUSTER, [raw]) == {}
    assert not scene.fake.calls


def test_all_machines_are_looked_through_by_one_call_of_each_kind(scene: Scene) -> None:
    first, second = scene.boot(scene.request(), WHOLE), scene.boot(scene.request(key="db-2"), WHOLE)
    scene.clients.of("ec2").detach_volume(VolumeId=scene.fake.world.instances[first].volumes[-1].id)
    scene.fake.calls.clear()
    assert scene.lacking(first, second) == {first: "data disk logs is not attached"}
    assert scene.fake.calls == {"DescribeInstances": 1, "DescribeVolumes": 1, "DescribeAddresses": 1}


def test_tags_say_what_a_machine_shall_have_however_much_that_is(scene: Scene) -> None:
    assert scene.belongings.tags_for(WHOLE, named=True) == {DISKS: "data=/dev/sdf logs=/dev/sdg", ADDRESS: "yes"}
    assert scene.belongings.tags_for(PLAIN, named=True) == {}
    disks = [{"name": f"d{n}-" + "x" * 40, "device": f"/dev/sd{chr(102 + n)}", "size": "1GiB"} for n in range(10)]
    many = Machine.model_validate({"instance_types": "t3.micro", "data_disks": disks})
    held = scene.belongings.tags_for(many, named=True)
    assert all(len(value) <= 256 for value in held.values())
    raw = {"InstanceId": "i-1", "Tags": [{"Key": key, "Value": value} for key, value in held.items()]}
    assert scene.belongings.lacks(CLUSTER, [raw])["i-1"].count("is not attached") == 10
