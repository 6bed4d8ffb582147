"""An account with a member that keeps things, and the ways in which its process ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import ConnectionError as LostConnection

from infrakit_providers.aws.belongings import Belongings
from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.settings import Limits, Settings
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import ProvisionRequest
from tests.aws.ground import image
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2.settings import LINUX, SUBNETS, WEB_GROUP
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


def die() -> None:
    raise Killed


def lose() -> None:
    raise LostConnection(error=OSError("the reply was lost"))
