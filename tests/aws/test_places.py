"""Which machine of a call is which can always be read off its tags, within EC2's limits for tags."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.aws import places
from infrakit_providers.aws.places import Place
from infrakit_py.model import tags

CALLS = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 40)), unique_by=lambda one: one[0], min_size=1, max_size=300
).map(lambda pairs: [Place(*pair) for pair in sorted(pairs)])


@given(CALLS)
def test_what_is_written_is_read(call: list[Place]) -> None:
    assert list(places.read(places.written(call))) == call


@given(CALLS)
def test_each_machine_finds_its_own_place(call: list[Place]) -> None:
    own = {
        tags.CLUSTER: "shop",
        tags.GROUP: "web",
        tags.SLOT: "9",
        tags.INCARNATION: "9",
        tags.TOKEN: "9",
        "team": "x",
    }
    held = places.shared(own, call)
    for index, place in enumerate(call):
        seen = places.own_tags(held, index)
        assert (seen[tags.SLOT], seen[tags.INCARNATION]) == (str(place.slot), str(place.incarnation))
        assert seen[tags.TOKEN] == tags.token("shop", "web", str(place.slot), place.incarnation)
        assert seen.keys() == own.keys()


@given(CALLS)
def test_no_tag_is_too_long(call: list[Place]) -> None:
    held = places.spread(places.PLACES, places.written(call).split())
    assert all(len(value) <= places.VALUE_LIMIT for value in held.values())
    assert places.fit(call) == (len(held) <= places.KEYS)


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        (range(1000), "0-999.0"),
        (range(1, 1000, 3), "1-997/3.0"),
        ([4], "4.0"),
        ([4, 9], "4-9/5.0"),
        ([0, 1, 2, 5, 6, 7], "0-2.0 5-7.0"),
    ],
    ids=["neighbours", "every third", "one", "two", "with a gap"],
)
def test_a_call_for_many_is_short(slots: Sequence[int], text: str) -> None:
    assert places.written([Place(slot, 0) for slot in slots]) == text


def test_a_machine_without_a_place_of_its_own_is_left_without_a_slot() -> None:
    held = places.shared({tags.CLUSTER: "shop", tags.GROUP: "web"}, [Place(0, 0), Place(1, 0)])
    assert tags.SLOT not in places.own_tags(held, 2)
    assert tags.SLOT not in places.own_tags({**held, places.PLACES: "nonsense"}, 0)
