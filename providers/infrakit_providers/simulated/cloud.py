"""The simulated cloud: machines that are rows, and instants at which they boot, die and are gone.

It knows nothing of clusters beyond the tags that a call says a machine must carry, so that fakes of a vendor's API
can stand in front of the same cloud. It has no thread; what time does is read off the rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from infrakit_providers.simulated import disks, images
from infrakit_providers.simulated.adoption import adopted_row
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.conditions import (
    Condition,
    Conditions,
    Lasting,
    conditions_of,
    impose,
    imposed,
    lift,
)
from infrakit_providers.simulated.database import Database
from infrakit_providers.simulated.faults import Fault, Gate, lost, refusal
from infrakit_providers.simulated.launching import Batch, new_row
from infrakit_providers.simulated.machines import NEVER, Launch, Machine, Row, answers, died
from infrakit_providers.simulated.registry import Changes, Registry
from infrakit_providers.simulated.settings import SimSettings, ZoneCapacity
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.model.tags import CLUSTER, GROUP
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import Now

PUBLISH_STEPS: Final = 8

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Change:
    """Tags to set and keys to remove on one machine, if it carries certain tags."""

    id: str
    set_tags: Mapping[str, str]
    remove_tags: tuple[str, ...] = ()
    must_carry: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removal:
    """One machine to destroy, if it carries certain tags."""

    id: str
    must_carry: Mapping[str, str] = field(default_factory=dict)


class SimCloud:
    """A cloud in one SQLite file, or in memory. Any number of threads, and of processes on a file, may use it."""

    def __init__(self, settings: SimSettings, clock: Now, path: Path | None = None) -> None:
        self.settings = settings
        self._clock = clock
        self._database = Database(path)
        self._registry = Registry(self._database, clock)
        self._gate = Gate(self._database, settings)
        self._so_far = conditions_of(settings, ())
        self._so_far_at: int | None = None
        self._watchers: list[Callable[[], None]] = []

    def close(self) -> None:
        self._database.close()

    def launch(self, launches: Sequence[Launch], *, at_least: int = 0) -> list[str | ProviderError]:
        """Begin machines, for each its id or its error. A token that is known gives its machine again.

        Where fewer than `at_least` can be made none is, and the first one's error is raised.
        """
        self._clock.sleep(self.settings.provision_delay / 2)
        with self._call(Call.PROVISION, len(launches)) as fault:
            if refused := refusal(fault):
                return [refused] * len(launches)
            with self._registry.change() as changes:
                cut_short = fault is Fault.CUT_SHORT
                batch = Batch(changes, self.settings, self._conditions(), launches, cut_short=cut_short)
                answered = _each(batch.launch, launches)
                refusals = [answer for answer in answered if isinstance(answer, ProviderError)]
                if len(answered) - len(refusals) < at_least and refusals:
                    raise refusals[0]
        self._clock.sleep(self.settings.provision_delay / 2)
        return answered

    def machines(self, cluster: str | None = None) -> Sequence[Machine]:
        """Return the machines that a listing shows, of one cluster or all there are, in order of creation.

        A machine about which nothing has changed is the same object as before.
        """
        with self._call(Call.DESCRIBE), self._registry.look() as (fleet, now):
            return fleet.listed(now, cluster)

    def everything(self) -> Sequence[Machine]:
        """Return all machines there are, past any lag, limit or fault. For operators and for tests."""
        with self._registry.look() as (fleet, now):
            return fleet.everything(now)

    def see(self, machine_id: str) -> Machine | None:
        """Return one of all the machines there are, past any lag, limit or fault."""
        with self._registry.look() as (fleet, now):
            return fleet.see(machine_id, now)

    def find(self, ids: Sequence[str]) -> Mapping[str, Machine]:
        """Return the machines of these ids that are there, however new, and those still listed as gone."""
        with self._call(Call.LOOKUP), self._registry.look() as (fleet, now):
            return {machine.id: machine for id_ in ids if (machine := fleet.see(id_, now))}

    def destroy(self, removals: Sequence[Removal]) -> Sequence[str | ProviderError]:
        """Begin to destroy machines. One that is gone, or was never there, is fine."""
        with self._call(Call.DESTROY, len(removals)), self._registry.change() as changes:
            return _each(lambda removal: self._destroy(changes, removal), removals)

    def tag(self, wanted: Sequence[Change]) -> Sequence[str | ProviderError]:
        """Set and remove tags."""
        with self._call(Call.TAG, len(wanted)), self._registry.change() as changes:
            return _each(lambda change: _tag(changes, change), wanted)

    def probe(self, machine_id: str) -> str | None:
        """Ask a machine for its health: None is healthy."""
        with self._call(Call.PROBE), self._registry.look() as (fleet, now):
            row = fleet.find(machine_id)
            healthy = row is not None and answers(row, now, self._conditions().sick_images)
        return None if healthy else "connection refused (simulated)"

    def published(self, asked: Iterable[Image]) -> frozenset[str]:
        """Return the identities of those images that machines can boot from."""
        with self._call(Call.PUBLISHED), self._database.read() as rows:
            return images.bootable(rows, self.settings, asked)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        """Upload an image at the cloud's rate. It can be booted once all of it has arrived."""
        with self._call(Call.PUBLISH):
            with self._database.read() as rows:
                if image.identity in images.bootable(rows, self.settings, [image]):
                    return
            if image.form is ImageForm.REFERENCE:
                raise ProviderError(f"image {image.name}: the simulated cloud has no {image.reference!r}")
            for step in range(PUBLISH_STEPS):
                progress(image.size * step // PUBLISH_STEPS, image.size)
                if self.settings.publish_rate:
                    self._clock.sleep(image.size / self.settings.publish_rate / PUBLISH_STEPS)
            with self._database.write() as rows:
                images.store(rows, image, self._clock.now())
            progress(image.size, image.size)

    def leftovers(self, cluster: str) -> tuple[Sequence[disks.Disk], Sequence[tuple[str, str]]]:
        """Return the data disks of a cluster, and identity and name of each image that no other cluster uses."""
        with self._call(Call.LEFTOVERS), self._database.read() as rows:
            with self._registry.look() as (fleet, _):
                used = fleet.images_used(but_by=cluster)
            unused = [(identity, name) for identity, name, _ in images.published(rows) if identity not in used]
            return disks.of_cluster(rows, cluster), unused

    def publications(self) -> Sequence[Publication]:
        """Return all images that were uploaded."""
        with self._call(Call.LEFTOVERS), self._database.read() as rows:
            with self._registry.look() as (fleet, _):
                used = fleet.images_used()
            return [
                Publication(identity, identity, name, created_at=at, in_use=identity in used)
                for identity, name, at in images.published(rows)
            ]

    def unpublish(self, identities: Sequence[str]) -> Sequence[str | ProviderError]:
        """Delete images that nobody uses."""
        with self._call(Call.SWEEP), self._registry.change() as changes:
            return _each(lambda identity: _sweep(changes, "", "image", identity), identities)

    def sweep(self, cluster: str, things: Sequence[tuple[str, str]]) -> Sequence[str | ProviderError]:
        """Delete disks of a cluster and images, given by kind and id, that nobody uses."""
        with self._call(Call.SWEEP), self._registry.change() as changes:
            return _each(lambda thing: _sweep(changes, cluster, *thing), things)

    def stop(self, machine_id: str, cause: str = "killed (simulated)") -> None:
        """End a machine from outside: it stops and stays."""
        self.interfere([machine_id], lambda row, now: died(row, now, cause))

    def set_sick(self, machine_id: str, *, sick: bool) -> None:
        """Make a machine that runs fail its health checks, or answer them again."""
        self.interfere([machine_id], lambda row, now: row._replace(sick_since=now if sick else NEVER, flaps=0.0))

    def set_impaired(self, machine_id: str, reason: str) -> None:
        """Let the cloud say of a machine that runs that it is broken, and why; or, without a reason, no more."""
        self.interfere([machine_id], lambda row, _: row._replace(impaired=reason))

    def interfere(self, ids: Sequence[str], change: Callable[[Row, float], Row]) -> None:
        """Change machines in a way that no call can, all or none. Who watches is woken."""
        with self._registry.change() as changes:
            for machine_id in ids:
                changes.put(change(_present(changes, machine_id), changes.now))
        self._wake()

    def fail(self, call: Call | None, fault: Fault, times: int = 1) -> None:
        """Make the next calls of a kind fail, or of any that changes something, whoever makes them."""
        self._gate.order(call, fault, times)

    def impose(self, condition: Condition) -> None:
        """Let something be wrong until it is lifted. The same kind again, of the same target, replaces it."""
        with self._database.write() as rows:
            impose(rows, condition)
            self._so_far_at = None
        self._wake()

    def lift(self, kind: Lasting | None = None) -> None:
        """End what was imposed, of one kind or all of it."""
        with self._database.write() as rows:
            lift(rows, kind)
            self._so_far_at = None
        self._wake()

    def resize(self, zone: str, room: ZoneCapacity) -> None:
        """Let a zone have more or fewer machines to give from now on, in this process. Those that are there stay."""
        if zone not in self.settings.zones:
            raise ProviderError(f"no zone {zone!r}", hint=f"zones: {', '.join(self.settings.zones)}")
        with self._database.lock:
            self.settings = self.settings.model_copy(update={"zones": {**self.settings.zones, zone: room}})
            self._so_far_at = None
        self._wake()

    def adopt(self, instances: Sequence[Instance], *, healthy: Mapping[InstanceId, bool]) -> None:
        """Take over machines that were made elsewhere, all or none; their tokens give them from now on."""
        with self._registry.change() as changes:
            for one in instances:
                if changes.find(one.id):
                    raise ProviderError(f"machine {one.id} is here already")
                well = healthy.get(one.id, True)
                changes.put(adopted_row(self.settings, one, changes.number(), changes.now, healthy=well))
        self._wake()

    def add_foreign(self, name: str, tags: Mapping[str, str], *, zone: str | None = None) -> str:
        """Insert a machine that somebody else made by other means. Return its id."""
        with self._registry.change() as changes:
            number = changes.number()
            image = Image(name="foreign", identity="foreign", form=ImageForm.REFERENCE, reference="foreign")
            launch = Launch(f"foreign/{number}", name, tags, image, parameters="")
            zone = zone or next(iter(self.settings.zones))
            row = new_row(self.settings, self._conditions(), launch, number, zone, changes.now)
            changes.put(row._replace(token=None))
        self._wake()
        return row.id

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each act of an operator's through this object. Other processes' acts are not seen."""
        self._watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        self._watchers.remove(wake)

    def _wake(self) -> None:
        for wake in tuple(self._watchers):
            wake()

    def _conditions(self) -> Conditions:
        others = self._database.others()
        if others != self._so_far_at:
            with self._database.read() as rows:
                self._so_far = conditions_of(self.settings, imposed(rows))
                self._so_far_at = others
        return self._so_far

    @contextmanager
    def _call(self, call: Call, machines: int = 0) -> Iterator[Fault | None]:
        fault = self._gate.enter(call, machines, self._clock.now())
        yield fault
        if fault in (Fault.LOST_REPLY, Fault.CUT_SHORT):
            raise lost(call)

    def _destroy(self, changes: Changes, removal: Removal) -> str:
        row = changes.find(removal.id)
        if row is None or row.gone_at <= changes.now:
            return removal.id
        _check(row, removal.must_carry)
        if row.gone_at == NEVER:
            gone_at = changes.now + self.settings.destroy_time
            changes.put(row._replace(gone_at=gone_at, delisted_at=gone_at + self.settings.gone_listed_for))
        return row.id


def _present(changes: Changes, machine_id: str) -> Row:
    row = changes.find(machine_id)
    if row is None or row.gone_at <= changes.now:
        raise ProviderError(f"no machine {machine_id}")
    return row


def _tag(changes: Changes, change: Change) -> str:
    row = _present(changes, change.id)
    _check(row, change.must_carry)
    tags = {key: value for key, value in row.tags.items() if key not in change.remove_tags} | dict(change.set_tags)
    changes.put(row._replace(tags=tags, cluster=tags.get(CLUSTER, ""), grp=tags.get(GROUP, "")))
    return row.id


def _sweep(changes: Changes, cluster: str, kind: str, thing_id: str) -> str:
    if kind == "data disk":
        disks.delete(changes.rows, changes.find, thing_id, cluster, changes.now)
    elif kind == "image":
        images.delete(changes.rows, thing_id, changes.fleet.images_used())
    else:
        raise ProviderError(f"{thing_id}: the simulated cloud has no {kind!r}")
    return thing_id


def _check(row: Row, must_carry: Mapping[str, str]) -> None:
    if lacking := [f"{key}={value}" for key, value in must_carry.items() if row.tags.get(key) != value]:
        raise NotOurs(f"machine {row.id} does not carry {', '.join(lacking)}")


def _each(act: Callable[[Asked], Answer], asked: Iterable[Asked]) -> list[Answer | ProviderError]:
    """Do each by itself: what one is refused does not spoil another."""
    answered: list[Answer | ProviderError] = []
    for one in asked:
        try:
            answered.append(act(one))
        except ProviderError as exc:
            answered.append(exc)
    return answered
