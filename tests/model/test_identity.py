"""Fingerprints, tokens and tags: what must never change by itself is written down here."""

from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.model import tags
from infrakit_py.model.fingerprint import fingerprint

IMAGE = "ab" * 32
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


def test_a_fingerprint_is_the_same_in_every_release() -> None:
    """A change here replaces every fleet: it takes a new version of the recipe, and a way from the old one."""
    made = fingerprint(image_identity=IMAGE, machine={"memory": "192MiB", "vcpus": 1}, flavor={"user_data": "x"})
    assert made == "v1-f9068c7e325a0a1ca75e43413eced36ab4692c56"


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    one = fingerprint(image_identity=IMAGE, machine={"a": 1, "b": 2}, flavor={})
    other = fingerprint(image_identity=IMAGE, machine={"b": 2, "a": 1}, flavor={})
    assert one == other


def test_each_part_changes_a_fingerprint() -> None:
    base = fingerprint(image_identity=IMAGE, machine={"a": 1}, flavor={"t": 1})
    assert base != fingerprint(image_identity="cd" * 32, machine={"a": 1}, flavor={"t": 1})
    assert base != fingerprint(image_identity=IMAGE, machine={"a": 2}, flavor={"t": 1})
    assert base != fingerprint(image_identity=IMAGE, machine={"a": 1}, flavor={"t": 2})
    assert base != fingerprint(image_identity=IMAGE, machine={"a": 1, "b": None}, flavor={"t": 1})


def test_a_token_is_the_same_in_every_release() -> None:
    """A change here would launch a second machine for each creation that is under way during an upgrade."""
    assert tags.token("shop", "web", "0", 0) == "838c3b2d-bdd5-56ce-abc4-74af49af0da1"


@given(st.lists(st.tuples(names, names, names, st.integers(0, 3)), unique=True, max_size=20))
def test_tokens_differ_for_different_intents(intents: list[tuple[str, str, str, int]]) -> None:
    assert len({tags.token(*intent) for intent in intents}) == len(intents)


def test_trap_12_a_missing_tag_never_matches() -> None:
    assert not tags.owned_by({}, "shop")
    assert not tags.owned_by({tags.CLUSTER: "shop"}, "shop")
    assert not tags.owned_by({tags.CLUSTER: "shop", tags.GROUP: ""}, "shop")
    assert not tags.owned_by({tags.GROUP: "web"}, "")
    assert tags.owned_by({tags.CLUSTER: "shop", tags.GROUP: "web"}, "shop")


tag_sets = st.dictionaries(names, st.text(max_size=5), max_size=4)


@given(before=tag_sets, after=tag_sets, foreign=tag_sets)
def test_changing_user_tags_leads_to_the_wanted_ones_and_spares_others(
    before: dict[str, str], after: dict[str, str], foreign: dict[str, str]
) -> None:
    own = {tags.CLUSTER: "shop", tags.GROUP: "web"}
    strange = {f"x:{key}": value for key, value in foreign.items()}
    actual = {**tags.with_user_tags(own, before), **strange}
    set_, remove = tags.user_tag_changes(actual, after)
    changed = {key: value for key, value in {**actual, **set_}.items() if key not in remove}
    assert changed == {**tags.with_user_tags(own, after), **strange}
    assert tags.user_tag_changes(changed, after) == ({}, ())
