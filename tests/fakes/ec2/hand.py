"""The hand from outside: look at the account past every lag, and let happen to it what no call can."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.machines import Machine
from infrakit_providers.simulated.mishaps import befall
from infrakit_providers.simulated.settings import ZoneCapacity
from tests.fakes.ec2.balancing import health_of
from tests.fakes.ec2.settings import LINUX, LINUX_2, LINUX_ARM
from tests.fakes.ec2.shown import STATES
from tests.fakes.ec2.snapshots import BLOCK_SIZE
from tests.fakes.ec2.tables import (
    Address,
    Event,
    Image,
    Instance,
    Interface,
    Snapshot,
    SpotRequest,
    Target,
    Volume,
)
from tests.fakes.ec2.world import World

Thing = TypeVar("Thing")
KILLED: Final = ("Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown")


class Hand:
    """What tests do to a fake. All may be called from any thread; instances go by their ids."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cloud = world.cloud

    # Looking.

    def instances(self, *states: str, tags: Mapping[str, str] | None = None) -> list[Instance]:
        """Return instances in some of EC2's states (all but terminated where none is named), with these tags."""
        wanted = set(states) or {name for _, name in STATES.values()} - {"terminated"}
        return [one for one, machine in self._all() if STATES[machine.state][1] in wanted and _carries(machine, tags)]

    def ids(self, *states: str, tags: Mapping[str, str] | None = None) -> list[str]:
        return [one.id for one in self.instances(*states, tags=tags)]

    def state_of(self, instance_id: str) -> str:
        """Return EC2's name of an instance's state; `terminated` also once it is not listed any more."""
        with self.world.lock:
            self.world.settle()
            return STATES[self.world.state(instance_id)][1]

    def tags_of(self, instance_id: str) -> dict[str, str]:
        with self.world.lock:
            machine = self.world.machine(instance_id)
            return dict(machine.tags) if machine else {}

    def volumes(self) -> list[Volume]:
        return self._now(self.world.volumes)

    def images(self) -> list[Image]:
        """Return the images that were not there from the start."""
        return [one for one in self._now(self.world.images) if one.id not in (LINUX, LINUX_2, LINUX_ARM)]

    def snapshots(self) -> list[Snapshot]:
        return self._now(self.world.snapshots)

    def content(self, snapshot_id: str) -> bytes:
        """Return the bytes of a snapshot up to the last that is not zero."""
        with self.world.lock:
            blocks = self.world.snapshots[snapshot_id].blocks
            last = max(blocks, default=-1)
            return b"".join(blocks.get(index, bytes(BLOCK_SIZE)) for index in range(last + 1)).rstrip(b"\0")

    def interfaces(self) -> list[Interface]:
        return self._now(self.world.interfaces)

    def addresses(self) -> list[Address]:
        return self._now(self.world.addresses)

    def spot_requests(self) -> list[SpotRequest]:
        return self._now(self.world.spot_requests)

    def targets(self, group: str = "web") -> dict[str, str]:
        """Return the state of each target of a group, by instance."""
        with self.world.lock:
            self.world.settle()
            return {one.instance: health_of(self.world, one)[0] for one in self._targets(group)}

    def _now(self, table: Mapping[str, Thing]) -> list[Thing]:
        with self.world.lock:
            self.world.settle()
            return list(table.values())

    def _all(self) -> list[tuple[Instance, Machine]]:
        with self.world.lock:
            self.world.settle()
            known = self.world.instances
            return [(known[one.id], one) for one in self.cloud.everything() if one.id in known]

    # Letting things happen.

    def kill(self, instance_id: str) -> None:
        """Let the machine halt by itself: it stops, or is terminated where its launch says so or it is Spot."""
        with self.world.lock:
            instance = self.world.instances[instance_id]
            behavior = instance.asked.get("InstanceInitiatedShutdownBehavior", "stop")
            if instance.spot or behavior == "terminate":
                self.world.terminate([instance_id], KILLED)
            else:
                instance.reason = KILLED
                self.world.changed(instance_id)
                self.cloud.stop(instance_id, "killed")

    def terminate(self, instance_id: str) -> None:
        """Let somebody else terminate an instance, protected or not."""
        with self.world.lock:
            self.world.terminate([instance_id], ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown"))

    def interrupt_spot(self, instance_id: str, code: str = "instance-terminated-no-capacity") -> None:
        """Give a Spot instance its notice, and take it after that (`spot_notice_seconds`)."""
        with self.world.lock:
            request = self.world.instances[instance_id].spot
            if request is None:
                raise ValueError(f"{instance_id} is no Spot instance")
            request.status, request.updated_at = "marked-for-termination", self.world.now()
            request.message = "Your Spot instance is marked for termination because there is no available capacity."
            at = self.world.now() + self.world.settings.spot_notice_seconds
            self.world.later(at, lambda: self._take_spot(instance_id, code))
            self.world.settle()

    def _take_spot(self, instance_id: str, code: str) -> None:
        request = self.world.instances[instance_id].spot
        if request is None or request.state != "active":
            return
        request.updated_at = self.world.now()
        if request.behavior != "terminate":
            request.state, request.status = "disabled", code.replace("terminated", "stopped")
            self.world.changed(instance_id)
            self.cloud.stop(instance_id, "interrupted")
            return
        request.state, request.status = "closed", code
        request.message = "Your Spot instance was terminated."
        reason = "Server.SpotInstanceTermination"
        self.world.terminate([instance_id], (reason, f"{reason}: Spot instance termination"))

    def schedule_event(
        self, instance_id: str, code: str = "instance-retirement", not_before: float | None = None
    ) -> str:
        """Announce maintenance of an instance. Return the event's id."""
        with self.world.lock:
            at = self.world.now() + 86_400 * 14 if not_before is None else not_before
            text = "The instance is running on degraded hardware"
            event = Event(self.world.new_id("instance-event"), code, text, at)
            self.world.instances[instance_id].events.append(event)
            return event.id

    def impair(self, instance_id: str, reason: str = "reachability failed") -> None:
        """Let the instance fail EC2's own status checks; an empty reason ends it."""
        self.cloud.set_impaired(instance_id, reason)

    def sicken(self, instance_id: str, *, sick: bool = True) -> None:
        """Let the machine answer no health check of a target group."""
        self.cloud.set_sick(instance_id, sick=sick)

    def set_target_health(
        self, instance_id: str, reason: str = "Target.FailedHealthChecks", group: str = "web"
    ) -> None:
        """Let a target fail its group's checks with a reason; an empty one makes it healthy."""
        with self.world.lock:
            for one in self._targets(group):
                if one.instance == instance_id:
                    one.unhealthy = reason

    def set_capacity(self, zone: str, room: ZoneCapacity) -> None:
        """Let a zone (letter or name) have so many instances in all, or of each type, or without end (None)."""
        with self.world.lock:
            self.cloud.resize(zone if zone in self.world.zones else self.world.settings.zone_name(zone), room)

    def fail(self, call: str, fault: str = "transient", times: int = 1) -> None:
        """Let the next calls of a kind (describe, lookup, provision, destroy, tag) fail as the cloud can."""
        self.cloud.fail(Call(call), Fault(fault), times)

    def mishap(self, kind: str, amount: float = 1.0, target: str = "") -> None:
        """Let one of the simulated cloud's mishaps happen."""
        befall(self.cloud, kind, amount, target)

    def add_image(self, image_id: str, name: str, arch: str = "x86_64", gibibytes: int = 8) -> None:
        with self.world.lock:
            snapshot = image_id.replace("ami-", "snap-")
            self.world.images[image_id] = Image(
                image_id, name, arch, snapshot, "/dev/xvda", gibibytes, self.world.now()
            )

    def remove_image(self, image_id: str) -> None:
        with self.world.lock:
            del self.world.images[image_id]

    def fail_import(self, message: str) -> None:
        """Let the next import end in an error."""
        with self.world.lock:
            self.world.failing_imports.append(message)

    def fail_snapshot(self, snapshot_id: str) -> None:
        """Let a snapshot that is being written come to nothing."""
        with self.world.lock:
            self.world.snapshots[snapshot_id].state = "error"
            self.world.snapshots[snapshot_id].message = "it was not completed"

    def encrypt_by_default(self, *, on: bool = True) -> None:
        """Let the account encrypt every snapshot from now on."""
        with self.world.lock:
            self.world.encrypts_by_default = on

    def set_parameter(self, name: str, value: str) -> None:
        with self.world.lock:
            self.world.parameters[name] = value

    def close_role(self, role: str) -> None:
        """Let nobody assume a role, by its name."""
        with self.world.lock:
            self.world.closed_roles.add(role)

    def _targets(self, group: str) -> list[Target]:
        found = next(one for one in self.world.target_groups.values() if group in (one.name, one.arn))
        return list(found.targets.values())


ACTS: Final[Mapping[str, Callable[..., Any]]] = {
    "kill": Hand.kill,
    "terminate": Hand.terminate,
    "interrupt_spot": Hand.interrupt_spot,
    "schedule_event": Hand.schedule_event,
    "impair": Hand.impair,
    "sicken": Hand.sicken,
    "set_target_health": Hand.set_target_health,
    "set_capacity": Hand.set_capacity,
    "fail": Hand.fail,
    "mishap": Hand.mishap,
    "add_image": Hand.add_image,
    "remove_image": Hand.remove_image,
    "fail_import": Hand.fail_import,
    "fail_snapshot": Hand.fail_snapshot,
    "encrypt_by_default": Hand.encrypt_by_default,
    "set_parameter": Hand.set_parameter,
    "close_role": Hand.close_role,
}
"""What a process at the other end of HTTP may let happen, by name."""


def picture(hand: Hand, calls: Mapping[str, int], mistakes: list[str]) -> dict[str, Any]:
    """Return what there is, in numbers."""
    world = hand.world
    with world.lock:
        states = Counter(STATES[machine.state][1] for _, machine in hand._all())
        volumes = Counter("in-use" if one.instance else "available" for one in world.volumes.values())
        interfaces = Counter("in-use" if one.instance else "available" for one in world.interfaces.values())
        return {
            "instances": dict(states),
            "volumes": dict(volumes),
            "snapshots": dict(Counter(one.state for one in world.snapshots.values())),
            "images": len(hand.images()),
            "interfaces": dict(interfaces),
            "addresses": len(world.addresses),
            "targets": {group.name: hand.targets(group.name) for group in world.target_groups.values()},
            "calls": dict(calls),
            "mistakes": mistakes,
        }


def _carries(machine: Machine, tags: Mapping[str, str] | None) -> bool:
    return all(machine.tags.get(key) == value for key, value in (tags or {}).items())
