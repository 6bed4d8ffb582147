"""What a store in memory remembers of one cluster."""

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace

from infrakit_py.model.declared import Declared, Origin, RevisionRecord
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import HistoryEntry, VersionRecord
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import declaring, past
from infrakit_py.stores.transfer import Exported, Numbered

_Place = tuple[str, str]
"""A provider and a slot: one creation of it is under way at most."""


@dataclass(slots=True)
class Kept:
    """Intents and versions are apart by group, revisions are in their order. Not safe for threads."""

    intents: defaultdict[str, dict[_Place, Intent]] = field(default_factory=lambda: defaultdict(dict))
    revisions: dict[int, Numbered] = field(default_factory=dict)
    in_force: declaring.InForce | None = None
    versions: defaultdict[str, dict[str, VersionRecord]] = field(default_factory=lambda: defaultdict(dict))
    history: deque[HistoryEntry] = field(default_factory=lambda: deque(maxlen=past.HISTORY_KEPT))
    pauses: dict[str, Pause] = field(default_factory=dict)
    healthy: dict[InstanceId, float] = field(default_factory=dict)
    standings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def restored(cls, exported: Exported) -> "Kept":
        kept = cls(in_force=exported.in_force)
        for intent in exported.intents:
            kept.intents[intent.group][intent.provider, intent.slot] = intent
        kept.revisions.update((numbered.record.number, numbered) for numbered in exported.revisions)
        for record in exported.versions:
            kept.versions[record.version.group.name][record.version.fingerprint] = record
        kept.history.extend(exported.history)
        kept.pauses.update(exported.pauses)
        kept.healthy.update(exported.healthy_since)
        kept._prune()
        return kept

    def exported(self) -> Exported:
        return Exported(
            intents=tuple(intent for places in self.intents.values() for intent in places.values()),
            revisions=tuple(self.revisions.values()),
            in_force=self.in_force,
            versions=tuple(record for records in self.versions.values() for record in records.values()),
            history=tuple(self.history),
            pauses=dict(self.pauses),
            healthy_since=dict(self.healthy),
        )

    def note(self, spec_digest: str, now: float) -> int:
        """Return the number of a spec that somebody applies."""
        number = self._number(spec_digest)
        if number not in self.revisions:
            self.revisions[number] = Numbered(RevisionRecord(number, spec_digest, now))
            self._prune()
        return number

    def declare(self, spec: ClusterSpec, spec_digest: str, origin: Origin, now: float) -> tuple[int, bool]:
        """Put a spec in force; return its number, and whether anything changed."""
        number = self._number(spec_digest)
        in_force = declaring.declared(self.in_force, number, spec_digest, origin, now)
        before = self.revisions.get(number)
        if in_force == self.in_force and before is not None and before.spec == spec:
            return number, False
        record = before.record if before is not None else RevisionRecord(number, spec_digest, now)
        self.revisions[number] = Numbered(replace(record, origin=record.origin or origin), spec)
        self.in_force = in_force
        self._prune()
        return number, True

    def declared(self) -> Declared | None:
        numbered = self.revisions.get(self.in_force.revision) if self.in_force is not None else None
        if self.in_force is None or numbered is None or numbered.spec is None:
            return None
        return declaring.as_declared(self.in_force, numbered.spec)

    def _number(self, spec_digest: str) -> int:
        last = next(reversed(self.revisions), 0)
        last_digest = self.revisions[last].record.spec_digest if last else ""
        return declaring.number(self.in_force, last, last_digest, spec_digest)

    def _prune(self) -> None:
        """Drop the numbers and the specs that are too many; those in force stay."""
        in_force = self.in_force.revision if self.in_force is not None else 0
        full = [number for number, numbered in self.revisions.items() if numbered.spec is not None]
        for number in full[: -declaring.CONTENTS_KEPT]:
            if number != in_force:
                self.revisions[number] = replace(self.revisions[number], spec=None)
        for number in list(self.revisions)[: -declaring.REVISIONS_KEPT]:
            if number != in_force:
                del self.revisions[number]
