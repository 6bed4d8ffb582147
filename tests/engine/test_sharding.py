"""Rendezvous hashing: all agree, the work is spread, and only what must move moves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.engine.sharding import owner_of

NAMES = st.sets(st.text("abcdefgh-0123456789", min_size=1, max_size=12), min_size=1, max_size=8)


@given(members=NAMES, cluster=st.text(max_size=20), data=st.data())
def test_the_order_in_which_members_are_named_says_nothing(
    members: set[str], cluster: str, data: st.DataObject
) -> None:
    in_some_order = data.draw(st.permutations(sorted(members)))
    assert owner_of(cluster, in_some_order) == owner_of(cluster, sorted(members))


@given(members=NAMES, clusters=st.lists(st.text(max_size=8), unique=True, max_size=30), data=st.data())
def test_only_the_clusters_of_one_that_goes_move(members: set[str], clusters: list[str], data: st.DataObject) -> None:
    goes = data.draw(st.sampled_from(sorted(members)))
    for cluster in clusters:
        before = owner_of(cluster, members)
        if before != goes:
            assert owner_of(cluster, members - {goes}) == before


def test_clusters_are_spread_evenly() -> None:
    owned = Counter(owner_of(f"cluster-{number}", ["one", "two", "three"]) for number in range(3000))
    assert all(850 < count < 1150 for count in owned.values()), owned


def test_nobody_owns_anything_where_nobody_lives() -> None:
    assert owner_of("shop", []) is None
