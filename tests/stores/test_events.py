"""Every store remembers sources, standings and what happened alike."""

from dataclasses import replace

import pytest

from infrakit_py.model.declared import Occurrence, Refusal
from infrakit_py.spi.store import Store
from tests.stores.material import occurrence_of, origin_of, source_of

KEPT = 10_000


def told(store: Store, after: int = 0, cluster: str | None = None, limit: int = 1000) -> list[Occurrence]:
    return [occurrence for _, occurrence in store.occurrences(after, cluster=cluster, limit=limit)]


def test_a_source_is_remembered_as_it_stood_last(store: Store) -> None:
    first = source_of("git", shop="abc")
    refused = replace(
        first, refusal=Refusal(origin_of("bad"), 2.0, "shop.yml:3:1: no\nshop.yml:4:1: no"), complaint="x"
    )
    for status in (first, first, source_of("files"), refused):
        store.note_source(status)
    assert store.sources() == {"files": source_of("files"), "git": refused}


def test_no_source_is_remembered_at_first(store: Store) -> None:
    assert store.sources() == {}


def test_standings_are_remembered_by_group_until_they_are_dropped(store: Store) -> None:
    store.note_standings("shop", {"web": '{"phase": "rolling"}', "db": "{}"})
    store.note_standings("shop-2", {"web": "other"})
    store.note_standings("shop", {"web": "later", "db": "", "none": ""})
    store.note_standings("shop", {})
    assert store.standings("shop") == {"web": "later"}
    assert store.standings("shop-2") == {"web": "other"}
    assert store.standings("sho") == {}


def test_a_long_standing_comes_back_whole(store: Store) -> None:
    text = "machine \u2713 " * 60_000
    store.note_standings("shop", {"web": text})
    assert store.standings("shop") == {"web": text}


def test_what_happened_comes_back_in_its_order(store: Store) -> None:
    events = [occurrence_of(number) for number in range(5)]
    store.note_occurrences(events[:2])
    store.note_occurrences([])
    store.note_occurrences(events[2:])
    found = store.occurrences()
    assert [occurrence for _, occurrence in found] == events
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0


def test_the_same_may_happen_twice(store: Store) -> None:
    store.note_occurrences([occurrence_of(1)] * 2)
    assert told(store) == [occurrence_of(1)] * 2


def test_who_knows_a_number_is_told_what_came_after(store: Store) -> None:
    store.note_occurrences([occurrence_of(number) for number in range(5)])
    third = store.occurrences()[2][0]
    assert told(store, third) == [occurrence_of(3), occurrence_of(4)]
    assert told(store, store.occurrences()[-1][0]) == []
    assert told(store, 10**9) == []


def test_all_is_read_page_by_page(store: Store) -> None:
    events = [occurrence_of(number) for number in range(25)]
    store.note_occurrences(events)
    after, found = 0, []
    while page := store.occurrences(after, limit=7):
        assert len(page) <= 7
        after = page[-1][0]
        found += [occurrence for _, occurrence in page]
    assert found == events


def test_the_latest_are_told_to_who_knows_no_number(store: Store) -> None:
    store.note_occurrences([occurrence_of(number) for number in range(9)])
    assert told(store, -1, limit=3) == [occurrence_of(number) for number in (6, 7, 8)]
    assert told(store, -1, limit=0) == []


def test_one_cluster_is_told_apart(store: Store) -> None:
    store.note_occurrences([occurrence_of(number, ("shop", "shop-2")[number % 2]) for number in range(8)])
    assert told(store, cluster="shop-2") == [occurrence_of(number, "shop-2") for number in (1, 3, 5, 7)]
    assert told(store, -1, cluster="shop", limit=2) == [occurrence_of(number, "shop") for number in (4, 6)]
    assert told(store, cluster="sho") == []
    assert [number for number, _ in store.occurrences(cluster="shop")] == [
        number for number, occurrence in store.occurrences() if occurrence.cluster == "shop"
    ]


def test_fields_keep_their_types(store: Store) -> None:
    event = replace(occurrence_of(1), fields={"count": 3, "seconds": 0.5, "id": "i-1"}, text="\u2713 \u00fc")
    store.note_occurrences([event])
    ((_, found),) = store.occurrences()
    assert found == event
    assert [type(value) for value in found.fields.values()] == [int, float, str]


@pytest.mark.parametrize("batch", [700], ids=lambda batch: f"{batch} at a time")
def test_the_last_ten_thousand_are_kept_and_numbers_go_on(store: Store, batch: int) -> None:
    for first in range(0, KEPT + 2 * batch, batch):
        store.note_occurrences([occurrence_of(number) for number in range(first, first + batch)])
    last = first + batch - 1
    before = store.occurrences(-1, limit=KEPT * 2)
    assert len(before) == KEPT
    assert before[-1][1] == occurrence_of(last)
    store.note_occurrences([occurrence_of(last + 1)])
    ((number, _),) = store.occurrences(-1, limit=1)
    assert number > before[-1][0]
