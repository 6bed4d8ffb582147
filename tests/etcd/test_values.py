"""What lies in etcd is read back equal, and what cannot be read does no harm to the rest."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.errors import StoreError
from infrakit_py.model.revision import VersionState
from infrakit_py.spi.store import Intent
from infrakit_py.stores.codec import Unreadable
from infrakit_py.stores.etcd import open_etcd
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_keys import HISTORY, IN_FORCE, INTENTS, SOURCES, SPECS, VERSIONS, Keys, numbered
from infrakit_py.stores.etcd_ledger import in_batches
from infrakit_py.stores.etcd_store import EtcdStore
from infrakit_py.stores.etcd_values import packed, unpacked
from infrakit_py.stores.etcd_wire import after, get, put
from tests.etcd.servers import Servers
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of, version_of

texts = st.text(st.characters(codec=None))


@pytest.fixture
def store(etcd: Servers) -> Iterator[EtcdStore]:
    address = etcd.address()
    opened, _ = open_etcd(address, "one")
    with closing(opened):
        yield opened


@given(texts)
def test_texts_come_back(text: str) -> None:
    assert unpacked(packed(text, "a text")) == text


@pytest.mark.parametrize("text", ["", "z", "z" * 5000, "{" * 100_000], ids=["none", "z", "many", "long"])
def test_texts_of_any_length_come_back(text: str) -> None:
    assert unpacked(packed(text, "a text")) == text


def test_long_texts_become_small() -> None:
    assert len(packed('{"group": "web"}' * 50_000, "a text")) < 10_000


@pytest.mark.parametrize("content", [b"z", b"zdamaged", b"\xff"], ids=["cut off", "damaged", "no text"])
def test_what_is_damaged_is_told_so(content: bytes) -> None:
    with pytest.raises(Unreadable):
        unpacked(content)


@given(st.lists(st.binary().map(lambda name: name.decode(errors="surrogateescape")), min_size=1, max_size=4))
def test_names_come_back_from_keys(names: list[str]) -> None:
    """A name that is an argument of a program may be any bytes."""
    key = Keys("/infrakit").key(INTENTS, *names)
    assert list(Keys("/infrakit").names(key)) == names
    assert key.isascii()


@given(st.lists(st.integers(0, 10**15), min_size=2, max_size=2))
def test_the_order_of_numbers_is_that_of_keys(numbers: list[int]) -> None:
    low, high = sorted(numbers)
    assert numbered(low) <= numbered(high)


@given(st.text("abz/-%~", min_size=1), st.text("abz/-%~"))
def test_all_that_begins_so_comes_before_what_is_after_it(prefix: str, rest: str) -> None:
    assert prefix <= prefix + rest < after(prefix)


@given(st.lists(st.integers(0, 400_000), max_size=300))
def test_batches_are_no_larger_than_what_etcd_takes(sizes: list[int]) -> None:
    ops = [put(str(number), b"x" * size) for number, size in enumerate(sizes)]
    batches = list(in_batches(ops))
    assert [op for batch in batches for op in batch] == ops
    for batch in batches:
        assert 0 < len(batch) <= 100
        assert sum(len(op["request_put"]["value"]) for op in batch) * 3 // 4 <= 1_000_000


def test_what_a_newer_release_wrote_is_left_out_and_counted(etcd: Servers) -> None:
    address = etcd.address()
    keys = Keys(address.prefix)
    store, _ = open_etcd(address, "one")
    calls = EtcdCalls(address, timeout_seconds=2.0)
    with closing(store), closing(calls):
        for cluster in ("shop", "desk"):
            store.declare(spec_of(cluster), origin_of(), 1.0)
        store.declare(spec_of("shop", size=9), origin_of(), 2.0)
        store.note_version("shop", version_of("v1"), VersionState.GOOD, 1.0, "")
        store.note_version("shop", version_of("v2"), VersionState.FAILED, 2.0, "")
        store.note_source(source_of("git"))
        newer = b'{"format":99,"value":{}}'
        calls.commit((), [put(keys.key(SPECS, "shop", numbered(2)), newer)])
        calls.commit((), [put(keys.key(SOURCES, "other"), newer), put(keys.key(HISTORY, "shop", numbered(1)), newer)])
        calls.commit((), [put(keys.key(IN_FORCE, "mill"), newer)])
        assert set(store.declared()) == {"desk"}
        assert set(store.sources()) == {"git"}
        assert [entry.event for entry in store.history("shop")] == ["failed"]
        dumped = store.dump("shop")
        assert dumped.in_force is None
        assert dumped.left_out == 2
        # What became of a version is known although what it is made of cannot be read.
        row = calls.look(get(keys.key(VERSIONS, "shop", "web", "v1"))).found[0][0]
        damaged = row.value.replace(rb"\"format\":1", rb"\"format\":99")
        assert damaged != row.value
        calls.commit((), [put(row.key, damaged)])
        assert [record.version.fingerprint for record in store.versions("shop", "web")] == ["v2"]
        store.forget_version("shop", "web", "v1", 3.0, "again")
        assert store.history("shop")[-1].event == "retried"


def test_an_intent_that_cannot_be_read_is_an_error_that_names_it(etcd: Servers) -> None:
    address = etcd.address()
    store, _ = open_etcd(address, "one")
    calls = EtcdCalls(address, timeout_seconds=2.0)
    with closing(store), closing(calls):
        store.record([Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)])
        calls.commit((), [put(Keys(address.prefix).key(INTENTS, "shop", "web", "local", "1"), b"{}")])
        with pytest.raises(StoreError, match="intents/shop/web/local/1") as caught:
            store.intents("shop")
        assert caught.value.hint


def test_what_happened_is_read_page_by_page_from_both_ends(store: EtcdStore) -> None:
    store.note_occurrences([occurrence_of(number) for number in range(1200)])
    assert [number for number, _ in store.occurrences(-1, limit=1100)] == list(range(101, 1201))
    assert [number for number, _ in store.occurrences(600, limit=10_000)] == list(range(601, 1201))
