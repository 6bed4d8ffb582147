"""The project behind the fake: a simulated cloud with the machines, and tables with the rest.

It knows what things there are, who holds what, and what comes due with time; it knows no call.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv4Address
from threading import RLock
from typing import Final

from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.machines import NEVER, Machine
from infrakit_py.model.instance import InstanceState
from infrakit_py.spi.provider import Now
from tests.fakes.gce import catalogue_data as seeds
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.settings import FakeSettings, region_of
from tests.fakes.gce.storage import Storage
from tests.fakes.gce.tables import (
    Address,
    BackendService,
    Disk,
    Image,
    Instance,
    InstanceGroup,
    Interface,
    Operation,
    Subnet,
    TargetPool,
)

REPLAY_SECONDS: Final = 3600.0
_ALIVE: Final = (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STOPPED, InstanceState.INCOMPLETE)


class World:
    """Everything of one project. Whoever looks or changes holds `lock`."""

    def __init__(self, settings: FakeSettings, clock: Now) -> None:
        self.settings = settings
        self.clock = clock
        self.lock = RLock()
        self.cloud = SimCloud(settings.cloud(), clock)
        self.quotas: dict[tuple[str, str], float] = {}
        """Limits that were changed, by region and metric; those of the settings hold for all others."""
        self.lost: dict[str, bool] = {}
        """Scopes that do not answer. True: and aggregated listings leave them out unasked."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        now = self.now()
        self.types = seeds.TYPES
        self.images: dict[tuple[str, str], Image] = seeds.images(self.new_id, now)
        self.networks: Mapping[str, str] = {name: self.new_id() for name in ("default", "private")}
        self.subnets: dict[tuple[str, str], Subnet] = seeds.subnets(self.new_id, settings.subnet_bits)
        self.instances: dict[str, Instance] = {}
        """By the machine's id, in order of creation."""
        self.named: dict[tuple[str, str], Instance] = {}
        """By zone and name."""
        self.labelled: dict[tuple[str, str], dict[str, Instance]] = {}
        self.disks: dict[tuple[str, str], Disk] = {}
        self.addresses: dict[tuple[str, str], Address] = {}
        """By scope and name."""
        self.groups: dict[tuple[str, str], InstanceGroup] = seeds.groups(self.new_id, now)
        members = tuple(self.groups.values())
        self.services: dict[tuple[str, str], BackendService] = seeds.services(self.new_id, now, members)
        self.pools: dict[tuple[str, str], TargetPool] = seeds.pools(self.new_id, now)
        self.operations: dict[str, dict[str, Operation]] = {}
        """By scope and name."""
        self.requests: dict[str, Operation] = {}
        self.forced: list[str] = []
        """What the next inserts fail for, though nothing is wanting: `capacity` or `quota`."""
        self.storage = Storage(clock)
        self.import_faults: list[str] = []
        """Why the next imports of images fail, though nothing is wrong with them."""
        self.public = int(IPv4Address("34.76.0.1"))

    def now(self) -> float:
        return self.clock.now()

    def number(self) -> int:
        """Return a number that comes once."""
        self._number += 1
        return self._number

    def new_id(self) -> str:
        """Return an id, the same in each run of the same seed."""
        digest = hashlib.sha256(f"{self.settings.seed}/{self.number()}".encode()).digest()
        return str(10**18 + int.from_bytes(digest[:8], "big") % (8 * 10**18))

    def later(self, at: float, act: Callable[[], None]) -> None:
        """Let something happen at an instant."""
        if at < NEVER:
            heapq.heappush(self._due, (at, self.number(), act))

    def settle(self) -> None:
        """Let happen what is due by now. Every call begins with it, as nothing here has a thread."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    # Operations.

    def operation(self, scope: str, kind: str, target: str, target_id: str, user: str) -> Operation:
        """Return an operation that begins now and has no end, and that nobody knows yet."""
        now = self.now()
        name = f"operation-{int(now * 1000)}-{self.number():013x}-{self.settings.seed & 0xFFFFFFFF:08x}-0f00d000"
        starts_at = now + min(0.2, self.settings.operation_seconds / 5)
        return Operation(self.new_id(), name, scope, kind, target, target_id, now, starts_at, user)

    def keep(self, op: Operation) -> Operation:
        """Let an operation be found, by its name and by the request that began it."""
        self.operations.setdefault(op.scope, {})[op.name] = op
        if op.request_id:
            self.requests[op.request_id] = op
        return op

    def begin(
        self,
        asked: Asked,
        kind: str,
        target: str,
        target_id: str,
        *,
        seconds: float | None = None,
        then: Callable[[], None] | None = None,
    ) -> Operation:
        """Begin an operation that takes so long. `then` happens when it is done."""
        op = self.operation(asked.scope, kind, target, target_id, asked.caller)
        op.request_id = asked.request_id
        op.ends_at = op.inserted_at + (self.settings.operation_seconds if seconds is None else seconds)
        op.starts_at = min(op.starts_at, op.ends_at)
        if then:
            self.later(op.ends_at, then)
        return self.keep(op)

    def replayed(self, request_id: str) -> Operation | None:
        """Return what a request began that was made before."""
        op = self.requests.get(request_id) if request_id else None
        return op if op and self.now() - op.inserted_at < REPLAY_SECONDS else None

    @staticmethod
    def end(op: Operation | None, at: float) -> None:
        """End an operation, if that has not happened before."""
        if op and op.ends_at > at:
            op.ends_at = at
            if op.parent and op.parent.bulk:
                op.parent.ends_at = max(one.ends_at for one in op.parent.bulk.children)

    # Instances.

    def machine(self, instance: Instance) -> Machine | None:
        """Return the machine of an instance past any lag."""
        return self.cloud.see(instance.machine)

    def is_alive(self, instance: Instance) -> bool:
        """Tell whether it is there and not on its way out."""
        machine = self.machine(instance)
        return machine is not None and machine.state in _ALIVE

    def add(self, instance: Instance) -> None:
        self.instances[instance.machine] = instance
        self.named[instance.zone, instance.name] = instance
        self._index(instance)

    def relabel(self, instance: Instance, labels: dict[str, str]) -> None:
        if instance.released:
            return
        self._unindex(instance)
        instance.labels, instance.written = labels, None
        self._index(instance)

    def destroy(self, instances: Iterable[Instance], gone_at: float | None = None) -> None:
        """Begin to destroy instances, and give back what they hold once they are gone."""
        at = self.now() + self.settings.delete_seconds if gone_at is None else gone_at
        doomed = [one for one in instances if self.is_alive(one)]
        ids = [one.machine for one in doomed]
        self.cloud.interfere(ids, lambda row, _: row._replace(gone_at=at, delisted_at=at))
        for one in doomed:
            self.end(one.insert, self.now())
            one.written = None
            self.later(at, partial(self.release, one))
        self.settle()

    def halt(self, instance: Instance, seconds: float) -> None:
        """Let an instance stop within so many seconds."""
        at = self.now() + seconds
        instance.stopping, instance.written = True, None
        self.cloud.interfere([instance.machine], lambda row, _: row._replace(dies_at=at, cause="stopped"))
        self.later(at, partial(self.halted, instance, at))

    def halted(self, instance: Instance, at: float | None = None) -> None:
        """Note that a machine has stopped: its start is over, and so are its ephemeral addresses."""
        at = self.now() if at is None else at
        self.end(instance.insert, at)
        instance.stopped_at, instance.stopping, instance.written = at, False, None
        self.let_go_of_public_ips(instance.interfaces)

    def release(self, instance: Instance) -> None:
        """Give back what an instance held that is gone."""
        if instance.released:
            return
        instance.released = True
        for attachment in tuple(instance.disks):
            self.detach(instance, attachment.disk)
            if attachment.auto_delete or (instance.doomed and attachment.made):
                self.forget_disk(attachment.disk)
        for interface in instance.interfaces:
            self.give_back(interface.subnet, interface.ip, interface.internal)
            if interface.address:
                interface.address.user = ""
        for group in self.groups.values():
            group.members.pop(instance.machine, None)
        self._unindex(instance)
        self.instances.pop(instance.machine, None)
        if self.named.get((instance.zone, instance.name)) is instance:
            del self.named[instance.zone, instance.name]

    def forget_disk(self, disk: Disk) -> None:
        self.disks.pop((disk.zone, disk.name), None)

    def detach(self, instance: Instance, disk: Disk) -> None:
        instance.disks = [one for one in instance.disks if one.disk is not disk]
        instance.written = None
        disk.user, disk.detached_at = "", self.now()

    def _index(self, instance: Instance) -> None:
        for label in instance.labels.items():
            self.labelled.setdefault(label, {})[instance.machine] = instance

    def _unindex(self, instance: Instance) -> None:
        for label in instance.labels.items():
            found = self.labelled.get(label, {})
            found.pop(instance.machine, None)
            if not found:
                self.labelled.pop(label, None)

    # Addresses.

    @staticmethod
    def free_ips(subnet: Subnet) -> int:
        return subnet.range.num_addresses - 4 - len(subnet.taken)

    def take_ip(self, subnet: Subnet) -> str:
        """Take a free address of a subnetwork, which must have one."""
        first, size = int(subnet.range.network_address), subnet.range.num_addresses
        while subnet.next < size - 2:
            offset, subnet.next = subnet.next, subnet.next + 1
            if offset not in subnet.taken:
                subnet.taken.add(offset)
                return str(IPv4Address(first + offset))
        while (offset := subnet.given_back.pop()) in subnet.taken:
            pass
        subnet.taken.add(offset)
        return str(IPv4Address(first + offset))

    @staticmethod
    def offset(subnet: Subnet, ip: str) -> int | None:
        """Return which of a subnetwork's addresses one is, if it can be used."""
        offset = int(IPv4Address(ip)) - int(subnet.range.network_address)
        return offset if 2 <= offset < subnet.range.num_addresses - 2 else None

    @staticmethod
    def give_back(subnet: Subnet, ip: str, reserved: Address | None = None) -> None:
        if reserved:
            reserved.user = ""
            return
        offset = int(IPv4Address(ip)) - int(subnet.range.network_address)
        subnet.taken.discard(offset)
        subnet.given_back.append(offset)

    def public_ip(self) -> str:
        self.public += 1
        return str(IPv4Address(self.public))

    def let_go_of_public_ips(self, interfaces: Iterable[Interface]) -> None:
        """Take the ephemeral addresses of a machine that has stopped."""
        for one in interfaces:
            if one.external and not one.address:
                one.nat_ip = ""

    def limit(self, zone_or_region: str, metric: str) -> float | None:
        """Return a quota's limit, if there is one."""
        region = region_of(zone_or_region) if zone_or_region.count("-") > 1 else zone_or_region
        return self.quotas.get((region, metric), self.settings.quotas.get(metric))
