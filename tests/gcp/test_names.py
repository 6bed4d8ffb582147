"""Names of machines: one for each place, readable, and short enough."""

import re

from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.gcp.names import address_of, kept_name, name_of, place_in
from infrakit_py.model import tags

RFC_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
words = st.text("abcXYZ019-_.", min_size=1, max_size=40)
numbers = st.integers(min_value=0, max_value=10**6)


def own(cluster: str, group: str, slot: str, incarnation: int, logical_id: str | None = None) -> dict[str, str]:
    held = {
        tags.CLUSTER: cluster,
        tags.GROUP: group,
        tags.SLOT: slot,
        tags.INCARNATION: str(incarnation),
    }
    return held if logical_id is None else held | {tags.LOGICAL_ID: logical_id}


@given(words, words, numbers, numbers)
def test_a_name_is_valid_and_says_whose_place_it_is(cluster: str, group: str, slot: int, incarnation: int) -> None:
    name = name_of(own(cluster, group, str(slot), incarnation))
    assert RFC_1035.fullmatch(name)
    assert place_in(name, cluster, group) == (str(slot), incarnation)


@given(words, words, words, numbers)
def test_a_named_member_s_name_is_valid_and_no_number(
    cluster: str, group: str, member: str, incarnation: int
) -> None:
    name = name_of(own(cluster, group, member, incarnation, member))
    assert RFC_1035.fullmatch(name)
    assert place_in(name, cluster, group) is None
    assert RFC_1035.fullmatch(kept_name(cluster, group, member, "disk-data"))


@given(st.lists(st.tuples(words, words, numbers, numbers), min_size=2, max_size=5, unique=True))
def test_no_two_places_have_one_name(places: list[tuple[str, str, int, int]]) -> None:
    names = {name_of(own(cluster, group, str(slot), inc)) for cluster, group, slot, inc in places}
    assert len(names) == len(places)


def test_names_stay_what_they_are_for_ever() -> None:
    """A machine whose name is not the one that its labels give it is nobody's: releases must agree on names."""
    assert name_of(own("shop", "web", "12", 3)) == "shop-web-r3nkrd-12-3"
    assert name_of(own("shop", "db", "db-1", 0, "db-1")) == "shop-db-db-1-nkyxnu-0"
    assert name_of(own("Long_" + 60 * "x", "web", "7", 10)) == f"long-{46 * 'x'}-ryh3ox-7-10"
    assert kept_name("shop", "db", "db-1", "disk-data") == "shop-db-db-1-disk-data-6gykm4"


def test_clusters_and_groups_whose_names_run_into_one_another_are_told_apart() -> None:
    assert name_of(own("a-b", "c", "0", 0)) != name_of(own("a", "b-c", "0", 0))
    assert place_in(name_of(own("a-b", "c", "0", 0)), "a", "b-c") is None


def test_an_id_is_read_back_and_what_is_none_is_not() -> None:
    address = address_of("europe-west1-b/web-1")
    assert address is not None
    assert (address.zone, address.name, address.id) == ("europe-west1-b", "web-1", "europe-west1-b/web-1")
    assert [address_of(text) for text in ("i-0123", "", "a/b/c", "/a", "a/")] == [None] * 5
