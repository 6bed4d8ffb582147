"""From a source to the store: what it declares becomes numbered revisions, and what is wrong is kept with its reason.

A revision is made when the source changes, and only then: another size that a person asked for stays until the file
says something new.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from infrakit_py.app.background_builds import Declaration
from infrakit_py.clock import Clock
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import Declared, Origin, Refusal, SourceKind, SourceStatus
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.spec import ClusterSpec, ImageFile
from infrakit_py.spi.store import Store


class Source(Protocol):
    """Where what is declared comes from. `version`: the commit that counts; `newest`: the one that was seen last.

    `is_settled`: what is not declared is certainly not, so that clusters may be withdrawn.
    """

    kind: SourceKind
    place: str
    version: str
    complaint: str
    is_settled: bool

    @property
    def newest(self) -> str: ...

    @property
    def in_progress(self) -> str: ...

    def first(self, build: Callable[[Declaration], Declaration]) -> Declaration: ...

    def news(self) -> Declaration | InfrakitError | None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


class Intake:
    """Takes up one source. Called from one thread."""

    def __init__(
        self,
        source: Source,
        store: Store,
        clock: Clock,
        actor: str,
        *,
        prune: bool,
        complain: Callable[[InfrakitError], None],
        recovered: Callable[[], None],
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._actor = actor
        self._prune = prune
        self._complain = complain
        self._recovered = recovered
        self._declaration: Declaration = ()
        self._noted = SourceStatus(source.place, source.kind)
        self._refusal: Refusal | None = None
        self._is_pending = False
        """Whether something that is declared is not in force yet, or may not be."""

    @property
    def source(self) -> Source:
        return self._source

    def read(self, build: Callable[[Declaration], Declaration]) -> None:
        """Read the source for the first time. InfrakitError where it is wrong, and nothing of it is in force."""
        self._noted = self._store.sources().get(self._source.place, self._noted)
        self._source.version = self._noted.in_force
        self._refusal = self._noted.refusal
        try:
            self._declaration = tuple(map(anchored, self._source.first(build)))
            self._is_pending, self._refusal = True, None
        except InfrakitError as exc:
            if not self._in_force():
                raise
            if self._source.complaint:  # it cannot be asked: that says nothing of what it declares
                self._note_progress()
            else:
                self._refuse(exc)

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters that the source declares, as it was read last."""
        return tuple(spec.name for spec in self._declaration)

    def look(self) -> bool:
        """Take up what has changed. Return whether anything was said anew."""
        match self._source.news():
            case None:
                self._note_progress()
                return False
            case InfrakitError() as error:
                self._refuse(error)
                return True
            case declaration:
                if self._refusal is not None:
                    self._recovered()
                self._declaration, self._refusal = tuple(map(anchored, declaration)), None
                self._is_pending = True
                return True

    def put_in_force(self, may: Callable[[str], bool]) -> None:
        """Make revisions of what is declared and not in force yet, of those clusters that `may` be declared here.

        Those that are declared no more are withdrawn. Idempotent; cheap where there is nothing to do. InfrakitError
        where one of them could not be declared: the others were, and another look tries again.
        """
        if not self._is_pending:
            return
        declared = self._store.declared()
        wanted = {spec.name: spec_digest(spec) for spec in self._declaration}
        self._forget_what_changes(wanted)
        digests: dict[str, str] = {}
        errors: list[InfrakitError] = []
        for spec in self._declaration:
            try:
                if self._declare(spec, wanted[spec.name], declared.get(spec.name), may):
                    digests[spec.name] = wanted[spec.name]
            except InfrakitError as exc:
                errors.append(exc)
        settled = self._source.is_settled
        now, origin = self._clock.now(), self._origin(self._source.version)
        for name, present in declared.items():
            if settled and name not in self.names and not present.withdrawn and self._is_ours(present):
                self._store.withdraw(name, origin, now, prune=self._prune)
        self._note(
            SourceStatus(
                self._source.place,
                self._source.kind,
                in_force=self._source.version,
                in_progress=self._source.in_progress,
                refusal=self._refusal,
                complaint=self._source.complaint,
                digests=digests,
            )
        )
        self._is_pending = not settled or len(digests) < len(self._declaration)
        if errors:
            raise errors[0]

    def _declare(self, spec: ClusterSpec, digest: str, present: Declared | None, may: Callable[[str], bool]) -> bool:
        if present is not None and not present.withdrawn and self._noted.digests.get(spec.name) == digest:
            scaled = spec_digest(present.spec) != digest
            if self._is_ours(present) and (scaled or present.spec == spec):
                return True
        if not may(spec.name):
            return False
        # Who led before, and was held up since it looked, must not put back what a successor has declared.
        before = present.revision if present is not None and not present.withdrawn else 0
        self._store.declare(spec, self._origin(self._source.version), self._clock.now(), expected=before)
        return True

    def _forget_what_changes(self, wanted: Mapping[str, str]) -> None:
        """Note what is about to be declared otherwise, before it is.

        Whoever goes on after a crash in between takes nothing of it for a size that a person asked for.
        """
        known = self._noted.digests
        same = {name: digest for name, digest in known.items() if wanted.get(name) == digest}
        if same != known:
            self._note(replace(self._noted, digests=same))

    def _refuse(self, error: InfrakitError) -> None:
        self._complain(error)
        self._refusal = Refusal(self._origin(self._source.newest), self._clock.now(), str(error))
        self._note(replace(self._noted, refusal=self._refusal, in_progress=self._source.in_progress))

    def _note_progress(self) -> None:
        status = replace(self._noted, in_progress=self._source.in_progress, complaint=self._source.complaint)
        if status != self._noted:
            self._note(status)

    def _note(self, status: SourceStatus) -> None:
        """Remember where the source stands, if that has changed; `at` says since when."""
        if replace(status, at=self._noted.at) != self._noted or not self._noted.at:
            self._noted = replace(status, at=self._clock.now())
            self._store.note_source(self._noted)

    def _in_force(self) -> Mapping[str, Declared]:
        found = self._store.declared().items()
        return {name: one for name, one in found if self._is_ours(one) and not one.withdrawn}

    def _is_ours(self, declared: Declared) -> bool:
        return (declared.origin.kind, declared.origin.place) == (self._source.kind, self._source.place)

    def _origin(self, version: str) -> Origin:
        return Origin(self._source.kind, self._source.place, version, self._actor)


def anchored(spec: ClusterSpec) -> ClusterSpec:
    """Name a spec's files absolutely: who reads it from the store may have begun in another directory."""
    images = {
        name: replace(image, files={part: _absolute(file) for part, file in image.files.items()})
        for name, image in spec.images.items()
    }
    return replace(spec, source=str(Path(spec.source).absolute()), images=images)


def _absolute(file: ImageFile) -> ImageFile:
    return replace(file, path=str(Path(file.path).absolute()))
