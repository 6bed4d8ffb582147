"""The program dies at each of its calls that change anything: request lost, request in flight, reply lost.

Death is an exception that nothing catches and that takes the whole engine with it. What is left is what a killed
process leaves: the cloud, the request that is still on its way, and the store's file, unless that is lost too. Calls
that only look change neither, so dying at one of them is dying after the change before it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infrakit_groups.flavors.vanilla import plugin as vanilla
from infrakit_providers.simulated.machines import Machine
from infrakit_py.clock import Clock
from infrakit_py.engine.converge import End
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.spec import FlavorSpec, GroupSpec, Image, ImageFile, ImageForm
from infrakit_py.model.tags import DRAINING
from infrakit_py.spi.flavor import Flavor
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from tests.engine.harness import IMAGES, Lab, group

pytestmark = pytest.mark.crash

PROVIDER_CALLS = frozenset({"provision", "destroy", "tag", "publish"})
STORE_CALLS = frozenset({"record", "forget"})


class Moment(StrEnum):
    """When the program dies, seen from a call."""

    LOST = "request lost"
    IN_FLIGHT = "request in flight"
    DONE = "reply lost"


class Death(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """Counts calls and strikes at one of them. `late` is what was asked for and has not arrived yet."""

    strike_at: int = 0
    moment: Moment = Moment.LOST
    made: list[str] = field(default_factory=list)
    late: Callable[[], object] | None = None

    def meet(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        self.made.append(name)
        struck = len(self.made) == self.strike_at
        if struck and self.moment is Moment.IN_FLIGHT:
            self.late = partial(call, *arguments)
        if struck and self.moment is not Moment.DONE:
            raise Death
        answer = call(*arguments)
        if struck:
            raise Death
        return answer


@dataclass
class Doomed:
    """Stands before a provider or a store, and hands certain calls to fate."""

    inner: Any
    names: frozenset[str]
    fate: Fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return partial(self.fate.meet, name, found) if name in self.names else found


@dataclass
class Overtaken:
    """A provider at which a dead program's last request arrives after the next program's first look."""

    inner: Any
    fate: Fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def describe(self, cluster: str) -> Any:
        listed = self.inner.describe(cluster)
        if late := self.fate.late:
            self.fate.late = None
            late()
        return listed


@dataclass
class Drained:
    """A flavor whose machines take a second to leave service."""

    inner: Flavor
    clock: Clock
    drains: bool = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def drain(self, instance: Instance) -> bool:
        return self.clock.now() - float(instance.tags[DRAINING]) >= 1.0


BUILT = {
    name: Image(name, letter * 64, ImageForm.DISK, {"disk": ImageFile(f"{name}.img", letter * 64, 4096)})
    for name, letter in (("b1", "b"), ("b2", "c"))
}
WEB = group(size=3, image="b1")
DB = group("db", logical_ids=("db-1", "db-2", "db-3"), image="b1", machine={"data_disk": "1GiB"})
BEFORE = (WEB, DB)
RENAMED = FlavorSpec(tags={"tier": "front"})
SCENES: dict[str, tuple[tuple[GroupSpec, ...], tuple[GroupSpec, ...]]] = {
    "creation": ((), BEFORE),
    "rollout": (BEFORE, (replace(WEB, image="b2"), replace(DB, image="b2"))),
    "growth and tags": (BEFORE, (replace(WEB, size=5, flavor=RENAMED), replace(DB, flavor=RENAMED))),
    "shrinking": (BEFORE, (replace(WEB, size=2), replace(DB, logical_ids=("db-1", "db-2")))),
    "destruction": (BEFORE, ()),
}
CLOUDS: dict[str, dict[str, Any]] = {
    "exact": {},
    "late": {"listing_lag": "6s", "destroy_time": "2s", "gone_listed_for": "9s", "zones": {"a": 4, "b": 4}},
}
BOUNDS = {"web": (3, 4), "db": (2, 3)}
"""Ready machines at least, and machines at most, during the rollout: floor and surge; a quorum, each name once."""


class Scene:
    """A cluster before and after a change, in a cloud of a kind, with a store on disk."""

    def __init__(self, name: str, cloud: Mapping[str, Any], directory: Path) -> None:
        self.before, self.after = SCENES[name]
        self.store = SqliteStore(directory)
        self.lab = Lab({"boot_time": "3s", **cloud}, store=self.store)
        self.late_listings = "listing_lag" in cloud
        self.provider = self.lab.provider
        if self.before:
            assert self.run(self.before).end is End.CONVERGED
            self.lab.clock.sleep(60.0)
        self.disks = {m.name: m.disk for m in self.lab.machines("db")}
        self.is_rollout = name == "rollout"
        self.out_of_bounds: list[str] = []
        self.lab.on_event = self._watch

    def run(self, groups: tuple[GroupSpec, ...]) -> Any:
        lab = self.lab
        flavors = {g.name: vanilla.open(g.flavor.options, cluster="shop", group=g.name) for g in groups}
        drained: Any = {"web": Drained(flavors["web"], lab.clock)} if groups else {}
        return lab.run(*groups, allow=True, flavors=drained)

    def die(self, fate: Fate) -> None:
        """Make the change with a fate; without a strike, to the end."""
        self.lab.store = Doomed(self.store, STORE_CALLS, fate)
        self.lab.provider = Doomed(self.provider, PROVIDER_CALLS, fate)  # type: ignore[assignment]
        if not fate.strike_at:
            assert self.run(self.after).end is End.CONVERGED
            return
        with pytest.raises(Death):
            self.run(self.after)

    def go_on(self, fate: Fate, *, lose_store: bool) -> None:
        """Make the change as the next process does."""
        self.lab.store = MemoryStore() if lose_store else self.store
        self.lab.provider = Overtaken(self.provider, fate)  # type: ignore[assignment]
        assert self.run(self.after).end is End.CONVERGED
        if lose_store and self.late_listings:
            # Nobody remembers what was asked for and is not listed yet: the cost is a surplus that passes.
            self.lab.clock.sleep(60.0)
            assert self.run(self.after).end is End.CONVERGED

    def check(self) -> None:
        """Everything that is declared is there, once, and nothing else."""
        for wanted in self.after:
            machines = self._there(wanted.name)
            names = [m.name for m in machines]
            assert len(set(names)) == len(names) == wanted.count, names
            assert {m.tags["infrakit.image"] for m in machines} == {IMAGES[wanted.image].identity}
            assert all(m.tags.get("tier") == wanted.flavor.tags.get("tier") for m in machines)
            assert not any(DRAINING in m.tags for m in machines)
            if wanted.logical_ids is not None:
                assert sorted(names) == list(wanted.logical_ids)
                assert all(self.disks.get(m.name) in (m.disk, None) and m.disk for m in machines)
        assert self.out_of_bounds == []
        self.lab.clock.sleep(120.0)
        everything = self.lab.cloud.everything()
        assert len(everything) == sum(g.count for g in self.after), "something leaked"

    def close(self) -> None:
        self.store.close()

    def _there(self, name: str) -> list[Machine]:
        return [m for m in self.lab.machines(name) if m.state is not InstanceState.LEAVING]

    def _watch(self, event: Event) -> None:
        if event.kind not in (EventKind.CREATED, EventKind.READY, EventKind.DESTROYED):
            return
        forgotten = self.late_listings and isinstance(self.lab.store, MemoryStore)
        for name, (floor, most) in BOUNDS.items() if self.is_rollout else ():
            there = self._there(name)
            ready = sum(self.lab.cloud.probe(m.id) is None for m in there)
            if ready < floor or (len(there) > most and not forgotten):
                self.out_of_bounds.append(f"{name}: {ready} of {len(there)} ready at {event}")


@pytest.fixture(autouse=True)
def _built_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, image in BUILT.items():
        monkeypatch.setitem(IMAGES, name, image)


@contextmanager
def scene(name: str, cloud: Mapping[str, Any], directory: Path) -> Iterator[Scene]:
    made = Scene(name, cloud, directory)
    try:
        yield made
    finally:
        made.close()


CASES = [
    pytest.param(
        name,
        cloud,
        moment,
        id=f"{name}-{cloud}-{moment.value}",
        marks=[pytest.mark.long] if (name, cloud) == ("rollout", "late") and moment is not Moment.IN_FLIGHT else [],
    )
    for name in SCENES
    for cloud in CLOUDS
    for moment in Moment
]


@pytest.mark.parametrize("lose_store", [False, True], ids=["store kept", "store lost"])
@pytest.mark.parametrize(("name", "cloud", "moment"), CASES)
def test_trap_25_a_death_at_any_call_leaks_nothing_and_doubles_nothing(
    name: str, cloud: str, moment: Moment, lose_store: bool, tmp_path: Path
) -> None:
    whole = Fate()
    with scene(name, CLOUDS[cloud], tmp_path / "whole") as lived:
        lived.die(whole)
        lived.check()
    # After one call is before the next, so every other one covers all there is between two.
    step = 1 if moment is Moment.IN_FLIGHT else 2
    for strike_at, call in list(enumerate(whole.made, 1))[::step]:
        if moment is Moment.IN_FLIGHT and call in STORE_CALLS:
            continue
        fate = Fate(strike_at, moment)
        with scene(name, CLOUDS[cloud], tmp_path / str(strike_at)) as died:
            died.die(fate)
            try:
                died.go_on(fate, lose_store=lose_store)
                died.check()
            except AssertionError as exc:
                raise AssertionError(f"death at call {strike_at} ({call}, {moment}): {exc}") from exc


def test_the_scenes_meet_every_call_that_changes_anything(tmp_path: Path) -> None:
    made: set[str] = set()
    for name in SCENES:
        fate = Fate()
        with scene(name, CLOUDS["exact"], tmp_path / name) as lived:
            lived.die(fate)
        made |= set(fate.made)
    assert made == PROVIDER_CALLS | STORE_CALLS
