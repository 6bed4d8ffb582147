"""A controller's side of the API without its engine: real specs, a real store, documents as the engine's are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event as Flag
from typing import Final

from infrakit_py.api.controls import Applied, ControllerStanding, Readiness, Standing
from infrakit_py.app.root import App
from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import Conflict, InfrakitError, Problem, SpecError, UnknownName, UsageError
from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceKind, SourceStatus
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import ClusterSpec, GroupSpec, Json
from infrakit_py.render.documents import (
    GroupDocument,
    MachineDocument,
    ProgressDocument,
    VersionDocument,
    WaitDocument,
)
from infrakit_py.spi.store import Pause
from infrakit_py.stores.codec import encoded
from infrakit_py.stores.memory import MemoryStore

NAME: Final = "c1"
SECRET_DATA: Final = "user data that nobody else may see"
SHOP: Final = f"""\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {{name: shop}}
providers:
  lab: {{plugin: simulated}}
images:
  web-v1: {{reference: web}}
groups:
  web: {{provider: lab, image: web-v1, size: 3, flavor: {{kind: vanilla, user_data: "{SECRET_DATA}"}}}}
  db: {{provider: lab, image: web-v1, logical_ids: [db-1, db-2]}}
"""


_SHOWN: Final = 100


class Site:
    """See `infrakit_py.api.controls.Controls`. A store that does not answer is one that raises, or lets wait."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.store = MemoryStore(self.clock)
        self.alive = True
        self.reasons: tuple[str, ...] = ()
        self.failure: Exception | None = None
        self.answers = Flag()
        self.answers.set()
        self.changes = Flag()
        """Set: what shall be changed is changed at once. Else it waits."""
        self.changes.set()
        self.woken = 0
        self.looks = 0
        """How often somebody asked for events."""
        self.phases: dict[str, str] = {}
        self._app = App(environment={"INFRAKIT_STATE_DIR": str(directory / "state")})
        self._directory = directory

    def declare(self, text: str = SHOP, origin: Origin | None = None) -> ClusterSpec:
        """Put what a file declares in force, as a source does."""
        file = self._directory / "cluster.yml"
        file.write_text(text)
        for spec in self._app.load([file]):
            self.store.declare(spec, origin or Origin(SourceKind.FILES, "clusters", actor=NAME), self.clock.now())
        return spec

    def happen(self, text: str, kind: str = "created", cluster: str = "shop", group: str = "web") -> int:
        """Let something happen, and return its number."""
        occurrence = Occurrence(self.clock.now(), cluster, group, kind, text, 1, NAME, {"name": "web-1", "size": 1})
        self.store.note_occurrences([occurrence])
        return self.store.occurrences(-1, limit=1)[-1][0]

    def is_alive(self) -> bool:
        return self.alive

    def readiness(self) -> Readiness:
        return Readiness(not self.reasons, self.reasons)

    def standings(self) -> Mapping[str, Standing]:
        self._ask()
        return {name: self._standing(one) for name, one in self.store.declared().items()}

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        self._ask()
        return self.store.revisions(cluster)

    def history(self, cluster: str) -> Sequence[HistoryEntry]:
        self._ask()
        return self.store.history(cluster)

    def sources(self) -> Mapping[str, SourceStatus]:
        self._ask()
        return self.store.sources()

    def controllers(self) -> Sequence[ControllerStanding]:
        self._ask()
        owned = tuple(sorted(self.store.declared()))
        return (ControllerStanding("c2", False, ()), ControllerStanding(NAME, True, owned, "https://c1:7180"))

    def occurrences(
        self, after: int, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        self.looks += 1
        self._ask()
        return self.store.occurrences(after, cluster=cluster, limit=limit)

    def apply(
        self,
        files: Mapping[str, str],
        main: Sequence[str],
        actor: str,
        *,
        expected: Mapping[str, int],
        dry_run: bool = False,
    ) -> Sequence[Applied]:
        self._ask()
        self.changes.wait(60)
        specs = self._load(files, main)
        for spec in specs:
            in_force = self._in_force(spec.name)
            if expected.get(spec.name, in_force) != in_force:
                raise Conflict(f"cluster {spec.name}: revision {in_force} is in force, not {expected[spec.name]}")
        if dry_run:
            return [Applied(spec.name, self._in_force(spec.name), self._differs(spec)) for spec in specs]
        return [self._put(spec, Origin(SourceKind.API, "api", actor=actor)) for spec in specs]

    def withdraw(self, cluster: str, actor: str, *, prune: bool) -> None:
        self._ask()
        self._spec(cluster)
        self.store.withdraw(cluster, Origin(SourceKind.API, "api", actor=actor), self.clock.now(), prune=prune)

    def scale(self, cluster: str, group: str, size: int, actor: str, *, expected: int | None = None) -> Applied:
        self._ask()
        spec = self._spec(cluster, [group])
        if spec.groups[group].size is None:
            raise UsageError(f"group {group} has logical_ids, not a size", hint="change them in the file")
        if expected is not None and expected != self._in_force(cluster):
            raise Conflict(f"cluster {cluster}: revision {self._in_force(cluster)} is in force, not {expected}")
        groups = {**spec.groups, group: replace(spec.groups[group], size=size)}
        return self._put(replace(spec, groups=groups), Origin(SourceKind.API, "api", actor=actor))

    def pause(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]:
        self._ask()
        for group in self._named(cluster, groups):
            self.store.pause(cluster, group, Pause(reason, self.clock.now()))
        return [(group, f"{group} is paused ({reason})") for group in self._named(cluster, groups)]

    def resume(self, cluster: str, groups: Sequence[str], actor: str) -> Sequence[tuple[str, str]]:
        self._ask()
        for group in self._named(cluster, groups):
            self.store.pause(cluster, group, None)
        return [(group, f"{group} goes on") for group in self._named(cluster, groups)]

    def undo(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]:
        self._ask()
        self._spec(cluster, groups)
        if not groups:
            raise UsageError("every group is at what is declared: there is nothing to undo", hint="name a group")
        return [(group, f"{group} goes back") for group in groups]

    def wake_sources(self) -> None:
        self.woken += 1

    def _ask(self) -> None:
        self.answers.wait(60)
        if self.failure is not None:
            raise self.failure

    def _standing(self, declared: Declared) -> Standing:
        groups = {name: _document(group, declared) for name, group in declared.spec.groups.items()}
        phases = {name: self.phases.get(name, "converged") for name in groups}
        return Standing(declared, NAME, self.clock.now() - 2, groups, phases)

    def _load(self, files: Mapping[str, str], main: Sequence[str]) -> Sequence[ClusterSpec]:
        with TemporaryDirectory(dir=self._directory) as place:
            for name, text in files.items():
                file = Path(place, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            try:
                return self._app.load([Path(place, name) for name in main])
            except SpecError as exc:
                raise SpecError([_as_sent(problem, place) for problem in exc.problems]) from exc

    def _put(self, spec: ClusterSpec, origin: Origin) -> Applied:
        changed = self._differs(spec)
        return Applied(spec.name, self.store.declare(spec, origin, self.clock.now()), changed)

    def _differs(self, spec: ClusterSpec) -> bool:
        present = self.store.declared().get(spec.name)
        return present is None or present.withdrawn or spec_digest(present.spec) != spec_digest(spec)

    def _in_force(self, cluster: str) -> int:
        present = self.store.declared().get(cluster)
        return present.revision if present is not None else 0

    def _named(self, cluster: str, groups: Sequence[str]) -> Sequence[str]:
        spec = self._spec(cluster, groups)
        return groups or sorted(spec.groups)

    def _spec(self, cluster: str, groups: Sequence[str] = ()) -> ClusterSpec:
        declared = self.store.declared().get(cluster)
        if declared is None:
            raise UnknownName(f"nobody declares a cluster {cluster!r}")
        for group in groups:
            if group not in declared.spec.groups:
                raise UnknownName(f"no group {group!r} in cluster {cluster}")
        return declared.spec


def _as_sent(problem: Problem, place: str) -> Problem:
    return replace(problem, file=problem.file.replace(f"{place}/", ""))


def _document(group: GroupSpec, declared: Declared) -> Json:
    """Describe a group whose last machine is still starting."""
    version = VersionDocument(declared.revision, group.image, "c10f" * 16, "v1-abcd")
    shown = min(group.count, _SHOWN)
    machines = tuple(_machine(group, slot, ready=slot < group.count - 1) for slot in range(shown))
    document = GroupDocument(
        group=group.name,
        converged=False,
        wanted=group.count,
        ready=max(0, group.count - 1),
        new=group.count,
        new_ready=max(0, group.count - 1),
        phase="baking",
        version=version,
        progress=ProgressDocument("baking", 2, (1, 2), 0, 1, "waits for machines to become ready", None),
        waits=(WaitDocument("1 machine is starting", 1_750_000_000.5),),
        declared_revision=declared.revision,
        machines=machines,
    )
    return encoded(document)


def _machine(group: GroupSpec, slot: int, *, ready: bool) -> MachineDocument:
    return MachineDocument(
        machine=f"{group.name}-{slot}",
        instance=f"i-{group.name}-{slot}",
        provider=group.provider,
        condition="ready" if ready else "starting",
        version="current",
        state="running",
        image=group.image,
        addresses=("10.0.0.7",),
        zone="a",
        launched_at="2025-06-15T15:06:40.000+00:00",
        healthy_since="2025-06-15T15:07:40.000+00:00" if ready else None,
        tags={"infrakit.cluster": "shop"},
    )


class Broken(InfrakitError):
    """Any error that has no answer of its own."""
