"""Every store puts specs in force alike: one sequence of numbers for what is declared and what is applied."""

from dataclasses import replace

import pytest

from infrakit_py.errors import Conflict
from infrakit_py.model.declared import Declared, RevisionRecord, SourceKind
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Store
from tests.stores.material import origin_of, spec_of

A, B, C = (spec_of(size=size) for size in (1, 2, 3))
GIT = origin_of()
LATER = origin_of("decade")
PERSON = origin_of("", SourceKind.API, "anna")


def numbers(store: Store, cluster: str = "shop") -> list[int]:
    return [record.number for record in store.revisions(cluster)]


def test_what_is_declared_comes_back_with_its_origin(store: Store) -> None:
    assert store.declare(A, GIT, 1.0) == 1
    assert store.declared() == {"shop": Declared(A, 1, GIT, 1.0)}
    assert store.revisions("shop") == [RevisionRecord(1, spec_digest(A), 1.0, GIT)]


def test_nothing_is_declared_where_nobody_did(store: Store) -> None:
    store.revision("shop", spec_digest(A), 1.0)
    assert store.declared() == {}
    assert (store.revisions("sho"), numbers(store)) == ([], [1])


def test_another_spec_is_the_next_number_and_the_same_is_the_same(store: Store) -> None:
    assert [store.declare(spec, GIT, 1.0) for spec in (A, A, B, B, A)] == [1, 1, 2, 2, 3]
    assert numbers(store) == [1, 2, 3]
    assert store.declared()["shop"].spec == A


def test_clusters_are_numbered_apart(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    store.declare(B, GIT, 1.0)
    assert store.declare(spec_of("shop-2"), PERSON, 2.0) == 1
    assert {name: declared.revision for name, declared in store.declared().items()} == {"shop": 2, "shop-2": 1}


def test_a_repetition_keeps_since_when_it_is_so(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    store.declare(A, GIT, 2.0)
    assert store.declared()["shop"] == Declared(A, 1, GIT, 1.0)


def test_the_last_origin_counts_and_the_number_keeps_its_first(store: Store) -> None:
    """A commit that changes nothing of a cluster is what is in force of it all the same."""
    store.declare(A, GIT, 1.0)
    store.declare(A, LATER, 2.0)
    assert store.declared()["shop"] == Declared(A, 1, LATER, 1.0)
    assert [record.origin for record in store.revisions("shop")] == [GIT]


def test_the_same_spec_from_another_place_is_the_same_number_with_the_last_place(store: Store) -> None:
    """Where files lie is no part of what is declared, and yet it is where they are found."""
    moved = replace(A, source="/checkouts/decade/shop.yml")
    store.declare(A, GIT, 1.0)
    assert store.declare(moved, LATER, 2.0) == 1
    assert store.declared()["shop"].spec.source == moved.source


def test_an_applied_spec_has_the_number_of_the_declared_one(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    assert store.revision("shop", spec_digest(A), 2.0) == 1
    assert numbers(store) == [1]


def test_a_declared_spec_has_the_number_that_it_was_applied_with(store: Store) -> None:
    assert store.revision("shop", spec_digest(A), 1.0) == 1
    assert store.declare(A, GIT, 2.0) == 1
    assert store.revisions("shop") == [RevisionRecord(1, spec_digest(A), 1.0, GIT)]


def test_applying_another_spec_leaves_what_is_declared(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    assert store.revision("shop", spec_digest(B), 2.0) == 2
    assert store.declared() == {"shop": Declared(A, 1, GIT, 1.0)}
    assert store.revisions("shop")[-1] == RevisionRecord(2, spec_digest(B), 2.0)
    assert store.revision("shop", spec_digest(A), 3.0) == 1
    assert store.declare(A, GIT, 4.0) == 1
    assert store.declare(C, GIT, 5.0) == 3


@pytest.mark.parametrize("expected", [1, None], ids=["that in force", "any"])
def test_what_was_looked_at_may_be_changed(store: Store, expected: int | None) -> None:
    store.declare(A, GIT, 1.0)
    assert store.declare(B, PERSON, 2.0, expected=expected) == 2


def test_the_first_one_expects_none(store: Store) -> None:
    assert store.declare(A, GIT, 1.0, expected=0) == 1


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_what_was_changed_meanwhile_is_a_conflict_and_stays(store: Store, expected: int) -> None:
    store.declare(A, GIT, 1.0)
    store.revision("shop", spec_digest(B), 1.0)  # applied: that is not in force
    mark = store.declared_mark()
    for spec in (A, C):
        with pytest.raises(Conflict, match="revision 1 is in force") as caught:
            store.declare(spec, PERSON, 2.0, expected=expected)
        assert caught.value.hint
    assert store.declared() == {"shop": Declared(A, 1, GIT, 1.0)}
    assert (numbers(store), store.declared_mark()) == ([1, 2], mark)


def test_a_conflict_where_nothing_is_in_force_says_so(store: Store) -> None:
    with pytest.raises(Conflict, match="no revision is in force"):
        store.declare(A, GIT, 1.0, expected=1)
    assert (store.declared(), numbers(store)) == ({}, [])


def test_a_withdrawn_cluster_is_remembered_with_what_shall_become_of_it(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    for at in (2.0, 3.0):
        store.withdraw("shop", LATER, at, prune=False)
        assert store.declared() == {"shop": Declared(A, 1, LATER, 2.0, withdrawn=True)}
    store.withdraw("shop", PERSON, 4.0, prune=True)
    assert store.declared() == {"shop": Declared(A, 1, PERSON, 4.0, withdrawn=True, prune=True)}


def test_what_nobody_declared_is_not_withdrawn(store: Store) -> None:
    store.withdraw("shop", GIT, 1.0, prune=True)
    store.revision("shop", spec_digest(A), 1.0)
    store.withdraw("shop", GIT, 1.0, prune=True)
    assert store.declared() == {}


@pytest.mark.parametrize(("again", "number"), [(A, 1), (B, 2)], ids=["the same", "another"])
def test_a_withdrawn_cluster_can_be_declared_again(store: Store, again: ClusterSpec, number: int) -> None:
    store.declare(A, GIT, 1.0)
    store.withdraw("shop", GIT, 2.0, prune=True)
    with pytest.raises(Conflict):  # whoever looked before it was withdrawn must look again
        store.declare(again, PERSON, 3.0, expected=1)
    assert store.declare(again, PERSON, 3.0, expected=0) == number
    assert store.declared() == {"shop": Declared(again, number, PERSON, 3.0)}


def test_a_withdrawn_cluster_is_retired_and_its_numbers_go_on(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    store.withdraw("shop", GIT, 2.0, prune=True)
    for _ in range(2):
        store.retire("shop", 1)
        assert store.declared() == {}
    assert numbers(store) == [1]
    assert store.declare(B, GIT, 3.0, expected=0) == 2


def test_only_what_was_withdrawn_at_that_number_is_retired(store: Store) -> None:
    """Who destroys machines may come late: the cluster was declared again by then."""
    store.retire("shop", 1)
    store.declare(A, GIT, 1.0)
    store.retire("shop", 1)
    store.declare(B, GIT, 1.0)
    store.withdraw("shop", GIT, 2.0, prune=True)
    store.retire("shop", 1)
    assert store.declared()["shop"].revision == 2


def test_the_mark_grows_with_each_change_and_with_nothing_else(store: Store) -> None:
    marks = [store.declared_mark()]

    def grew() -> bool:
        marks.append(store.declared_mark())
        assert marks[-1] >= marks[-2]
        return marks[-1] > marks[-2]

    store.declare(A, GIT, 1.0)
    assert grew()
    store.declare(A, GIT, 2.0)
    store.revision("shop", spec_digest(B), 2.0)
    store.retire("shop", 1)
    store.withdraw("other", GIT, 2.0, prune=True)
    assert not grew()
    store.declare(A, LATER, 2.0)
    assert grew()
    store.withdraw("shop", GIT, 3.0, prune=False)
    assert grew()
    store.withdraw("shop", GIT, 4.0, prune=False)
    assert not grew()
    store.retire("shop", 1)
    assert grew()
    store.retire("shop", 1)
    assert not grew()


def test_the_last_thousand_numbers_are_kept_and_the_one_in_force(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    for number in range(2, 1100):
        assert store.revision("shop", f"digest {number}", 1.0) == number
    assert numbers(store) == [1, *range(100, 1100)]
    assert store.declared()["shop"].spec == A
    assert store.declare(B, GIT, 2.0) == 1100
    assert numbers(store) == [*range(101, 1101)]


def test_what_is_returned_is_the_caller_s_own(store: Store) -> None:
    store.declare(A, GIT, 1.0)
    declared, revisions = store.declared(), store.revisions("shop")
    store.declare(B, GIT, 1.0)
    assert (declared["shop"].revision, len(revisions)) == (1, 1)
