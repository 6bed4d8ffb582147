"""A project with members that keep things, and what others do to them meanwhile."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from infrakit_providers.gcp.belongings import Belongings
from infrakit_providers.gcp.calls import Caller, Rates
from infrakit_providers.gcp.clients import Clients
from infrakit_providers.gcp.instance_body import Choice, instance
from infrakit_providers.gcp.kept_disks import DISK
from infrakit_providers.gcp.labels import key_of, written
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import Address, name_of
from infrakit_providers.gcp.operations import Operation
from infrakit_providers.gcp.settings import Limits, Settings
from infrakit_providers.gcp.wire import Sighting, sighting
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import ProvisionRequest
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.tables import Address as Reserved
from tests.fakes.gce.tables import Disk
from tests.gcp.ground import LINUX, REGION, SETTINGS, fake_gce, image

CLUSTER, GROUP, KEY = "shop", "db", "db-1"
OWNER = {"infrakit-cluster": CLUSTER, "infrakit-group": GROUP, "infrakit-logical__id": KEY}
"""The labels of all that the member keeps."""
B, C = f"{REGION}-b", f"{REGION}-c"
TYPE = "e2-small"
KEPT: Mapping[str, Json] = {
    "machine_types": TYPE,
    "data_disks": [{"name": "data", "size": "10GiB"}, {"name": "logs", "size": "20GiB", "type": "pd-ssd"}],
    "external_ip": "static",
    "internal_ip": "static",
    "labels": {"cost": "db"},
}
WHOLE = Machine.model_validate(KEPT)
PLAIN = Machine.model_validate({"machine_types": TYPE})
DISKED = Machine.model_validate({"machine_types": TYPE, "data_disks": KEPT["data_disks"]})
EXPOSED = Machine.model_validate({"machine_types": TYPE, "external_ip": "static"})
SETTLED = Machine.model_validate({"machine_types": TYPE, "internal_ip": "static"})


class Meddled(Caller):
    """Makes calls, and lets something happen just before the next change of a kind; knows some answers already."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.before: dict[str, Callable[[], object]] = {}
        self.answers: dict[str, object] = {}

    def ask(self, service: str, method: str, doing: str, **request: Any) -> Any:
        known = self.answers.get(f"{service}.{method}")
        return known if known is not None else super().ask(service, method, doing, **request)

    def act(self, service: str, method: str, doing: str, **request: Any) -> Operation:
        self.before.pop(f"{service}.{method}", lambda: None)()
        return super().act(service, method, doing, **request)


class Scene:
    """A project, and what this process has of it."""

    def __init__(self, fake: FakeGCE, clock: VirtualClock) -> None:
        self.fake = fake
        self.clock = clock
        self.clients = Clients(Settings.model_validate(SETTINGS), Path())
        self.caller = self.new_caller()
        self.belongings = self.another(caller=self.caller)

    def new_caller(self) -> Meddled:
        return Meddled(self.clients, Rates(Limits()), self.clock, Random(1), 4)

    def another(self, region: str = REGION, caller: Caller | None = None) -> Belongings:
        """Return what another process has of the project: it remembers nothing of this one."""
        return Belongings(caller or self.new_caller(), self.clock, lambda: region)

    def request(self, incarnation: int = 0, key: str = KEY, cluster: str = CLUSTER) -> ProvisionRequest:
        token = tags.token(cluster, GROUP, key, incarnation)
        own = {
            tags.CLUSTER: cluster, tags.GROUP: GROUP, tags.SLOT: key, tags.LOGICAL_ID: key,
            tags.INCARNATION: str(incarnation), tags.TOKEN: token,
        }  # fmt: skip
        return ProvisionRequest(token, key, own, image(), KEPT, data_key=key)

    def launch(self, request: ProvisionRequest, machine: Machine, zone: str = B) -> InstanceId:
        """Do what the provider does: prepare, and make the machine with what was prepared."""
        prepared = self.belongings.prepare(request, machine, zone)
        choice = Choice(
            zone, machine.machine_types[0], LINUX,
            labels={**self.belongings.notes(machine, named=True), **written(request.tags).labels},
            attachments=prepared.attachments,
            external_address=prepared.external_address,
            internal_address=prepared.internal_address,
        )  # fmt: skip
        address = Address(zone, name_of(request.tags))
        body = instance(address.name, machine, choice)
        self.caller.act("instances", "insert", f"create {request.name}", zone=zone, instance_resource=body)
        return address.id

    def boot(self, request: ProvisionRequest, machine: Machine, zone: str = B) -> InstanceId:
        """Make a machine and let it run."""
        id_ = self.launch(request, machine, zone)
        self.clock.sleep(5)
        assert self.fake.state_of(id_) == "RUNNING"
        return id_

    def end(self, id_: InstanceId) -> None:
        self.fake.delete(id_)
        self.clock.sleep(60)

    def seen(self, id_: InstanceId) -> Sighting:
        zone, _, name = id_.partition("/")
        return sighting(self.clients.of("instances").get(project=self.caller.project, zone=zone, instance=name))

    def lacking(self, *ids: InstanceId) -> Mapping[InstanceId, str]:
        return self.belongings.lacks([self.seen(id_) for id_ in ids])

    def complete(self, request: ProvisionRequest, machine: Machine, id_: InstanceId) -> None:
        self.belongings.complete(request, machine, self.seen(id_))

    def by_hand(self, service: str, method: str, **request: Any) -> None:
        """Make a change as somebody else would, and let it be done."""
        client = self.clients.of(service)
        getattr(client, f"{method}_unary")(request={"project": self.caller.project, **request})
        self.clock.sleep(5)

    def detach(self, id_: InstanceId, device: str) -> None:
        zone, _, name = id_.partition("/")
        self.by_hand("instances", "detach_disk", zone=zone, instance=name, device_name=device)

    def attach(self, id_: InstanceId, disk: Disk, device: str) -> None:
        zone, _, name = id_.partition("/")
        body = {"source": f"zones/{zone}/disks/{disk.name}", "device_name": device}
        self.by_hand("instances", "attach_disk", zone=zone, instance=name, attached_disk_resource=body)

    def copy(self, disk: Disk, zone: str) -> None:
        """Make a disk of the same name and labels in another zone."""
        body = {"name": disk.name, "size_gb": disk.size_gb, "labels": disk.labels}
        self.by_hand("disks", "insert", zone=zone, disk_resource=body)

    def kept_disks(self) -> dict[str, Disk]:
        """Return disks by the names that the user wrote. Each may be there once."""
        label = key_of(DISK)
        found = [one for one in self.fake.disks() if label in one.labels]
        names = {one.labels[str(label)]: one for one in found}
        assert len(names) == len(found), f"a disk was made twice: {found}"
        return names

    def addresses(self) -> dict[str, Reserved]:
        """Return addresses by their kind. Each may be there once."""
        found = self.fake.addresses()
        kinds: dict[str, Reserved] = {one.kind: one for one in found}
        assert len(kinds) == len(found), f"an address was reserved twice: {found}"
        return kinds

    def holders(self) -> set[str]:
        """Return the names of the machines that hold any of what is kept."""
        users = {one.user for one in self.kept_disks().values()}
        users |= {one.user for one in self.fake.addresses()}
        return {self.fake.world.instances[one].name for one in users if one}


@contextmanager
def staged(settings: FakeSettings | None = None) -> Iterator[Scene]:
    clock = VirtualClock()
    with fake_gce(settings or FakeSettings(boot_seconds=2, delete_seconds=10), clock) as fake:
        scene = Scene(fake, clock)
        yield scene
        scene.clients.close()
