"""What named members keep, on the fake EC2: it is made once, found again by its tags, and follows its member."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from random import Random
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ConnectionError as LostConnection

from infrakit_providers.aws.belongings import Belongings
from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import ADDRESS, DISKS
from infrakit_providers.aws.settings import Limits, Settings
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import NotOurs, ProviderError, QuotaExceeded, Transient
from infrakit_py.model import tags
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Leftover, ProvisionRequest
from tests.aws.ground import fake_ec2, image
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.settings import DEFAULT_GROUP, LINUX, SUBNETS, WEB_GROUP
from tests.fakes.ec2.tables import Address, Interface, Volume

CLUSTER, GROUP, KEY = "shop", "db", "db-1"
A, B = "eu-central-1a", "eu-central-1b"
KEPT: Mapping[str, Json] = {
    "instance_types": "t3.micro",
    "data_disks": [
        {"name": "data", "device": "/dev/sdf", "size": "10GiB"},
        {"name": "logs", "device": "/dev/sdg", "size": "2GiB"},
    ],
    "elastic_ip": True,
    "keep_interface": True,
    "security_groups": [WEB_GROUP],
    "tags": {"volumes": {"cost": "db"}, "interfaces": {"net": "inner"}},
}
WHOLE = Machine.model_validate(KEPT)
PLAIN = Machine.model_validate({"instance_types": "t3.micro"})
DISKED = Machine.model_validate({"instance_types": "t3.micro", "data_disks": KEPT["data_disks"]})
ADDRESSED = Machine.model_validate({"instance_types": "t3.micro", "elastic_ip": True})
WIRED = Machine.model_validate({"instance_types": "t3.micro", "keep_interface": True})


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Scene:
    """An account, and what this process has of it."""

    fake: FakeEC2
    clock: VirtualClock
    clients: Clients = field(init=False)
    belongings: Belongings = field(init=False)

    def __post_init__(self) -> None:
        self.clients, self.belongings = self.another()

    def restart(self) -> None:
        """Begin anew, as after a crash: nothing is remembered but connections."""
        self.belongings = self._over(self.clients)

    def another(self) -> tuple[Clients, Belongings]:
        settings = Settings.model_validate({"region": "eu-central-1"})
        clients = Clients(settings)
        return clients, self._over(clients)

    def _over(self, clients: Clients) -> Belongings:
        return Belongings(Caller(clients, Rates(Limits(), self.clock.now()), self.clock, Random(1)))

    def request(self, incarnation: int = 0, key: str = KEY, cluster: str = CLUSTER) -> ProvisionRequest:
        token = tags.token(cluster, GROUP, key, incarnation)
        own = {
            tags.CLUSTER: cluster, tags.GROUP: GROUP, tags.SLOT: key, tags.LOGICAL_ID: key,
            tags.INCARNATION: str(incarnation), tags.TOKEN: token,
        }  # fmt: skip
        return ProvisionRequest(token, key, own, image(), KEPT, data_key=key)

    def launch(self, request: ProvisionRequest, machine: Machine, letter: str = "a") -> str:
        """Do what the provider does: prepare, and launch with what was prepared."""
        interface_id = self.belongings.prepare(request, machine, f"eu-central-1{letter}", SUBNETS[letter])
        held = {**request.tags, **self.belongings.tags_for(machine, named=True)}
        where: dict[str, Any] = {"SubnetId": SUBNETS[letter]}
        if interface_id is not None:
            where = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": interface_id}]}
        answer = self.clients.of("ec2").run_instances(
            ImageId=LINUX, InstanceType="t3.micro", MinCount=1, MaxCount=1, ClientToken=request.token, **where,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in held.items()]},
                {"ResourceType": "volume", "Tags": [{"Key": tags.CLUSTER, "Value": request.tags[tags.CLUSTER]}]},
            ],
        )  # fmt: skip
        return str(answer["Instances"][0]["InstanceId"])

    def boot(self, request: ProvisionRequest, machine: Machine, letter: str = "a") -> str:
        """Launch a machine, and give it its own once it runs."""
        id_ = self.launch(request, machine, letter)
        self.clock.sleep(5)
        self.belongings.complete(request, machine, id_, f"eu-central-1{letter}")
        return id_

    def end(self, id_: str) -> None:
        self.fake.terminate(id_)
        self.clock.sleep(60)

    def lacking(self, *ids: str) -> Mapping[str, str]:
        answer = self.clients.of("ec2").describe_instances(InstanceIds=list(ids))
        return self.belongings.lacks(CLUSTER, [one for r in answer["Reservations"] for one in r["Instances"]])

    def kept_volumes(self) -> dict[str, Volume]:
        """Return volumes by the names of their disks. Each name may be there once."""
        found = [one for one in self.fake.world.volumes.values() if "infrakit.aws.disk" in one.tags]
        names = {one.tags["infrakit.aws.disk"]: one for one in found}
        assert len(names) == len(found), f"a disk was made twice: {found}"
        return names

    def kept_address(self) -> Address:
        (address,) = self.fake.world.addresses.values()
        return address

    def kept_interface(self) -> Interface:
        (interface,) = (one for one in self.fake.world.interfaces.values() if "infrakit.aws.key" in one.tags)
        return interface

    def holder_of_address(self) -> str:
        interface = self.kept_address().interface
        return self.fake.world.interfaces[interface].instance if interface else ""

    def interfere(self, when: str, operation: str, act: Callable[[], object]) -> None:
        """Let `act` happen `before-call` or `after-call` the next such call of this process."""
        events, name = self.clients.of("ec2").meta.events, f"{when}.ec2.{operation}"

        def once(**_: object) -> None:
            events.unregister(name, once)
            act()

        events.register(name, once)


@pytest.fixture
def scene() -> Iterator[Scene]:
    clock = VirtualClock()
    with fake_ec2(FakeSettings(boot_seconds=2, terminate_seconds=10), clock) as fake:
        scene = Scene(fake, clock)
        yield scene
        scene.clients.close()


def die() -> None:
    raise Killed


def lose() -> None:
    raise LostConnection(error=OSError("the reply was lost"))


# Making.


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


# Giving.


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


# Sweeping.


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
