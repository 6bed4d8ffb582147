"""The hand from outside: let happen to the project what no call can."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.mishaps import befall
from infrakit_providers.simulated.settings import ZoneCapacity
from infrakit_py.model.instance import InstanceState
from tests.fakes.gce import inserting
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.document import method
from tests.fakes.gce.eye import Eye
from tests.fakes.gce.faults import KINDS
from tests.fakes.gce.links import path
from tests.fakes.gce.settings import PROJECT, REGIONS, zone_name
from tests.fakes.gce.tables import Image
from tests.fakes.gce.writing import instant

_SOMEBODY: Final = "somebody@example.com"
_DAY: Final = 86_400.0


class Hand(Eye):
    """What tests do to a fake. All may be called from any thread."""

    def kill(self, name: str) -> None:
        """Let the machine power off by itself."""
        with self.world.lock:
            one = self.find(name)
            self.cloud.stop(one.machine, "powered off")
            self.world.halted(one)

    def delete(self, name: str) -> None:
        """Let somebody else delete an instance, protected or not."""
        with self.world.lock:
            self.world.destroy([self.find(name)])

    def preempt(self, name: str) -> None:
        """Let Google take a Spot VM: it is stopped, or deleted where that was asked for, after `preempt_seconds`."""
        with self.world.lock:
            one = self.find(name)
            if not one.spot:
                raise ValueError(f"{name} is no Spot VM")
            scope, seconds = f"zones/{one.zone}", self.world.settings.preempt_seconds
            op = self.world.operation(scope, "compute.instances.preempted", one.path, one.id, "system")
            op.starts_at = op.ends_at = op.inserted_at
            self.world.keep(op)
            if one.asked["scheduling"]["instanceTerminationAction"] == "DELETE":
                self.world.destroy([one], self.world.now() + seconds)
            else:
                self.world.halt(one, seconds)
                self.world.settle()

    def sicken(self, name: str, *, sick: bool = True) -> None:
        """Let Google repair the host of an instance, or be done with it."""
        with self.world.lock:
            self.cloud.set_impaired(self.find(name).machine, "the host is being repaired" if sick else "")

    def set_health(self, name: str, healthy: bool) -> None:
        """Let an instance fail the checks of what balances load, or pass them again."""
        with self.world.lock:
            self.find(name).unhealthy = not healthy

    def schedule_maintenance(
        self, name: str, starts_in: float = 7 * _DAY, type: str = "SCHEDULED", status: str = "PENDING"
    ) -> None:
        """Announce maintenance of an instance's host, in so many seconds."""
        with self.world.lock:
            one, at = self.find(name), self.world.now() + starts_in
            one.maintenance = {
                "type": type,
                "maintenanceStatus": status,
                "canReschedule": type == "SCHEDULED",
                "windowStartTime": instant(at),
                "windowEndTime": instant(at + 4 * 3600),
                "latestWindowStartTime": instant(at + 7 * _DAY),
            }
            one.written = None

    def write_console(self, name: str, text: str) -> None:
        """Let an instance write to its first serial port."""
        with self.world.lock:
            self.find(name).console += text

    def make_foreign(self, name: str = "foreign", labels: Mapping[str, str] | None = None, zone: str = "b") -> str:
        """Let somebody make an instance by other means. Return its name."""
        return self._insert(zone_name(zone), name, {"labels": dict(labels or {})})

    def clone(self, name: str, new_name: str) -> str:
        """Let somebody make an instance with the labels and metadata of another. Return its name."""
        one = self.find(name)
        return self._insert(one.zone, new_name, {"labels": one.labels, "metadata": {"items": one.metadata}})

    def _insert(self, zone: str, name: str, more: Mapping[str, Any]) -> str:
        image = path("global", "images", "family", "linuxkit")
        body = {
            "name": name,
            "machineType": f"zones/{zone}/machineTypes/e2-small",
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image}}],
            "networkInterfaces": [{"network": "global/networks/default"}],
            **more,
        }
        with self.world.lock:
            self.world.settle()
            parameters = {"project": PROJECT, "zone": zone}
            inserting.insert(self.world, Asked(method("instances.insert"), parameters, body, _SOMEBODY))
            return name

    def set_capacity(self, zone: str, room: ZoneCapacity, type: str | None = None) -> None:
        """Let a zone (letter or name) have so many machines in all, or of a type, or without end (None).

        Where any type has a number, those without one have no machines.
        """
        with self.world.lock:
            zone = zone_name(zone)
            if type is not None:
                now = self.cloud.settings.zones[zone]
                known = dict(now) if isinstance(now, Mapping) else {}
                room = {**known, type: room} if isinstance(room, int) else {**known, **(room or {})}
            self.cloud.resize(zone, room)

    def set_quota(self, metric: str, limit: float, region: str = next(iter(REGIONS))) -> None:
        with self.world.lock:
            self.world.quotas[region, metric] = limit

    def fail(self, call: str, fault: str = "transient", times: int = 1) -> None:
        """Let the next calls fail: of a method, of a kind (describe, lookup, provision, destroy, tag), or any change.

        Faults are transient, throttled, lost-reply, incomplete-view, and for inserts capacity and quota.
        """
        if call and call not in KINDS and call not in self.front.handlers:
            raise ValueError(f"no call {call!r}")
        with self.world.lock:
            self.front.faults.order(call, Fault(fault), times)

    def mishap(self, kind: str, amount: float = 1.0, target: str = "") -> None:
        """Let one of the simulated cloud's mishaps happen."""
        ordered = {"throttle": "throttled", "lost-reply": "lost-reply", "partial-view": "incomplete-view"}
        with self.world.lock:
            self.world.settle()
            match kind:
                case "throttle" | "lost-reply":
                    self.fail(target or ("provision" if kind == "lost-reply" else ""), ordered[kind], int(amount))
                case "partial-view":
                    self.fail("describe", ordered[kind], int(amount))
                case _:
                    befall(self.cloud, kind, amount, target)
            for one in self.world.instances.values():
                machine = self.world.machine(one)
                if machine and machine.state is InstanceState.STOPPED and one.stopped_at is None:
                    self.world.halted(one)

    def lose_zone(self, zone: str, *, lost: bool = True, unasked: bool = False) -> None:
        """Let a zone not answer.

        Aggregated listings fail then, unless they ask for partial success, or the fake is to give that `unasked`.
        """
        with self.world.lock:
            scope = f"zones/{zone_name(zone)}"
            self.world.lost.pop(scope, None)
            if lost:
                self.world.lost[scope] = unasked

    def deny(self, permission: str, *, denied: bool = True) -> None:
        """Let nobody have a permission."""
        with self.world.lock:
            (self.front.denied.add if denied else self.front.denied.discard)(permission)

    def revoke(self) -> None:
        """Refuse every token that is known so far, once."""
        with self.world.lock:
            self.front.doorkeeper.revoke()

    def add_image(self, name: str, family: str = "", arch: str = "X86_64", size_gb: int = 1) -> None:
        """Let the project have one more image, the newest of its family."""
        with self.world.lock:
            world = self.world
            image = Image(PROJECT, name, world.new_id(), world.now(), family, arch, size_gb)
            world.images[PROJECT, name] = image

    def deprecate_image(self, name: str, state: str = "DEPRECATED", project: str = PROJECT) -> None:
        """Let an image be DEPRECATED, OBSOLETE or DELETED; without a state, not any more."""
        with self.world.lock:
            self.world.images[project, name].deprecated = state

    def fail_import(self, why: str = "Internal error. Please try again.") -> None:
        """Let the next import of an image fail."""
        with self.world.lock:
            self.world.import_faults.append(why)

    def remove_image(self, name: str, project: str = PROJECT) -> None:
        with self.world.lock:
            del self.world.images[project, name]


_ACTS: Final = (
    *(Hand.kill, Hand.delete, Hand.preempt, Hand.sicken, Hand.set_health, Hand.schedule_maintenance),
    *(Hand.write_console, Hand.make_foreign, Hand.clone, Hand.set_capacity, Hand.set_quota, Hand.fail, Hand.mishap),
    *(Hand.lose_zone, Hand.deny, Hand.revoke, Hand.add_image, Hand.deprecate_image, Hand.remove_image),
    Hand.fail_import,
)
ACTS: Final[Mapping[str, Callable[..., Any]]] = {act.__name__: act for act in _ACTS}
"""What a process at the other end of HTTP may let happen, by name."""
