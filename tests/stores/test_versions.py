"""Every store remembers versions, their history, pauses and health alike."""

from dataclasses import replace

from infrakit_py.clock import VirtualClock
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Pause, Store
from tests.stores.material import IMAGE, version_of

A, B = version_of("v1-a"), version_of("v1-b", revision=2)
ROLLING, GOOD, FAILED, UNDONE = VersionState


def fingerprints(store: Store, group: str = "web") -> list[str]:
    return [record.version.fingerprint for record in store.versions("shop", group)]


def events(store: Store, group: str | None = None) -> list[tuple[str, str]]:
    return [(entry.event, entry.fingerprint) for entry in store.history("shop", group)]


def test_a_version_is_remembered_with_its_state(store: Store) -> None:
    store.note_version("shop", A, ROLLING, 1.0, "wanted")
    assert store.versions("shop", "web") == [VersionRecord(A, ROLLING, 1.0, "wanted")]


def test_the_latest_change_comes_last(store: Store) -> None:
    store.note_version("shop", A, ROLLING, 1.0, "")
    store.note_version("shop", B, ROLLING, 2.0, "")
    store.note_version("shop", A, GOOD, 3.0, "")
    assert store.versions("shop", "web") == [VersionRecord(B, ROLLING, 2.0), VersionRecord(A, GOOD, 3.0)]


def test_a_version_is_told_by_its_fingerprint(store: Store) -> None:
    store.note_version("shop", A, ROLLING, 1.0, "")
    larger = replace(A, group=replace(A.group, size=5))
    store.note_version("shop", larger, GOOD, 2.0, "")
    assert store.versions("shop", "web") == [VersionRecord(larger, GOOD, 2.0)]


def test_what_is_so_already_changes_nothing(store: Store) -> None:
    store.note_version("shop", A, GOOD, 1.0, "baked")
    store.note_version("shop", B, GOOD, 2.0, "baked")
    store.note_version("shop", A, GOOD, 3.0, "baked")
    assert store.versions("shop", "web") == [
        VersionRecord(A, GOOD, 1.0, "baked"),
        VersionRecord(B, GOOD, 2.0, "baked"),
    ]
    assert len(store.history("shop")) == 2


def test_another_reason_is_a_change(store: Store) -> None:
    store.note_version("shop", A, FAILED, 1.0, "2 of 3 failed")
    store.note_version("shop", A, FAILED, 2.0, "3 of 3 failed")
    assert store.versions("shop", "web") == [VersionRecord(A, FAILED, 2.0, "3 of 3 failed")]
    assert len(store.history("shop")) == 2


def test_groups_and_clusters_do_not_see_each_other_s_versions(store: Store) -> None:
    store.note_version("shop", A, GOOD, 1.0, "")
    store.note_version("shop", version_of("v1-a", "db"), FAILED, 1.0, "")
    store.note_version("shop-2", A, UNDONE, 1.0, "")
    assert [record.state for record in store.versions("shop", "web")] == [GOOD]
    assert [record.state for record in store.versions("shop", "db")] == [FAILED]
    assert store.versions("shop", "we") == []
    assert [entry.event for entry in store.history("shop-2")] == ["undone"]


def test_all_that_happened_is_in_the_history(store: Store) -> None:
    store.note_version("shop", A, ROLLING, 1.0, "wanted")
    store.note_version("shop", A, GOOD, 2.0, "baked")
    entry = HistoryEntry(1.0, "web", "rolling", 1, "linux", IMAGE.identity, "v1-a", "wanted")
    assert store.history("shop") == [entry, replace(entry, at=2.0, event="good", reason="baked")]


def test_the_history_of_one_group_is_apart(store: Store) -> None:
    store.note_version("shop", A, GOOD, 1.0, "")
    store.note_version("shop", version_of("v1-c", "db"), FAILED, 2.0, "")
    assert events(store) == [("good", "v1-a"), ("failed", "v1-c")]
    assert events(store, "db") == [("failed", "v1-c")]
    assert events(store, "d") == []


def test_the_last_ten_good_versions_are_kept(store: Store) -> None:
    for number in range(15):
        store.note_version("shop", version_of(f"v1-{number}"), GOOD, float(number), "")
    assert fingerprints(store) == [f"v1-{number}" for number in range(5, 15)]


def test_the_last_twenty_versions_that_are_not_good_are_kept(store: Store) -> None:
    for number in range(25):
        state = (ROLLING, FAILED, UNDONE)[number % 3]
        store.note_version("shop", version_of(f"v1-{number}"), state, float(number), "")
    assert fingerprints(store) == [f"v1-{number}" for number in range(5, 25)]


def test_failed_versions_never_push_out_a_good_one(store: Store) -> None:
    store.note_version("shop", A, GOOD, 0.0, "")
    store.note_version("shop", version_of("v1-a", "db"), GOOD, 0.0, "")
    for number in range(40):
        store.note_version("shop", version_of(f"v1-{number}"), ROLLING, 1.0, "")
        store.note_version("shop", version_of(f"v1-{number}"), FAILED, 1.0, "")
    assert fingerprints(store)[0] == "v1-a"
    assert len(fingerprints(store)) == 21
    assert fingerprints(store, "db") == ["v1-a"]


def test_a_forgotten_version_is_tried_anew(store: Store) -> None:
    store.note_version("shop", A, FAILED, 1.0, "crashed")
    for _ in range(2):
        store.forget_version("shop", "web", "v1-a", 2.0, "by ann")
    assert store.versions("shop", "web") == []
    assert store.history("shop")[1:] == [
        HistoryEntry(2.0, "web", "retried", 1, "linux", IMAGE.identity, "v1-a", "by ann")
    ]
    store.note_version("shop", A, FAILED, 3.0, "crashed")
    assert store.versions("shop", "web") == [VersionRecord(A, FAILED, 3.0, "crashed")]


def test_only_the_version_of_that_group_and_cluster_is_forgotten(store: Store) -> None:
    for cluster, group in (("shop", "web"), ("shop", "db"), ("shop-2", "web")):
        store.note_version(cluster, version_of("v1-a", group), FAILED, 1.0, "")
    store.forget_version("shop", "web", "v1-a", 2.0, "")
    assert (fingerprints(store), fingerprints(store, "db")) == ([], ["v1-a"])
    assert len(store.versions("shop-2", "web")) == 1


def test_the_history_keeps_a_thousand_lines_of_each_cluster(store: Store) -> None:
    store.note_version("shop-2", A, GOOD, 0.0, "")
    for number in range(1010):
        store.note_version("shop", A, (ROLLING, FAILED)[number % 2], float(number), "")
    assert [entry.at for entry in store.history("shop")] == [float(number) for number in range(10, 1010)]
    assert len(store.history("shop-2")) == 1


def test_a_pause_lasts_until_it_is_ended(store: Store, clock: VirtualClock) -> None:
    pause = Pause("freeze", 1.0)
    store.pause("shop", "web", pause)
    store.pause("shop-2", "web", Pause("other", 1.0))
    assert store.pauses("shop") == {"web": pause}
    clock.sleep(60)
    store.pause("shop", "web", None)
    assert store.pauses("shop") == {}
    assert store.pauses("shop-2") == {"web": Pause("other", 1.0)}
    assert store.history("shop") == [
        HistoryEntry(1.0, "web", "paused", 0, "", "", "", "freeze"),
        HistoryEntry(clock.now(), "web", "resumed", 0, "", "", ""),
    ]


def test_a_pause_that_is_there_already_changes_nothing(store: Store) -> None:
    store.pause("shop", "web", None)
    store.pause("shop", "web", Pause("freeze", 1.0))
    store.pause("shop", "web", Pause("freeze", 2.0))
    assert store.pauses("shop") == {"web": Pause("freeze", 1.0)}
    assert len(store.history("shop")) == 1


def test_a_pause_for_another_reason_takes_the_place_of_the_first(store: Store) -> None:
    store.pause("shop", "web", Pause("freeze", 1.0))
    store.pause("shop", "web", Pause("incident", 2.0))
    assert store.pauses("shop") == {"web": Pause("incident", 2.0)}
    assert [(entry.event, entry.reason) for entry in store.history("shop")] == [
        ("paused", "freeze"),
        ("paused", "incident"),
    ]


def test_health_is_remembered_until_it_ends(store: Store) -> None:
    one, two = InstanceId("i-1"), InstanceId("i-2")
    for _ in range(2):
        store.note_healthy("shop", {one: 1.5, two: 2.0})
    store.note_healthy("shop-2", {one: 9.0})
    assert store.healthy_since("shop") == {one: 1.5, two: 2.0}
    for _ in range(2):
        store.note_healthy("shop", {one: None, two: 3.0})
    assert store.healthy_since("shop") == {two: 3.0}
    assert store.healthy_since("shop-2") == {one: 9.0}
    store.note_healthy("shop", {})


def test_what_is_returned_is_the_caller_s_own(store: Store) -> None:
    """A view that changes under its reader would make a tick decide on two moments at once."""
    store.note_version("shop", A, GOOD, 1.0, "")
    store.pause("shop", "web", Pause("freeze", 1.0))
    store.note_healthy("shop", {InstanceId("i-1"): 1.0})
    seen = (store.versions("shop", "web"), store.history("shop"), store.pauses("shop"), store.healthy_since("shop"))
    store.note_version("shop", B, GOOD, 1.0, "")
    store.pause("shop", "web", None)
    store.note_healthy("shop", {InstanceId("i-1"): None})
    assert [len(one) for one in seen] == [1, 2, 1, 1]
