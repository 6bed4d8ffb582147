"""Which version of a group is gone to: the declared one, or back to the last good one when that one failed.

What became of versions is in the store. If that is lost, a version that failed is tried once more, and stopped once
more by what its machines show; only the way back is forgotten.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from threading import Lock
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Group
from infrakit_py.model.plan import Previous
from infrakit_py.model.revision import GroupVersion, VersionRecord, VersionState
from infrakit_py.model.spec import GroupSpec, OnFailure
from infrakit_py.spi.store import Pause, Store

RESUMED: Final = "resumed by a person"
_FRESH_SECONDS: Final = 2.0
"""Another process (`infra rollout pause`) may write to the store as well."""

Revive = Callable[[GroupVersion, GroupSpec], Group]
"""Make a group of a remembered version, as large and as careful as the declaration says now."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a tick works towards. `previous` makes machines for gaps; `back_from` is the version that was left."""

    group: Group
    previous: Group | None = None
    back_from: VersionRecord | None = None


@dataclass(slots=True)
class _Known:
    at: float
    records: Sequence[VersionRecord]


@dataclass(slots=True)
class _Paused:
    at: float
    pauses: Mapping[str, Pause]


@dataclass(frozen=True, slots=True)
class _Aimed:
    """A target, and what it was worked out from."""

    group: Group
    pause: Pause | None
    records: Sequence[VersionRecord]
    target: Target


class Versions:
    """The versions of one cluster's groups. Safe for threads that work on different groups."""

    def __init__(
        self,
        cluster: str,
        store: Store,
        clock: Clock,
        revive: Revive,
        can_run: Callable[[GroupVersion], bool] = lambda _: True,
    ) -> None:
        """`can_run` tells of a version whether the providers that there are now have such machines.

        One that cannot run is never gone back to.
        """
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._revive = revive
        self._can_run = can_run
        self._lock = Lock()
        self._forgotten = 0
        self._known: dict[str, _Known] = {}
        self._paused: _Paused | None = None
        self._aimed: dict[str, _Aimed] = {}
        self._revived: dict[tuple[str, str], tuple[GroupSpec, Group]] = {}

    def target(self, group: Group) -> Target:
        """Return where a group goes now. Reads the store, writes nothing."""
        if group.spec is None or group.version is None:
            return Target(group)
        pause, records = self._pauses().get(group.name), self._records(group.name)
        known = self._aimed.get(group.name)
        if known is None or known.group is not group or (known.pause, known.records) != (pause, records):
            known = self._aimed[group.name] = _Aimed(
                group, pause, records, self._aim(group, group.spec, pause, records)
            )
        return known.target

    def _aim(self, group: Group, spec: GroupSpec, pause: Pause | None, records: Sequence[VersionRecord]) -> Target:
        paused = pause.reason or "by a person" if pause is not None else ""
        wanted = next((r for r in records if _is_of(r, group)), None)
        good = self._last_good(group, records)
        state = wanted.state if wanted is not None else VersionState.ROLLING
        if wanted is not None and state in (VersionState.FAILED, VersionState.UNDONE):
            goes_back = state is VersionState.UNDONE or spec.rollout.on_failure is OnFailure.ROLLBACK
            if goes_back and good is not None:
                back = self._group(good.version, group)
                allow = group.desired.allow_mass_destroy
                desired = replace(back.desired, rolling_back=True, paused=paused, allow_mass_destroy=allow)
                return Target(replace(back, desired=desired), back_from=wanted)
            desired = replace(group.desired, stopped=wanted.reason or "it failed", paused=paused)
            return self._with_previous(replace(group, desired=desired), good)
        proven = state is VersionState.GOOD
        forgiven = wanted.at if wanted is not None and wanted.reason == RESUMED else -inf
        desired = replace(
            group.desired, paused=paused, unproven=not proven and good is not None, forgiven_before=forgiven
        )
        return self._with_previous(replace(group, desired=desired), None if proven else good)

    def began(self, group: Group) -> None:
        """Note that a group's machines are about to be changed towards its declared version.

        One that was good before, and then another was, is rolled out anew: the last good one is told by time.
        """
        records = self._records(group.name)
        latest = records[-1] if records else None
        again = latest is not None and latest.state is VersionState.GOOD and not _is_of(latest, group)
        known = next((r for r in records if _is_of(r, group)), None)
        if known is None or (known.state is VersionState.GOOD and again):
            self._note(group, VersionState.ROLLING, "")

    def completed(self, group: Group) -> None:
        """Note that a group's declared version is on every machine, ready and baked."""
        if group.version is not None and group.desired.count:
            self._note(group, VersionState.GOOD, "")

    def failed(self, group: Group, reason: str) -> None:
        """Note that a group's declared version failed. From now on `target` is another, or is stopped."""
        self._note(group, VersionState.FAILED, reason)

    def has_way_back(self, group: Group) -> bool:
        """Tell whether there is a good version to go back to."""
        return self._last_good(group, self._records(group.name)) is not None

    def forget(self) -> None:
        """Read the store anew: a person may just have changed it. Called from any thread."""
        with self._lock:
            self._forgotten += 1
            self._known.clear()
            self._paused = None

    def _with_previous(self, group: Group, good: VersionRecord | None) -> Target:
        if good is None:
            return Target(group)
        previous = self._group(good.version, group)
        if previous.desired.provider != group.desired.provider:
            return Target(group)
        known = Previous(good.version.fingerprint, good.version.image)
        return Target(replace(group, desired=replace(group.desired, previous=known)), previous)

    def _note(self, group: Group, state: VersionState, reason: str) -> None:
        if group.version is None:
            return
        known = next((r for r in self._records(group.name) if _is_of(r, group)), None)
        if known is not None and known.state is state and known.reason == reason:
            return
        self._store.note_version(self._cluster, group.version, state, self._clock.now(), reason)
        self._known.pop(group.name, None)

    def _records(self, group: str) -> Sequence[VersionRecord]:
        known, now, forgotten = self._known.get(group), self._clock.now(), self._forgotten
        if known is None or not 0 <= now - known.at < _FRESH_SECONDS:
            known = _Known(now, self._store.versions(self._cluster, group))
            with self._lock:
                if forgotten == self._forgotten:
                    self._known[group] = known
        return known.records

    def _pauses(self) -> Mapping[str, Pause]:
        known, now, forgotten = self._paused, self._clock.now(), self._forgotten
        if known is None or not 0 <= now - known.at < _FRESH_SECONDS:
            known = _Paused(now, self._store.pauses(self._cluster))
            with self._lock:
                if forgotten == self._forgotten:
                    self._paused = known
        return known.pauses

    def _last_good(self, group: Group, records: Sequence[VersionRecord]) -> VersionRecord | None:
        """Return the latest good version that can be gone back to: of the same kind, and not the declared one."""
        if group.version is None or group.spec is None:
            return None
        named = group.spec.logical_ids is not None
        for record in reversed(records):
            if record.state is not VersionState.GOOD or record.version.fingerprint == group.version.fingerprint:
                continue
            alike = (record.version.group.logical_ids is not None) == named
            if alike and self._can_run(record.version):
                return record
        return None

    def _group(self, version: GroupVersion, declared: Group) -> Group:
        key = (version.group.name, version.fingerprint)
        known = self._revived.get(key)
        if known is not None and known[0] is declared.spec:
            return known[1]
        if declared.spec is None:
            return declared
        group = self._revive(version, declared.spec)
        self._revived[key] = (declared.spec, group)
        return group


def _is_of(record: VersionRecord, group: Group) -> bool:
    return group.version is not None and record.version.fingerprint == group.version.fingerprint
