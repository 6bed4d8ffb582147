"""The account behind the fake: a simulated cloud with the machines, and tables with the rest.

It knows what things there are, who holds what, and what comes due with time; it knows no call.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from threading import RLock
from typing import Final

from infrakit_providers.simulated.cloud import Removal, SimCloud
from infrakit_providers.simulated.machines import Machine
from infrakit_py.model.instance import InstanceState
from infrakit_py.spi.provider import Now
from tests.fakes.ec2 import settings as seeds
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.settings import ACCOUNT, FakeSettings
from tests.fakes.ec2.tables import (
    Address,
    Group,
    Image,
    ImportTask,
    Instance,
    Interface,
    Reservation,
    Session,
    Snapshot,
    SpotRequest,
    Subnet,
    Tags,
    TargetGroup,
    Template,
    Type,
    Volume,
)

TYPES: Final = (
    Type("t3.nano", 2, 512),
    Type("t3.micro", 2, 1024),
    Type("t3.small", 2, 2048),
    Type("t3.medium", 2, 4096),
    Type("t3.large", 2, 8192),
    Type("t4g.small", 2, 2048, "arm64", threads_per_core=1),
    Type("m5.large", 2, 8192),
    Type("m5.xlarge", 4, 16384),
    Type("m5.4xlarge", 16, 65536),
    Type("m6g.large", 2, 8192, "arm64", threads_per_core=1),
    Type("c5.large", 2, 4096),
    Type("c5.xlarge", 4, 8192),
    Type("c6i.large", 2, 4096, zones="ab"),
    Type("p3.2xlarge", 8, 62464, zones="a"),
)

_ON_ITS_WAY_OUT: Final = (InstanceState.LEAVING, InstanceState.GONE)


class World:
    """Everything of one account in one region. Whoever looks or changes holds `lock`."""

    def __init__(self, settings: FakeSettings, clock: Now) -> None:
        self.settings = settings
        self.clock = clock
        self.lock = RLock()
        self.cloud = SimCloud(settings.cloud(), clock)
        self.calls: Counter[str] = Counter()
        self.types: Mapping[str, Type] = {one.name: one for one in TYPES}
        self.zones = {settings.zone_name(letter): letter for letter in settings.zones}
        self.images: dict[str, Image] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.import_tasks: dict[str, ImportTask] = {}
        self.failing_imports: list[str] = []
        """What the next imports end with."""
        self.encrypts_by_default = False
        self.fetch: Callable[[str, str], bytes | None] = lambda _bucket, _key: None
        """Reads an object of S3; set by whoever knows where it is."""
        self.abroad: Mapping[str, World] = {}
        """The account's other regions."""
        self.subnets: dict[str, Subnet] = {}
        self.groups: dict[str, Group] = {}
        self.vpc_tags: Tags = {"Name": "default"}
        self.key_pairs: dict[str, Tags] = {seeds.KEY_PAIR: {}}
        self.profiles: set[str] = {seeds.INSTANCE_PROFILE}
        self.placement_groups: set[str] = {seeds.PLACEMENT_GROUP}
        self.parameters: dict[str, str] = {}
        self.instances: dict[str, Instance] = {}
        self.reservations: dict[tuple[str, str], Reservation] = {}
        self.tokens: dict[tuple[str, str], tuple[str, str]] = {}
        """Of things other than instances: by call and token, a digest of the parameters and the id made."""
        self.spot_requests: dict[str, SpotRequest] = {}
        self.volumes: dict[str, Volume] = {}
        self.interfaces: dict[str, Interface] = {}
        self.addresses: dict[str, Address] = {}
        self.target_groups: dict[str, TargetGroup] = {}
        self.templates: dict[str, Template] = {}
        self.fleets: dict[str, Mapping[str, object]] = {}
        self.sessions: dict[str, Session] = {}
        self.caller: Session | None = None
        """Whose call is being answered, if the credentials are temporary."""
        self.closed_roles: set[str] = set()
        """Roles that may not be assumed."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.encode_instance: Callable[[Mapping[str, object]], str] = str
        """Writes an instance in XML; set by whoever knows how."""
        self._seed()

    def now(self) -> float:
        return self.clock.now()

    def number(self) -> int:
        """Return a number that comes once."""
        self._number += 1
        return self._number

    def new_id(self, prefix: str) -> str:
        """Return an id, the same in each run of the same seed."""
        text = f"{self.settings.seed}/{prefix}/{self.number()}"
        return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:17]}"

    def later(self, at: float, act: Callable[[], None]) -> None:
        """Let something happen at an instant."""
        heapq.heappush(self._due, (at, self.number(), act))

    def settle(self) -> None:
        """Let happen what is due by now. Every call begins with it, as nothing here has a thread."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def machine(self, instance_id: str) -> Machine | None:
        """Return the machine of an instance past any lag; None once even its id is forgotten."""
        return self.cloud.see(instance_id)

    def state(self, instance_id: str) -> InstanceState:
        """Return the state of an instance; one that nobody remembers is gone."""
        machine = self.machine(instance_id)
        return machine.state if machine else InstanceState.GONE

    def terminate(self, ids: list[str], reason: tuple[str, str], transition: str = "") -> None:
        """Begin to destroy instances, and give back what they hold once they are gone."""
        alive = [one for one in ids if self.state(one) not in _ON_ITS_WAY_OUT]
        try:
            self.cloud.destroy([Removal(one) for one in ids])
        finally:  # also where the work was done and the answer is lost
            for one in alive:
                machine = self.machine(one)
                if machine and machine.state in _ON_ITS_WAY_OUT:
                    instance = self.instances[one]
                    instance.reason, instance.transition, instance.written = reason, transition, None
                    self.later(machine.row.gone_at, partial(self._release, instance))
            self.settle()

    def changed(self, *ids: str) -> None:
        """Note that what EC2 says of instances has changed, though their machines have not."""
        for one in ids:
            if one in self.instances:
                self.instances[one].written = None

    def take_address(self, subnet: Subnet, wanted: str | None = None) -> str:
        """Take a free private address of a subnet."""
        if wanted is not None:
            offset = self.check_address(subnet, wanted)
        else:
            self.check_free_addresses(subnet, 1)
            offset = self._free_offset(subnet)
        subnet.taken.add(offset)
        return str(IPv4Address(subnet.first + offset))

    def check_address(self, subnet: Subnet, wanted: str) -> int:
        """Return which address of a subnet is meant, if it can be had."""
        offset = int(IPv4Address(wanted)) - subnet.first
        if not 4 <= offset < subnet.size - 1:
            raise AwsError("InvalidParameterValue", f"Address {wanted} does not fall within the subnet's range")
        if offset in subnet.taken:
            raise AwsError("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        return offset

    def check_free_addresses(self, subnet: Subnet, count: int) -> None:
        if subnet.free < count:
            raise AwsError(
                "InsufficientFreeAddressesInSubnet",
                f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of "
                "instances.",
            )

    def forget_interface(self, interface: Interface) -> None:
        """Delete an interface and free its address."""
        offset = int(IPv4Address(interface.private_ip)) - interface.subnet.first
        interface.subnet.taken.discard(offset)
        interface.subnet.given_back.append(offset)
        self.interfaces.pop(interface.id, None)

    def detach_interface(self, interface: Interface) -> None:
        instance = self.instances.get(interface.instance)
        if instance and interface in instance.interfaces:
            instance.interfaces.remove(interface)
            instance.written = None
        interface.instance = interface.attachment = interface.public_ip = ""

    def detach_volume(self, volume: Volume) -> None:
        instance = self.instances.get(volume.instance)
        if instance and volume in instance.volumes:
            instance.volumes.remove(volume)
            instance.written = None
        volume.instance = volume.device = ""
        volume.delete_on_termination = False

    def disassociate(self, address: Address) -> None:
        interface = self.interfaces.get(address.interface)
        if interface:
            self.changed(interface.instance)
        address.association = address.interface = ""

    def address_of(self, interface: Interface) -> Address | None:
        if not self.addresses:
            return None
        return next((one for one in self.addresses.values() if one.interface == interface.id), None)

    def _release(self, instance: Instance) -> None:
        if instance.released:
            return
        instance.released = True
        for volume in tuple(instance.volumes):
            doomed = volume.delete_on_termination
            self.detach_volume(volume)
            if doomed:
                del self.volumes[volume.id]
        for interface in tuple(instance.interfaces):
            if (address := self.address_of(interface)) is not None and interface.delete_on_termination:
                self.disassociate(address)
            doomed = interface.delete_on_termination
            self.detach_interface(interface)
            if doomed:
                self.forget_interface(interface)
        if instance.spot and instance.spot.state == "active":
            instance.spot.state, instance.spot.updated_at = "closed", self.now()
            if instance.spot.status != "instance-terminated-no-capacity":
                instance.spot.status = "instance-terminated-by-user"
                instance.spot.message = "Your Spot instance was terminated by you."
        instance.written = None

    def _free_offset(self, subnet: Subnet) -> int:
        while subnet.next < subnet.size - 1:
            subnet.next += 1
            if subnet.next - 1 not in subnet.taken:
                return subnet.next - 1
        while (offset := subnet.given_back.pop()) in subnet.taken:
            pass
        return offset

    def _seed(self) -> None:
        now = self.now()
        for id_, name, arch in (
            (seeds.LINUX, "infrakit-linux-1", "x86_64"),
            (seeds.LINUX_2, "infrakit-linux-2", "x86_64"),
            (seeds.LINUX_ARM, "infrakit-linux-arm-1", "arm64"),
        ):
            self.images[id_] = Image(id_, name, arch, id_.replace("ami-", "snap-"), "/dev/xvda", 8, now)
        ranges = IPv4Network("10.0.0.0/16").subnets(new_prefix=self.settings.subnet_bits)
        for (zone, letter), network in zip(self.zones.items(), islice(ranges, len(self.zones)), strict=True):
            id_ = seeds.SUBNETS.get(letter, f"subnet-0f00d000000000{ord(letter):03x}")
            self.subnets[id_] = Subnet(id_, zone, network, {"Name": f"infrakit-{letter}"})
        self.groups[seeds.DEFAULT_GROUP] = Group(seeds.DEFAULT_GROUP, "default")
        self.groups[seeds.WEB_GROUP] = Group(seeds.WEB_GROUP, "web")
        self.parameters[seeds.IMAGE_PARAMETER] = seeds.LINUX
        arn = f"arn:aws:elasticloadbalancing:{self.settings.region}:{ACCOUNT}:targetgroup/web/{seeds.TARGET_GROUP_ID}"
        self.target_groups[arn] = TargetGroup(arn, seeds.TARGET_GROUP, "HTTP", 80, {})
