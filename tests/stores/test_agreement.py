"""Stores agree, whatever is done to them in whatever order, and however often a file is closed in between."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import Conflict
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from infrakit_py.stores.transfer import Exported, Transfer
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of, version_of

CLUSTERS: Final = ("shop", "shop-2")
GROUPS: Final = ("web", "db")
SPECS: Final = [spec_of(cluster, size) for cluster in CLUSTERS for size in (1, 2, 3)]

clusters = st.sampled_from(CLUSTERS)
groups = st.sampled_from(GROUPS)
few = st.integers(0, 3)
times = st.sampled_from([1.0, 2.0, 3.0])
intents = st.builds(
    Intent, clusters, groups, st.just("local"), few.map(str), few, st.none(), st.just("v1"), times,
    gone=st.booleans(),
)  # fmt: skip
origins = st.builds(origin_of, few.map(str))


class Agreement(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.directory = tempfile.TemporaryDirectory()
        self.memory = MemoryStore(self.clock)
        self.sqlite = self.opened()

    def opened(self) -> SqliteStore:
        return SqliteStore(Path(self.directory.name), self.clock)

    def both(self, name: str, *arguments: Any, **named: Any) -> object:
        """Do the same to both stores, and return what both answered."""
        answers = [_answer(store, name, arguments, named) for store in (self.memory, self.sqlite)]
        assert answers[0] == answers[1]
        return answers[0]

    @rule(recorded=st.lists(intents, max_size=3))
    def record(self, recorded: list[Intent]) -> None:
        self.both("record", recorded)

    @rule(recorded=st.lists(intents, max_size=3))
    def forget(self, recorded: list[Intent]) -> None:
        self.both("forget", recorded)

    @rule(spec=st.sampled_from(SPECS), at=times)
    def apply(self, spec: Any, at: float) -> None:
        self.both("revision", spec.name, spec_digest(spec), at)

    @rule(spec=st.sampled_from(SPECS), moved=st.booleans(), origin=origins, at=times, expected=st.none() | few)
    def declare(self, spec: Any, moved: bool, origin: Any, at: float, expected: int | None) -> None:
        spec = replace(spec, source="/elsewhere") if moved else spec
        self.both("declare", spec, origin, at, expected=expected)

    @rule(cluster=clusters, origin=origins, at=times, prune=st.booleans())
    def withdraw(self, cluster: str, origin: Any, at: float, prune: bool) -> None:
        self.both("withdraw", cluster, origin, at, prune=prune)

    @rule(cluster=clusters, revision=few)
    def retire(self, cluster: str, revision: int) -> None:
        self.both("retire", cluster, revision)

    @rule(
        cluster=clusters, group=groups, number=few, state=st.sampled_from(VersionState), at=times, reason=few.map(str)
    )
    def note_version(
        self, cluster: str, group: str, number: int, state: VersionState, at: float, reason: str
    ) -> None:
        self.both("note_version", cluster, version_of(f"v1-{number}", group), state, at, reason)

    @rule(cluster=clusters, group=groups, number=few, at=times)
    def forget_version(self, cluster: str, group: str, number: int, at: float) -> None:
        self.both("forget_version", cluster, group, f"v1-{number}", at, "")

    @rule(cluster=clusters, group=groups, pause=st.none() | st.builds(Pause, few.map(str), times))
    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        self.both("pause", cluster, group, pause)

    @rule(cluster=clusters, since=st.dictionaries(few.map(lambda n: InstanceId(f"i-{n}")), st.none() | times))
    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        self.both("note_healthy", cluster, since)

    @rule(cluster=clusters, standings=st.dictionaries(groups, st.sampled_from(["", "a", "b"])))
    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        self.both("note_standings", cluster, standings)

    @rule(name=few.map(str), digests=st.dictionaries(st.sampled_from(["shop", "other"]), few.map(str)))
    def note_source(self, name: str, digests: Mapping[str, str]) -> None:
        self.both("note_source", source_of(name, **digests))

    @rule(numbers=st.lists(few, max_size=4), cluster=clusters)
    def note_occurrences(self, numbers: list[int], cluster: str) -> None:
        self.both("note_occurrences", [occurrence_of(number, cluster) for number in numbers])

    @rule(cluster=clusters, from_memory=st.booleans())
    def restore(self, cluster: str, from_memory: bool) -> None:
        exported = (self.memory if from_memory else self.sqlite).dump(cluster)
        self.both("restore", cluster, exported)

    @rule()
    def open_the_file_again(self) -> None:
        self.sqlite.close()
        self.sqlite = self.opened()

    @invariant()
    def they_say_the_same(self) -> None:
        for name in ("declared", "sources", "occurrences", "clusters"):
            self.both(name)
        for cluster in CLUSTERS:
            for name in ("revisions", "history", "pauses", "healthy_since", "standings"):
                self.both(name, cluster)
            self.both("occurrences", 3, cluster=cluster, limit=2)
            self.both("occurrences", -1, cluster=cluster, limit=2)
            self.both("dump", cluster)
            for group in GROUPS:
                self.both("versions", cluster, group)
                self.both("intents", cluster, group)

    def teardown(self) -> None:
        self.sqlite.close()
        self.directory.cleanup()


def _answer(store: Transfer, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> object:
    try:
        answer = getattr(store, name)(*arguments, **named)
    except Conflict as exc:
        return str(exc)
    return in_order(answer) if isinstance(answer, Exported) or name == "intents" else answer


def in_order(answer: Any) -> object:
    """Return what has no order of its own in one: intents, and versions of several groups."""
    if not isinstance(answer, Exported):
        return sorted(answer, key=repr)
    versions = sorted(answer.versions, key=lambda record: record.version.group.name)
    return replace(answer, intents=tuple(sorted(answer.intents, key=repr)), versions=tuple(versions))


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
