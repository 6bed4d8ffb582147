"""What a running controller tells and is told by HTTP. What it is told becomes a revision or a word in the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Final

from infrakit_py.api.controls import Applied, ControllerStanding, Readiness, Standing
from infrakit_py.app.announcing import Announcer
from infrakit_py.app.background_builds import Declaration
from infrakit_py.app.board import Board
from infrakit_py.app.bundles import Bundles
from infrakit_py.app.deciding import pause_group, resume_group, to_undo, undo_group
from infrakit_py.app.host import Host, address_in
from infrakit_py.app.intake import anchored
from infrakit_py.app.lease import Lease
from infrakit_py.app.root import App, Rollouts
from infrakit_py.errors import Conflict, UnknownName, UsageError
from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceKind, SourceStatus
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import ClusterSpec, GroupSpec
from infrakit_py.spi.claims import ONLOOKER, SOURCE_READER, Claims
from infrakit_py.spi.store import Store

_API: Final = "api"


class HostControls:
    """See `infrakit_py.api.controls.Controls`."""

    def __init__(
        self,
        app: App,
        host: Host,
        board: Board,
        store: Store,
        announcer: Announcer,
        bundles: Bundles,
        build: Callable[[Declaration], Declaration],
        claims: Claims | None = None,
        lease: Lease | None = None,
        *,
        name: str,
        address: str = "",
    ) -> None:
        self._app = app
        self._host = host
        self._board = board
        self._store = store
        self._announcer = announcer
        self._bundles = bundles
        self._applying = Lock()
        self._known: tuple[int, Mapping[str, Declared]] | None = None
        self._build = build
        self._claims = claims
        self._lease = lease
        self._name = name
        self.address = address

    def is_alive(self) -> bool:
        return self._host.is_alive

    def readiness(self) -> Readiness:
        reasons = ["the last look failed: the controller's events say why"] if self._host.complaint else []
        if self._lease is not None and self._lease.complaint:
            reasons.append("the lease could not be renewed")
        if not self._host.is_alive:
            reasons.append("the controller's loop does not turn")
        elif not self._host.has_begun:
            reasons.append("the controller has not begun yet, or is about to end")
        return Readiness(not reasons, tuple(reasons))

    def standings(self) -> Mapping[str, Standing]:
        owners = self._claims.owners() if self._claims is not None else None
        kept = self._host.fleet.keepers()
        return {
            name: self._board.standing(
                one, owners.get(name, "") if owners is not None else self._name * (name in kept)
            )
            for name, one in self._declared().items()
        }

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        return self._store.revisions(cluster)

    def history(self, cluster: str) -> Sequence[HistoryEntry]:
        return self._store.history(cluster)

    def sources(self) -> Mapping[str, SourceStatus]:
        return self._store.sources()

    def controllers(self) -> Sequence[ControllerStanding]:
        if self._claims is None:
            kept = tuple(sorted(self._host.fleet.keepers()))
            return (ControllerStanding(self._name, self._host.is_leader, kept, self.address),)
        owners = self._claims.owners()
        return tuple(
            ControllerStanding(
                member,
                owners.get(SOURCE_READER) == member,
                tuple(sorted(name for name, owner in owners.items() if owner == member and name != SOURCE_READER)),
                address_in(announced),
            )
            for member, announced in sorted(self._claims.members().items())
            if announced != ONLOOKER
        )

    def occurrences(
        self, after: int, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        return self._store.occurrences(after, cluster=cluster, limit=limit)

    def apply(
        self,
        files: Mapping[str, str],
        main: Sequence[str],
        actor: str,
        *,
        expected: Mapping[str, int],
        dry_run: bool = False,
    ) -> Sequence[Applied]:
        with self._applying, self._bundles.kept(files, keep=not dry_run) as bundle:
            declaration = bundle.load(main, self._app.load)
            present = self._store.declared()
            for spec in declaration:
                self._host.may_declare(spec.name)
                self._check_expected(spec.name, present.get(spec.name), expected)
            if dry_run:
                return [_would_be(spec, present.get(spec.name)) for spec in declaration]
            declaration = tuple(map(anchored, self._build(declaration)))
        # From here on the files stay, whatever becomes of it: the first of them may be in force.
        try:
            return [self._declare(spec, actor, expected.get(spec.name)) for spec in declaration]
        finally:
            self._host.wake()

    def withdraw(self, cluster: str, actor: str, *, prune: bool) -> None:
        present = self._present(cluster)
        self._host.may_declare(cluster)
        self._store.withdraw(cluster, replace(present.origin, actor=actor), self._app.clock.now(), prune=prune)
        self._announcer.say(
            cluster, "withdrawn", "its machines shall go" if prune else "its machines stay", actor=actor
        )
        self._host.wake()

    def scale(self, cluster: str, group: str, size: int, actor: str, *, expected: int | None = None) -> Applied:
        present = self._present(cluster)
        declared = self._group(present, group)
        if declared.size is None:
            raise UsageError(f"group {group} has logical_ids, not a size", hint="change them in the file")
        if present.withdrawn:
            raise UsageError(f"cluster {cluster} is withdrawn")
        before = expected if expected is not None else present.revision
        groups = {**present.spec.groups, group: replace(declared, size=size)}
        spec = replace(present.spec, groups=groups)
        origin = replace(present.origin, actor=actor)
        revision = self._store.declare(spec, origin, self._app.clock.now(), expected=before)
        changed = revision != present.revision
        if changed:
            text = f"{group}: {declared.size} → {size}"
            self._announcer.say(cluster, "scaled", text, revision=revision, actor=actor)
            self._host.wake()
        return Applied(cluster, revision, changed)

    def pause(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]:
        rollouts = self._rollouts(cluster, groups)
        done = [(name, pause_group(rollouts, group, reason)) for name, group in rollouts.groups.items()]
        return self._said(cluster, "paused by a person", done, actor)

    def resume(self, cluster: str, groups: Sequence[str], actor: str) -> Sequence[tuple[str, str]]:
        rollouts = self._rollouts(cluster, groups)
        done = [(name, resume_group(rollouts, group)) for name, group in rollouts.groups.items()]
        return self._said(cluster, "resumed by a person", done, actor)

    def undo(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]:
        rollouts = self._rollouts(cluster, groups)
        found = to_undo(rollouts, named=bool(groups))
        if not found:
            raise UsageError(
                "every group is at what is declared: there is nothing to undo",
                hint="name a group to go back all the same",
            )
        done = [(group.name, undo_group(rollouts, group, record, reason)) for group, record in found]
        return self._said(cluster, "undone by a person", done, actor)

    def wake_sources(self) -> None:
        self._host.wake_sources()

    def _declared(self) -> Mapping[str, Declared]:
        """Return what is in force, read again only when it may have changed: specs may be large."""
        mark = self._store.declared_mark()
        known = self._known
        if known is None or known[0] != mark:
            known = self._known = (mark, self._store.declared())
        return known[1]

    def _said(
        self, cluster: str, kind: str, done: Sequence[tuple[str, str]], actor: str
    ) -> Sequence[tuple[str, str]]:
        present = self._present(cluster)
        for group, text in done:
            now = self._app.clock.now()
            self._announcer.tell(Occurrence(now, cluster, group, kind.split()[0], text, present.revision, actor))
        self._host.fleet.wake(cluster)
        return done

    def _rollouts(self, cluster: str, groups: Sequence[str]) -> Rollouts:
        present = self._present(cluster)
        for group in groups:
            self._group(present, group)
        return self._app.rollouts(present.spec, self._store, only=groups)

    def _present(self, cluster: str) -> Declared:
        present = self._declared().get(cluster)
        if present is None:
            raise UnknownName(f"nobody declares a cluster {cluster!r}")
        return present

    def _group(self, present: Declared, group: str) -> GroupSpec:
        found = present.spec.groups.get(group)
        if found is None:
            there = ", ".join(present.spec.groups)
            raise UnknownName(f"no group {group!r} in cluster {present.spec.name} (there are {there})")
        return found

    def _declare(self, spec: ClusterSpec, actor: str, expected: int | None) -> Applied:
        before = self._store.declared().get(spec.name)
        origin = Origin(SourceKind.API, _API, "", actor)
        revision = self._store.declare(spec, origin, self._app.clock.now(), expected=expected)
        changed = before is None or before.withdrawn or before.revision != revision
        if changed:
            self._announcer.say(spec.name, "declared", "by the API", revision=revision, actor=actor)
        return Applied(spec.name, revision, changed)

    def _check_expected(self, cluster: str, present: Declared | None, expected: Mapping[str, int]) -> None:
        """All of them first: half of an apply helps nobody."""
        revision = present.revision if present is not None and not present.withdrawn else 0
        if expected.get(cluster, revision) != revision:
            raise Conflict(
                f"cluster {cluster}: revision {revision} is in force, not {expected[cluster]}",
                hint="look at what has changed, and decide anew",
            )


def _would_be(spec: ClusterSpec, present: Declared | None) -> Applied:
    """Say what declaring a spec would do."""
    if present is None:
        return Applied(spec.name, 1, changed=True)
    differs = spec_digest(present.spec) != spec_digest(spec)
    return Applied(spec.name, present.revision + differs, differs or present.withdrawn)
