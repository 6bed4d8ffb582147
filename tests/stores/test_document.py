"""What is exported is read back as it was, by any store, or every mistake in it is told with its place."""

import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ClusterLocked, SpecError, StoreError, UsageError
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.stores.document import Document, happened, of_clusters, read, written
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.moving import take_in
from infrakit_py.stores.transfer import Transfer
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of, specs
from tests.stores.test_transfer import fill, seen

FILE: Final = "backup.json"
SHOP: Final = f"{FILE}: clusters.shop"


def text_of(store: Transfer, *, events: bool = False) -> str:
    dumped = ((cluster, store.dump(cluster)) for cluster in store.clusters())
    return "".join(written(dumped, store.sources(), happened(store, None) if events else None))


def unheard(cluster: str) -> None:
    """Pass over that a cluster is done."""


def full() -> MemoryStore:
    store = MemoryStore(VirtualClock())
    fill(store)
    store.declare(spec_of("shop-2"), origin_of(), 1.0)
    return store


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(text, FILE)
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert "hunter2" not in told, "any value may be a secret"
    return [str(problem) for problem in caught.value.problems]


def changed(change: Callable[[Any], object]) -> str:
    stored = json.loads(text_of(full(), events=True))
    change(stored)
    return json.dumps(stored)


def test_what_is_exported_is_the_same_in_another_store(store: Transfer) -> None:
    origin = full()
    take_in(store, read(text_of(origin, events=True), FILE), unheard, replacing=False)
    assert store.clusters() == ["shop", "shop-2"]
    for cluster in store.clusters():
        assert seen(store, cluster) == seen(origin, cluster)
    assert store.sources() == origin.sources()
    assert [event for _, event in store.occurrences()] == [event for _, event in origin.occurrences()]


def test_what_every_store_exports_is_read_back(store: Transfer) -> None:
    fill(store)
    back = MemoryStore()
    take_in(back, read(text_of(store), FILE), unheard, replacing=False)
    assert seen(back) == seen(store)
    assert back.occurrences() == []


def test_a_document_of_nothing_is_nothing() -> None:
    assert read(text_of(MemoryStore(), events=True), FILE) == Document()


def test_a_cluster_is_a_line_and_all_of_it_is_ascii() -> None:
    text = text_of(full(), events=True)
    assert text.isascii()
    assert [line.partition(":")[0] for line in text.splitlines() if line.startswith('"shop')] == [
        '"shop"',
        '"shop-2"',
    ]


@given(spec=specs)
def test_every_spec_can_be_taken_elsewhere(spec: ClusterSpec) -> None:
    """As far as its parts belong to one another, which the loader sees to."""
    groups = {name: replace(group, name=name, provider="p", image="i") for name, group in spec.groups.items()}
    provider, image = next(iter(spec_of().providers.values())), next(iter(spec_of().images.values()))
    whole = replace(
        spec,
        name="shop",
        groups=groups,
        providers={**spec.providers, "p": provider},
        images={**spec.images, "i": image},
    )
    store = MemoryStore()
    store.declare(whole, origin_of(), 1.0)
    assert read(text_of(store), FILE).clusters["shop"].revisions[0].spec == whole


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", f"{FILE}:1:1: no JSON"),
        ('{"kind": "hunter2",\n"format": }', f"{FILE}:2:11: no JSON"),
        (text_of(full())[:-20], f"{FILE}:6:"),
        ("[" * 100_000, f"{FILE}: no JSON"),
        ("9" * 5000, f"{FILE}: no JSON"),
        ("[]", f"{FILE}: nothing that `infra store export` wrote"),
        ('{"kind": "hunter2"}', f"{FILE}: nothing that `infra store export` wrote"),
        (changed(lambda d: d.update(format=2)), f"{FILE}: its format is not 1: another release"),
        (changed(lambda d: d.pop("clusters")), f"{FILE}: clusters: no object of names"),
        (changed(lambda d: d.update(sources=["hunter2"])), f"{FILE}: sources: no object of names"),
        (changed(lambda d: d["clusters"].update(shop="hunter2")), f"{SHOP}: str instead of"),
        (changed(lambda d: d["clusters"]["shop"]["intents"][1].update(since="hunter2")),
         f"{SHOP}.intents[1].since: str instead of float"),
        (changed(lambda d: d["clusters"]["shop"]["revisions"][1]["spec"]["groups"]["web"].update(size="hunter2")),
         f"{SHOP}.revisions[1].spec.groups.web.size: str instead of"),
        (changed(lambda d: d["sources"]["git"].update(kind="hunter2")), f"{FILE}: sources.git.kind: "),
        (changed(lambda d: d["events"][0].update(at="hunter2")), f"{FILE}: events[0].at: str instead of"),
        (changed(lambda d: d["events"][0].update(at=float("nan"))), f"{FILE}: events: NOT NULL"),
        (changed(lambda d: d["sources"]["git"].update(name="hunter2")), f"{FILE}: sources.git: the source has"),
        (changed(lambda d: d["clusters"].update({"a b.c": 1})), f'{FILE}: clusters."a b.c": int instead of'),
        (changed(lambda d: d["clusters"].update({"../a": d["clusters"].pop("shop")})), f'{FILE}: clusters."../a": '),
        (changed(lambda d: d["clusters"]["shop"]["revisions"].reverse()), f"{SHOP}: revisions: "),
        (changed(lambda d: d["clusters"]["shop"]["in_force"].update(revision=9)), f"{SHOP}: in_force: "),
        (changed(lambda d: d["clusters"]["shop"]["intents"][0].update(since=float("nan"))), f"{SHOP}: "),
        (changed(lambda d: d["clusters"]["shop"]["intents"][0].update(incarnation=2**70)), f"{SHOP}: "),
        (changed(lambda d: d["clusters"]["shop"]["pauses"]["web"].update(reason="\udce9")), f"{SHOP}: "),
    ],
    ids=[
        "empty", "broken", "cut off", "deep", "long number", "array", "another kind", "newer", "no clusters",
        "no sources", "no cluster", "intent", "deep in a spec", "source", "event", "event's time",
        "source's name", "name", "path", "order",
        "in force", "not a number", "too large", "no UTF-8",
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(told)


def test_all_mistakes_are_told_at_once() -> None:
    def spoil(stored: Any) -> None:
        stored["clusters"]["shop"]["pauses"]["web"]["at"] = "hunter2"
        stored["clusters"]["shop-2"]["history"] = {}
        stored["sources"]["git"]["at"] = None

    assert len(problems(changed(spoil))) == 3


def test_a_field_of_a_newer_release_is_passed_over() -> None:
    text = changed(lambda d: (d.update(more=1), d["clusters"]["shop"].update(more=1)))
    assert read(text, FILE) == read(text_of(full(), events=True), FILE)


def test_what_is_there_already_is_refused_and_nothing_is_touched(store: Transfer) -> None:
    store.pause("shop-2", "web", None)
    store.revision("shop-2", "mine", 1.0)
    with pytest.raises(UsageError, match="cluster shop-2 is in the store already") as caught:
        take_in(store, read(text_of(full()), FILE), unheard, replacing=False)
    assert "--replace" in (caught.value.hint or "")
    assert store.clusters() == ["shop-2"]
    assert store.sources() == {}


def test_what_is_there_already_is_replaced_on_request(store: Transfer) -> None:
    store.revision("shop-2", "mine", 1.0)
    done: list[str] = []
    take_in(store, read(text_of(full()), FILE), done.append, replacing=True)
    assert done == ["shop", "shop-2"]
    assert seen(store, "shop-2") == seen(full(), "shop-2")


def test_a_cluster_that_somebody_holds_is_refused_and_nothing_is_touched(store: Transfer) -> None:
    with store.exclusive("shop-2"), pytest.raises(ClusterLocked):
        take_in(store, read(text_of(full()), FILE), unheard, replacing=True)
    assert store.clusters() == []


def test_who_fails_in_the_middle_says_what_was_done(store: Transfer) -> None:
    def hold(cluster: str) -> None:
        held.__enter__()

    held = store.exclusive("shop-2")
    try:
        with pytest.raises(StoreError, match=r"imported before that: shop$"):
            take_in(store, read(text_of(full()), FILE), hold, replacing=False)
    finally:
        held.__exit__(None, None, None)
    assert store.clusters() == ["shop"]


def test_events_are_not_remembered_twice(store: Transfer) -> None:
    document = read(text_of(full(), events=True), FILE)
    store.note_occurrences([occurrence_of(9)])
    for _ in range(2):
        take_in(store, document, unheard, replacing=True)
    assert [event for _, event in store.occurrences()] == [occurrence_of(9), occurrence_of(1)]


def test_a_source_that_goes_on_keeps_its_place_and_learns_what_it_had_declared(store: Transfer) -> None:
    """Else a cluster that was put back would not be brought to what its source has declared since."""
    store.note_source(replace(source_of(shop="newer", other="own"), in_force="decade"))
    take_in(store, read(text_of(full()), FILE), unheard, replacing=True)
    assert store.sources() == {"git": replace(source_of(shop="ab", other="own"), in_force="decade")}


def test_sources_of_some_clusters_tell_of_those_alone() -> None:
    sources = {"git": source_of("git", a="1", b="2"), "files": source_of("files", c="3")}
    assert of_clusters(sources, ["a"]) == {"git": source_of("git", a="1")}


@given(count=st.sampled_from([0, 1, 999, 1000, 1001, 2500]))
def test_all_that_happened_is_found(count: int) -> None:
    store = MemoryStore()
    events = [occurrence_of(number, ("shop", "shop-2")[number % 2]) for number in range(count)]
    store.note_occurrences(events)
    assert list(happened(store, None)) == events
    assert list(happened(store, ["shop"])) == events[::2]
