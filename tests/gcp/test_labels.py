"""Tags come back from labels, names and metadata exactly as they were given, whatever is in them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.names import name_of
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags

KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
VALUE = re.compile(r"[a-z0-9_-]{0,63}")
OWN = {
    tags.CLUSTER: "shop",
    tags.GROUP: "web",
    tags.CONFIG_HASH: "v1-" + "ab" * 16,
    tags.IMAGE: "0f" * 32,
    tags.REVISION: "7",
    tags.TOKEN: tags.token("shop", "web", "12", 3),
    tags.SLOT: "12",
    tags.INCARNATION: "3",
    tags.LOGICAL_ID: "db-1",
    tags.DRAINING: "1795539600.25",
    tags.USER_TAGS: "Team,cost-centre",
}

written_tags = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=70), st.text(st.characters(codec="utf-8"), max_size=90), max_size=8
)


def read_back(own: dict[str, str]) -> dict[str, str]:
    written = labels.written(own)
    return labels.read(written.labels, more=labels.read_item(labels.item(written.more)))


def test_ours_are_legible_and_need_no_metadata() -> None:
    written = labels.written(OWN)
    assert written.more == {}
    assert written.labels["infrakit-cluster"] == "shop"
    assert written.labels["infrakit-config-hash"] == "v1-" + "ab" * 16
    assert written.labels["infrakit-logical__id"] == "db-1"
    assert labels.read(written.labels) == OWN


@given(written_tags)
def test_any_tags_come_back_exactly(own: dict[str, str]) -> None:
    assert read_back(own) == own


@given(written_tags)
def test_labels_are_what_compute_engine_allows(own: dict[str, str]) -> None:
    for key, value in labels.written(own).labels.items():
        assert KEY.fullmatch(key)
        assert VALUE.fullmatch(value)


@given(st.dictionaries(st.from_regex(KEY, fullmatch=True), st.from_regex(VALUE, fullmatch=True), max_size=8))
def test_whatever_somebody_else_labels_a_machine_it_can_be_read(foreign: dict[str, str]) -> None:
    labels.read(foreign, "some-machine")


@given(written_tags, written_tags)
def test_metadata_of_other_labels_says_nothing(own: dict[str, str], other: dict[str, str]) -> None:
    written, later = labels.written(own), labels.written(other)
    assert labels.read(written.labels, more={**later.more, **written.more}) == own


def test_labels_of_other_people_and_of_google_are_not_lost_nor_taken_for_ours() -> None:
    held = {"team_a": "blue_1", "goog-gke-node": "", "infrakit-gcp-guarded": "yes"}
    assert labels.read(held) == {"team_a": "blue_1"}


def test_a_person_protects_a_machine_by_a_plain_label() -> None:
    assert tags.is_protected(labels.read({"infrakit-protected": "true"}))


def test_more_tags_than_labels_are_refused() -> None:
    with pytest.raises(ProviderError, match="at most 64 labels"):
        labels.written({f"tag{number}": "" for number in range(65)})


def test_metadata_that_somebody_changed_is_not_believed() -> None:
    long = labels.written({"note": "x" * 80})
    forged = labels.item(long.more).replace("xxx", "yyy")
    assert labels.read(long.labels, more=labels.read_item(forged)) == {}
    assert labels.read_item("not JSON") == {}


def test_what_is_shared_by_a_call_is_completed_by_each_machine_s_name() -> None:
    own = {key: value for key, value in OWN.items() if key != tags.LOGICAL_ID}
    shared = labels.written(labels.shared(own)).labels
    assert labels.read(shared, name_of(own)) == own
    copied = labels.read(shared, "web-server-1")
    assert tags.SLOT not in copied
    assert tags.owned_by(copied, "shop")
