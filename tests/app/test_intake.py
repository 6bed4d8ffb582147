"""From a source to the store: a change makes a revision, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infrakit_py.app.background_builds import Declaration
from infrakit_py.app.intake import Intake
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import InfrakitError, StoreError, UsageError
from infrakit_py.model.declared import Origin, SourceKind
from infrakit_py.model.spec import ClusterSpec, GroupSpec
from infrakit_py.stores.memory import MemoryStore


class Said:
    """A source that declares what it is told to."""

    kind = SourceKind.GIT
    place = "ops main"
    complaint = ""
    in_progress = ""
    is_settled = True

    def __init__(self, *specs: ClusterSpec) -> None:
        self.version = self.newest = "c1"
        self.next: Declaration | InfrakitError | None = specs

    def first(self, build: Callable[[Declaration], Declaration]) -> Declaration:
        if isinstance(self.next, InfrakitError):
            raise self.next
        said, self.next = self.next, None
        self.version = self.newest
        return build(said or ())

    def news(self) -> Declaration | InfrakitError | None:
        said, self.next = self.next, None
        return said

    def says(self, version: str, *specs: ClusterSpec) -> None:
        self.version = self.newest = version
        self.next = specs

    def is_wrong(self, version: str, why: str) -> None:
        self.newest, self.next = version, UsageError(why)

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class Site:
    """A store, a source, and who takes it up; `again` begins anew, as a restart does."""

    def __init__(self, *specs: ClusterSpec, prune: bool = False) -> None:
        self.store, self.clock, self.prune = MemoryStore(), VirtualClock(), prune
        self.complaints: list[str] = []
        self.recoveries = 0
        self.source = Said(*specs)
        self.intake = self._intake()

    def again(self, source: Said) -> None:
        self.source = source
        self.intake = self._intake()

    def look(self) -> None:
        self.intake.look()
        self.intake.put_in_force(lambda _: True)

    def begin(self) -> None:
        self.intake.read(lambda declared: declared)
        self.intake.put_in_force(lambda _: True)

    def revision(self, cluster: str) -> int:
        return self.store.declared()[cluster].revision

    def _intake(self) -> Intake:
        def recovered() -> None:
            self.recoveries += 1

        return Intake(
            self.source,
            self.store,
            self.clock,
            "c1",
            prune=self.prune,
            complain=lambda error: self.complaints.append(str(error)),
            recovered=recovered,
        )


def spec(name: str = "shop", size: int = 3, source: str = "/srv/shop.yml") -> ClusterSpec:
    return ClusterSpec(name, source, {}, {}, {"web": GroupSpec("web", "cloud", "base", size=size)})


def begun(*specs: ClusterSpec, prune: bool = False) -> Site:
    site = Site(*specs, prune=prune)
    site.begin()
    return site


def test_what_a_source_declares_is_in_force_with_where_it_came_from() -> None:
    site = begun(spec())

    declared = site.store.declared()["shop"]
    assert (declared.revision, declared.spec, declared.origin.version) == (1, spec(), "c1")
    assert site.store.sources()["ops main"].in_force == "c1"


def test_a_look_at_what_has_not_changed_makes_no_revision_and_writes_nothing() -> None:
    site = begun(spec())
    before = site.store.declared_mark(), site.store.sources()

    for _ in range(3):
        site.clock.sleep(60.0)
        site.look()

    assert (site.store.declared_mark(), site.store.sources()) == before


def test_a_change_makes_the_next_revision() -> None:
    site = begun(spec())
    site.source.says("c2", spec(size=5))
    site.look()

    assert site.revision("shop") == 2
    assert site.store.sources()["ops main"].in_force == "c2"


def test_a_size_that_a_person_set_stays_until_the_source_says_something_new_of_that_cluster() -> None:
    site = begun(spec(), spec("other"))
    present = site.store.declared()["shop"]
    site.store.declare(spec(size=7), replace(present.origin, actor="a person"), site.clock.now())

    site.source.says("c2", spec(), spec("other", size=4))
    site.look()
    site.again(Said(spec(), spec("other", size=4)))
    site.begin()
    assert site.store.declared()["shop"].spec == spec(size=7)

    site.source.says("c3", spec(size=2), spec("other", size=4))
    site.look()
    assert site.store.declared()["shop"].spec == spec(size=2)


def test_files_that_moved_are_the_same_revision_with_their_new_place() -> None:
    site = begun(spec())
    site.again(Said(spec(source="/elsewhere/shop.yml")))
    site.begin()

    declared = site.store.declared()["shop"]
    assert (declared.revision, declared.spec.source) == (1, "/elsewhere/shop.yml")


def test_relative_names_are_kept_absolute() -> None:
    site = begun(spec(source="shop.yml"))

    assert site.store.declared()["shop"].spec.source == str(Path("shop.yml").absolute())


def test_a_change_that_is_wrong_is_kept_with_its_reason_and_the_last_good_one_stays() -> None:
    site = begun(spec())
    site.source.is_wrong("c2", "shop.yml:3:1: what is this?")
    site.look()

    status = site.store.sources()["ops main"]
    assert site.revision("shop") == 1
    assert status.in_force == "c1"
    assert status.refusal is not None
    assert (status.refusal.origin.version, status.refusal.reason) == ("c2", "shop.yml:3:1: what is this?")
    assert site.complaints == ["shop.yml:3:1: what is this?"]

    site.source.says("c3", spec(size=4))
    site.look()
    assert site.store.sources()["ops main"].refusal is None
    assert site.recoveries == 1


def test_one_that_is_wrong_from_the_start_is_an_error_where_nothing_is_in_force() -> None:
    site = Site()
    site.source.is_wrong("c1", "nothing to be read")

    with pytest.raises(UsageError):
        site.begin()


def test_one_that_is_wrong_at_a_restart_leaves_in_force_what_was() -> None:
    site = begun(spec())
    wrong = Said()
    wrong.is_wrong("c2", "nothing to be read")
    site.again(wrong)
    site.begin()

    assert not site.store.declared()["shop"].withdrawn
    assert site.complaints == ["nothing to be read"]


@pytest.mark.parametrize("prune", [False, True])
def test_a_cluster_that_leaves_is_withdrawn_and_pruned_only_where_that_is_wanted(prune: bool) -> None:
    site = begun(spec(), spec("other"), prune=prune)
    site.source.says("c2", spec("other"))
    site.look()

    left = site.store.declared()["shop"]
    assert (left.withdrawn, left.prune) == (True, prune)
    assert not site.store.declared()["other"].withdrawn

    site.source.says("c3", spec(), spec("other"))
    site.look()
    assert not site.store.declared()["shop"].withdrawn


def test_what_others_declared_is_left_alone() -> None:
    site = begun(spec())
    by_api = replace(site.store.declared()["shop"].origin, kind=SourceKind.API, place="api")
    site.store.declare(spec("theirs"), by_api, site.clock.now())
    site.source.says("c2", spec(size=1))
    site.look()

    assert not site.store.declared()["theirs"].withdrawn


def test_what_may_not_be_declared_here_yet_is_declared_later() -> None:
    site = Site(spec(), spec("other"))
    site.intake.read(lambda declared: declared)
    site.intake.put_in_force(lambda name: name == "shop")
    assert site.store.declared().keys() == {"shop"}

    site.look()
    assert site.store.declared().keys() == {"shop", "other"}


def test_what_was_read_only_once_withdraws_nothing_until_it_was_read_again() -> None:
    site = begun(spec(), spec("other"), prune=True)
    half = Said(spec())
    half.is_settled = False
    site.again(half)
    site.begin()
    assert not site.store.declared()["other"].withdrawn

    half.is_settled = True
    site.look()
    assert site.store.declared()["other"].prune


def test_one_that_cannot_be_asked_at_a_restart_is_no_refusal() -> None:
    site = begun(spec())
    away = Said()
    away.is_wrong("", "no route to host")
    away.complaint = "no route to host"
    site.again(away)
    site.begin()

    status = site.store.sources()["ops main"]
    assert (status.refusal, status.complaint, status.in_force) == (None, "no route to host", "c1")
    assert not site.store.declared()["shop"].withdrawn


def test_a_cluster_that_cannot_be_declared_keeps_no_other_from_it() -> None:
    site = begun(spec(), spec("other"))
    site.source.says("c2", spec(size=4), spec("other", size=5))

    class Refusing(MemoryStore):
        def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
            if spec.name == "shop":
                raise StoreError("not now")
            return super().declare(spec, origin, now, expected=expected)

    site.store.__class__ = Refusing
    site.intake.look()
    with pytest.raises(StoreError):
        site.intake.put_in_force(lambda _: True)
    assert site.store.declared()["other"].spec.groups["web"].size == 5

    site.store.__class__ = MemoryStore
    site.look()
    assert site.store.declared()["shop"].spec.groups["web"].size == 4
