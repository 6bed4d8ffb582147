"""What every store gives of a cluster, every other one can remember."""

from dataclasses import replace
from typing import Final

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.model.declared import RevisionRecord, SourceKind
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.transfer import Exported, Numbered, Transfer, require_whole
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of, version_of

INTENT: Final = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0, InstanceId("i-1"), ticket="{}")
SPECS: Final = tuple(spec_of(size=size) for size in range(1, 31))


@pytest.fixture
def full(clock: VirtualClock) -> MemoryStore:
    """A store that remembers something of every sort."""
    store = MemoryStore(clock)
    fill(store)
    return store


def fill(store: Transfer) -> None:
    store.record([INTENT, replace(INTENT, group="db", slot="a", logical_id="a", gone=True)])
    store.revision("shop", "digest of an apply", 1.0)
    for number in (0, 1):
        store.declare(SPECS[number], origin_of(str(number)), 2.0 + number)
    store.note_version("shop", version_of("v1-a"), VersionState.GOOD, 4.0, "baked")
    store.note_version("shop", version_of("v1-b", revision=2), VersionState.ROLLING, 5.0, "wanted")
    store.note_version("shop", version_of("v1-c", "db"), VersionState.FAILED, 6.0, "2 of 3")
    store.pause("shop", "web", Pause("freeze", 7.0))
    store.note_healthy("shop", {InstanceId("i-1"): 8.0, InstanceId("i-2"): 0.0})
    store.note_standings("shop", {"web": "{}"})
    store.note_source(source_of(shop="ab"))
    store.note_occurrences([occurrence_of(1)])


def seen(store: Transfer, cluster: str = "shop") -> list[object]:
    """Return all that lasts of what a store says of a cluster."""
    return [
        sorted(store.intents(cluster), key=lambda intent: (intent.group, intent.slot)),
        store.revisions(cluster),
        store.declared().get(cluster),
        store.versions(cluster, "web"),
        store.versions(cluster, "db"),
        store.history(cluster),
        store.pauses(cluster),
        store.healthy_since(cluster),
    ]


def in_order(exported: Exported) -> Exported:
    return replace(
        exported,
        intents=tuple(sorted(exported.intents, key=lambda intent: (intent.group, intent.slot))),
        versions=tuple(sorted(exported.versions, key=lambda record: record.version.group.name)),
    )


def test_a_cluster_of_a_store_is_the_same_in_another(store: Transfer, full: MemoryStore) -> None:
    store.restore("shop", full.dump("shop"))
    assert seen(store) == seen(full)
    back = MemoryStore()
    back.restore("shop", store.dump("shop"))
    assert seen(back) == seen(full)


def test_a_dump_is_all_that_lasts(store: Transfer, full: MemoryStore) -> None:
    fill(store)
    exported = in_order(store.dump("shop"))
    assert exported == in_order(full.dump("shop"))
    records = [RevisionRecord(1, "digest of an apply", 1.0)] + [
        RevisionRecord(number + 2, spec_digest(SPECS[number]), 2.0 + number, origin_of(str(number)))
        for number in (0, 1)
    ]
    assert exported.revisions == (
        Numbered(records[0]),
        Numbered(records[1], SPECS[0]),
        Numbered(records[2], SPECS[1]),
    )
    assert exported.in_force == InForce(3, spec_digest(SPECS[1]), origin_of("1"), 3.0)
    assert exported.left_out == 0
    require_whole("shop", exported)


def test_what_was_remembered_before_a_restore_is_gone(store: Transfer, full: MemoryStore) -> None:
    store.record([replace(INTENT, slot="9")])
    store.declare(spec_of(size=99), origin_of(kind=SourceKind.API), 1.0)
    store.note_version("shop", version_of("v1-z"), VersionState.GOOD, 1.0, "")
    store.pause("shop", "db", Pause("old", 1.0))
    store.note_healthy("shop", {InstanceId("i-9"): 1.0})
    store.note_standings("shop", {"web": "old"})
    mark = store.declared_mark()
    store.restore("shop", full.dump("shop"))
    assert seen(store) == seen(full)
    assert store.standings("shop") == {}
    assert store.declared_mark() > mark


def test_a_restore_leaves_other_clusters(store: Transfer, full: MemoryStore) -> None:
    store.record([replace(INTENT, cluster="shop-2")])
    store.declare(spec_of("shop-2"), origin_of(), 1.0)
    before = seen(store, "shop-2")
    store.restore("shop", full.dump("shop"))
    assert seen(store, "shop-2") == before


def test_numbers_go_on_after_a_restore(store: Transfer, full: MemoryStore) -> None:
    store.restore("shop", full.dump("shop"))
    assert store.revision("shop", spec_digest(SPECS[1]), 9.0) == 3
    assert store.declare(SPECS[2], origin_of(), 9.0, expected=3) == 4


def test_a_withdrawn_cluster_stays_withdrawn(store: Transfer, full: MemoryStore) -> None:
    full.withdraw("shop", origin_of(), 9.0, prune=True)
    store.restore("shop", full.dump("shop"))
    assert store.declared() == full.declared()
    store.retire("shop", 3)
    assert store.declared() == {}


def test_a_restore_of_nothing_forgets_the_cluster(store: Transfer) -> None:
    fill(store)
    store.restore("shop", Exported())
    assert store.dump("shop") == Exported()
    assert store.clusters() == []


def test_clusters_are_those_of_which_anything_lasts(store: Transfer) -> None:
    assert store.clusters() == []
    store.record([replace(INTENT, cluster="d")])
    store.revision("c", "digest", 1.0)
    store.pause("b", "web", Pause("freeze", 1.0))
    store.note_healthy("a", {InstanceId("i-1"): 1.0})
    store.note_occurrences([occurrence_of(1, "z")])
    assert store.clusters() == ["a", "b", "c", "d"]


def test_what_nobody_knows_is_dumped_as_nothing(store: Transfer) -> None:
    assert store.dump("shop") == Exported()


def test_the_last_twenty_specs_are_kept_in_full(store: Transfer) -> None:
    for spec in SPECS:
        store.declare(spec, origin_of(), 1.0)
    revisions = store.dump("shop").revisions
    assert [each.record.number for each in revisions] == [*range(1, 31)]
    assert [each.spec for each in revisions] == [*[None] * 10, *SPECS[10:]]
    assert all(each.record.origin == origin_of() for each in revisions)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda whole: replace(whole, revisions=whole.revisions[::-1]), "do not grow"),
        (lambda whole: replace(whole, revisions=whole.revisions[:2]), "revision 3 is not there"),
        (
            lambda whole: replace(whole, revisions=(*whole.revisions[:2], replace(whole.revisions[2], spec=None))),
            "spec",
        ),
        (lambda whole: replace(whole, in_force=replace(whole.in_force, spec_digest="x")), "another digest"),
        (lambda whole: replace(whole, in_force=replace(whole.in_force, origin=None)), "nobody declared"),
        (lambda whole: replace(whole, intents=(replace(INTENT, cluster="shop-2"),)), "another cluster"),
        (
            lambda whole: replace(whole, revisions=(replace(whole.revisions[1], spec=spec_of("b")),)),
            "another cluster",
        ),
        (
            lambda whole: replace(whole, revisions=(replace(whole.revisions[1], spec=replace(SPECS[0], images={})),)),
            "image that is not there",
        ),
    ],
    ids=["order", "no number", "no spec", "digest", "origin", "intent", "spec's name", "no image"],
)
def test_parts_that_do_not_fit_are_told(full: MemoryStore, wrong: object, message: str) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=message):
        require_whole("shop", wrong(full.dump("shop")))
