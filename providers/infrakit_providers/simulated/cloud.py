"""The simulated cloud: machines that are rows, and instants at which they boot, die and are gone.

It knows nothing of clusters beyond the tags that a call says a machine must carry, so that fakes of a vendor's API
can stand in front of the same cloud. It has no thread; what time does is read off the rows.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Final, TypeVar

from infrakit_providers.simulated import disks, images, tally
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.database import Database, as_list
from infrakit_providers.simulated.faults import Fault, Gate, lost, refusal
from infrakit_providers.simulated.launching import Batch, insert, new_row, next_number
from infrakit_providers.simulated.machines import NEVER, Launch, Machine, Row, answers, machine_at
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.model.tags import CLUSTER, GROUP
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
        self._gate = Gate(self._database, settings)

    def close(self) -> None:
        self._database.close()

    def launch(self, launches: Sequence[Launch]) -> list[str | ProviderError]:
        """Begin machines, for each its id or its error. A token that is known gives its machine again."""
        self._clock.sleep(self.settings.provision_delay / 2)
        with self._call(Call.PROVISION, len(launches)) as fault, self._database.write() as rows:
            if refused := refusal(fault):
                return [refused] * len(launches)
            now = self._clock.now()
            batch = Batch(rows, self.settings, launches, now, cut_short=fault is Fault.CUT_SHORT)
            answered = _each(batch.launch, launches)
            batch.finish()
        self._clock.sleep(self.settings.provision_delay / 2)
        return answered

    def machines(self, cluster: str | None = None) -> Sequence[Machine]:
        """Return the machines that a listing shows, of one cluster or all there are, in order of creation."""
        with self._call(Call.DESCRIBE), self._database.read() as rows:
            now = self._clock.now()
            query = "SELECT * FROM machines WHERE delisted_at > ? AND listed_at <= ?"
            if cluster is None:
                found = rows.execute(f"{query} ORDER BY seq", (now, now)).fetchall()
            else:
                found = rows.execute(f"{query} AND cluster = ? ORDER BY seq", (now, now, cluster)).fetchall()
        return [machine_at(Row._make(row), now) for row in found]

    def everything(self) -> Sequence[Machine]:
        """Return all machines there are, past any lag, limit or fault. For operators and for tests."""
        with self._database.read() as rows:
            now = self._clock.now()
            found = rows.execute("SELECT * FROM machines WHERE delisted_at > ? ORDER BY seq", (now,))
            return [machine_at(Row._make(row), now) for row in found]

    def find(self, ids: Sequence[str]) -> Mapping[str, Machine]:
        """Return the machines of these ids that are there, however new, and those still listed as gone."""
        with self._call(Call.LOOKUP), self._database.read() as rows:
            now = self._clock.now()
            query = "SELECT * FROM machines WHERE id IN (SELECT value FROM json_each(?)) AND delisted_at > ?"
            found = rows.execute(query, (as_list(ids), now)).fetchall()
        return {machine.id: machine for machine in (machine_at(Row._make(row), now) for row in found)}

    def destroy(self, removals: Sequence[Removal]) -> Sequence[str | ProviderError]:
        """Begin to destroy machines. One that is gone, or was never there, is fine."""
        with self._call(Call.DESTROY, len(removals)), self._database.write() as rows:
            gone_at = self._clock.now() + self.settings.destroy_time
            destroyed: Counter[tally.Kind] = Counter()
            answered = _each(lambda removal: self._destroy(rows, removal, gone_at, destroyed), removals)
            tally.add(rows, destroyed)
            return answered

    def tag(self, changes: Sequence[Change]) -> Sequence[str | ProviderError]:
        """Set and remove tags."""
        with self._call(Call.TAG, len(changes)), self._database.write() as rows:
            return _each(lambda change: self._tag(rows, change), changes)

    def probe(self, machine_id: str) -> str | None:
        """Ask a machine for its health: None is healthy."""
        with self._call(Call.PROBE), self._database.read() as rows:
            row = _row(rows, machine_id)
            healthy = row and answers(row, self._clock.now(), tuple(self.settings.sick_images))
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
            return disks.of_cluster(rows, cluster), images.unused_by_others(rows, cluster, self._clock.now())

    def sweep(self, cluster: str, things: Sequence[tuple[str, str]]) -> Sequence[str | ProviderError]:
        """Delete disks of a cluster and images, given by kind and id, that nobody uses."""
        with self._call(Call.SWEEP), self._database.write() as rows:
            return _each(lambda thing: self._sweep(rows, cluster, *thing), things)

    def stop(self, machine_id: str, cause: str = "killed (simulated)") -> None:
        """End a machine from outside: it stops and stays."""
        with self._changed(machine_id) as (rows, row):
            now = self._clock.now()
            if now < row.dies_at:
                rows.execute("UPDATE machines SET dies_at = ?, cause = ? WHERE id = ?", (now, cause, machine_id))

    def set_sick(self, machine_id: str, *, sick: bool) -> None:
        """Make a machine that runs fail its health checks, or answer them again."""
        with self._changed(machine_id) as (rows, _):
            rows.execute("UPDATE machines SET sick = ? WHERE id = ?", (sick, machine_id))

    def fail(self, call: Call, fault: Fault, times: int = 1) -> None:
        """Make the next calls of a kind fail, whoever makes them."""
        self._gate.order(call, fault, times)

    def add_foreign(self, name: str, tags: Mapping[str, str], *, zone: str | None = None) -> str:
        """Insert a machine that somebody else made by other means. Return its id."""
        with self._database.write() as rows:
            number = next_number(rows)
            image = Image(name="foreign", identity="foreign", form=ImageForm.REFERENCE, reference="foreign")
            launch = Launch(f"foreign/{number}", name, tags, image, parameters="")
            row = new_row(self.settings, launch, number, zone or next(iter(self.settings.zones)), self._clock.now())
            insert(rows, row._replace(token=None))
            tally.add(rows, {tally.kind_of(row): 1})
            return row.id

    @contextmanager
    def _call(self, call: Call, machines: int = 0) -> Iterator[Fault | None]:
        fault = self._gate.enter(call, machines, self._clock.now())
        yield fault
        if fault in (Fault.LOST_REPLY, Fault.CUT_SHORT):
            raise lost(call)

    @contextmanager
    def _changed(self, machine_id: str) -> Iterator[tuple[Connection, Row]]:
        with self._database.write() as rows:
            yield rows, self._present(rows, machine_id)

    def _present(self, rows: Connection, machine_id: str) -> Row:
        row = _row(rows, machine_id)
        if row is None or row.gone_at <= self._clock.now():
            raise ProviderError(f"no machine {machine_id}")
        return row

    def _destroy(self, rows: Connection, removal: Removal, gone_at: float, destroyed: Counter[tally.Kind]) -> str:
        row = _row(rows, removal.id)
        if row is None or row.gone_at <= self._clock.now():
            return removal.id
        _check(row, removal.must_carry)
        if row.gone_at == NEVER:
            delisted_at = gone_at + self.settings.gone_listed_for
            query = "UPDATE machines SET gone_at = ?, delisted_at = ? WHERE id = ?"
            rows.execute(query, (gone_at, delisted_at, row.id))
            destroyed[tally.kind_of(row)] -= 1
        return row.id

    def _tag(self, rows: Connection, change: Change) -> str:
        row = self._present(rows, change.id)
        _check(row, change.must_carry)
        before: dict[str, str] = json.loads(row.tags)
        tags = {key: value for key, value in before.items() if key not in change.remove_tags} | dict(change.set_tags)
        rows.execute("UPDATE machines SET tags = ? WHERE id = ?", (json.dumps(tags), row.id))
        owner = (tags.get(CLUSTER, ""), tags.get(GROUP, ""))
        if owner != (row.cluster, row.grp):
            rows.execute("UPDATE machines SET cluster = ?, grp = ? WHERE id = ?", (*owner, row.id))
            if row.gone_at == NEVER:
                renamed = row._replace(cluster=owner[0], grp=owner[1])
                tally.add(rows, {tally.kind_of(row): -1, tally.kind_of(renamed): 1})
        return row.id

    def _sweep(self, rows: Connection, cluster: str, kind: str, thing_id: str) -> str:
        if kind == "data disk":
            disks.delete(rows, thing_id, cluster, self._clock.now())
        elif kind == "image":
            images.delete(rows, thing_id, self._clock.now())
        else:
            raise ProviderError(f"{thing_id}: the simulated cloud has no {kind!r}")
        return thing_id


def _row(rows: Connection, machine_id: str) -> Row | None:
    found = rows.execute("SELECT * FROM machines WHERE id = ?", (machine_id,)).fetchone()
    return Row._make(found) if found else None


def _check(row: Row, must_carry: Mapping[str, str]) -> None:
    tags = json.loads(row.tags)
    if lacking := [f"{key}={value}" for key, value in must_carry.items() if tags.get(key) != value]:
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
