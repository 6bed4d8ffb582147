"""Writes to etcd: by who may, once, and all or nothing, whatever becomes of the answers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from random import Random

import pytest

from infrakit_py.clock import SystemClock, VirtualClock
from infrakit_py.errors import ClusterLocked, Fenced, StoreError
from infrakit_py.model.declared import SourceKind
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import VersionState
from infrakit_py.spi.claims import SOURCE_READER
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_store import EtcdStore
from tests.etcd.servers import Servers, until
from tests.fakes.proxy import Delay, DropReply, DropRequest, FaultProxy, Tap
from tests.stores.material import occurrence_of, origin_of, spec_of, version_of

INTENT = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)
WRITE = "(?s)kv/txn.*request_put"
PATIENCE_SECONDS = 0.4
"""Of a client; what is to come too late for it takes longer."""


@dataclass
class Controller:
    store: EtcdStore
    claims: EtcdClaims
    calls: EtcdCalls


@dataclass
class Scene:
    servers: Servers
    prefix: str
    stack: ExitStack

    def controller(self, name: str, *urls: str, ttl_seconds: int = 60) -> Controller:
        calls = EtcdCalls(self.servers.address(*urls), timeout_seconds=PATIENCE_SECONDS)
        self.stack.callback(calls.close)
        keys = Keys(self.prefix)
        claims = EtcdClaims(calls, keys, name, ttl_seconds)
        claims.beat()
        return Controller(EtcdStore(calls, claims, keys, SystemClock()), claims, calls)

    def line(self) -> FaultProxy:
        return self.stack.enter_context(FaultProxy(self.servers.urls[0]))


@pytest.fixture
def scene(etcd: Servers) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(etcd, etcd.address().prefix, stack)


def _owner_s_writes(store: EtcdStore) -> list[object]:
    """Try all that only an owner writes; return what each of them raised."""
    outcomes: list[object] = []
    writes: Sequence[Callable[[], None]] = (
        lambda: store.record([INTENT]),
        lambda: store.forget([INTENT]),
        lambda: store.note_healthy("shop", {InstanceId("i-1"): 1.0}),
        lambda: store.note_standings("shop", {"web": "{}"}),
        lambda: store.note_version("shop", version_of("v1"), VersionState.GOOD, 1.0, ""),
        lambda: store.retire("shop", 1),
    )
    for write in writes:
        try:
            write()
        except Fenced as exc:
            outcomes.append(exc)
        else:
            outcomes.append(None)
    return outcomes


def _prepared(store: EtcdStore) -> None:
    """Leave something behind that each of an owner's writes would change."""
    store.record([INTENT])
    store.declare(spec_of(), origin_of(), 1.0)
    store.withdraw("shop", origin_of(), 1.0, prune=True)


def test_an_owner_writes(scene: Scene) -> None:
    one = scene.controller("one")
    one.claims.claim("shop")
    _prepared(one.store)
    assert _owner_s_writes(one.store) == [None] * 6
    assert one.store.declared() == {}


def test_while_somebody_owns_it_nobody_else_writes_what_an_owner_does(scene: Scene) -> None:
    one, two = scene.controller("one"), scene.controller("two")
    _prepared(one.store)
    one.claims.claim("shop")
    before = one.store.dump("shop")
    assert all(isinstance(each, Fenced) for each in _owner_s_writes(two.store))
    assert two.store.dump("shop") == before
    with pytest.raises(Fenced, match="owned by one"):
        two.store.restore("shop", before)


def test_a_person_s_word_counts_from_anywhere(scene: Scene) -> None:
    one, two = scene.controller("one"), scene.controller("two")
    one.claims.claim("shop")
    one.store.note_version("shop", version_of("v1"), VersionState.FAILED, 1.0, "")
    two.store.pause("shop", "web", Pause("lunch", 1.0))
    two.store.note_version("shop", version_of("v2"), VersionState.UNDONE, 2.0, "")
    two.store.forget_version("shop", "web", "v1", 3.0, "again")
    two.store.declare(spec_of(), origin_of("", SourceKind.API), 1.0)
    two.store.note_occurrences([occurrence_of(1)])
    one.store.record([INTENT])
    assert one.store.pauses("shop") == {"web": Pause("lunch", 1.0)}
    assert [entry.event for entry in one.store.history("shop")] == ["failed", "paused", "undone", "retried"]


@pytest.mark.parametrize("noticed", [False, True], ids=["by a write", "by the renewal"])
def test_who_lost_a_cluster_writes_nothing_although_nobody_else_has_it(scene: Scene, noticed: bool) -> None:
    one, other = scene.controller("one", ttl_seconds=1), scene.controller("other")
    _prepared(one.store)
    one.claims.claim("shop")
    before = one.store.dump("shop")
    until(lambda: other.claims.owners() == {}, "the lease ran out")
    if noticed:
        assert not one.claims.beat()
    assert all(isinstance(each, Fenced) for each in _owner_s_writes(one.store))
    one.claims.beat()
    assert all(isinstance(each, Fenced) for each in _owner_s_writes(one.store))
    with pytest.raises(Fenced):
        one.store.pause("shop", "web", Pause("", 1.0))
    assert other.store.dump("shop") == before
    one.claims.release("shop")  # it has taken notice
    one.store.pause("shop", "web", Pause("", 1.0))


def test_who_lost_the_sources_declares_nothing_more_that_it_has_read(scene: Scene) -> None:
    one, two = scene.controller("one", ttl_seconds=1), scene.controller("two")
    one.claims.claim(SOURCE_READER)
    one.store.declare(spec_of(), origin_of("old"), 1.0)
    until(lambda: two.claims.claim(SOURCE_READER), "the lease ran out")
    two.store.declare(spec_of(size=5), origin_of("new"), 2.0)
    for _ in range(2):
        with pytest.raises(Fenced):
            one.store.declare(spec_of(), origin_of("old"), 3.0)
        with pytest.raises(Fenced):
            one.store.withdraw("shop", origin_of("old"), 3.0, prune=True)
        one.claims.beat()
    assert two.store.declared()["shop"].origin == origin_of("new")
    one.store.declare(spec_of(size=6), origin_of("", SourceKind.API), 4.0)
    assert two.store.declared()["shop"].revision == 3


def test_who_holds_a_cluster_holds_it_against_other_controllers(scene: Scene) -> None:
    one, two = scene.controller("one"), scene.controller("two")
    with one.store.exclusive("shop"):
        with pytest.raises(ClusterLocked, match="controller one"), two.store.exclusive("shop"):
            pass
        one.claims.prove("shop")
    with two.store.exclusive("shop"):
        pass


@pytest.mark.parametrize("effect", [DropRequest(), DropReply()], ids=["before", "after"])
def test_a_write_whose_answer_is_lost_is_made_once(scene: Scene, effect: DropRequest | DropReply) -> None:
    proxy = scene.line()
    one = scene.controller("one", proxy.url)
    for number in range(3):
        proxy.add(WRITE, effect)
        one.store.note_occurrences([occurrence_of(number)])
        proxy.clear()
        proxy.add(WRITE, effect)
        one.store.note_version("shop", version_of("v1"), VersionState.FAILED, 1.0, str(number))
        proxy.clear()
    assert [occurrence for _, occurrence in one.store.occurrences()] == [occurrence_of(number) for number in range(3)]
    assert [entry.reason for entry in one.store.history("shop")] == ["0", "1", "2"]


def test_a_write_whose_answer_is_lost_is_found_although_others_wrote_since(scene: Scene) -> None:
    proxy = scene.line()
    one, two = scene.controller("one", proxy.url), scene.controller("two")
    proxy.add(WRITE, Tap(lambda _: two.store.note_occurrences([occurrence_of(7)] * 2), "after"))
    proxy.add(WRITE, DropReply())
    one.store.note_occurrences([occurrence_of(1)])
    assert [occurrence for _, occurrence in two.store.occurrences()] == [occurrence_of(n) for n in (1, 7, 7)]


def test_a_write_that_arrives_late_changes_nothing(scene: Scene) -> None:
    """It was given up and made again elsewhere; what it would overwrite has been written since."""
    proxy = scene.line()
    one = scene.controller("one", proxy.url, scene.servers.urls[0])
    one.claims.claim("shop")
    one.store.record([INTENT])
    proxy.add(WRITE, Delay(3 * PATIENCE_SECONDS))
    begun = len(proxy.log)
    older, newer = replace(INTENT, incarnation=1), replace(INTENT, incarnation=2)
    one.store.record([older])
    one.store.record([newer])
    assert proxy.log[begun].status is None
    until(lambda: proxy.log[begun].forwarded and proxy.log[begun].status is not None, "the late one is answered")
    assert one.store.intents("shop") == [newer]


def test_where_nobody_answers_that_is_an_error_that_names_the_servers_and_no_password(scene: Scene) -> None:
    proxy = scene.line()
    one = scene.controller("one", proxy.url)
    proxy.add("", DropRequest(), times=None)
    with pytest.raises(StoreError, match=f"etcd at 127.0.0.1:{proxy.url.rsplit(':')[-1]} does not answer") as caught:
        one.store.record([INTENT])
    assert caught.value.hint
    with pytest.raises(StoreError):
        one.store.intents("shop")
    proxy.clear()
    one.store.record([INTENT])


def test_many_writers_lose_nothing(scene: Scene) -> None:
    writers = [scene.controller(f"c{number}") for number in range(3)]

    def write(number: int) -> None:
        for each in range(15):
            writers[number].store.note_occurrences([occurrence_of(100 * number + each)])
            writers[number].store.revision("shop", f"{number}-{each}", 1.0)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert len(writers[0].store.occurrences()) == 45
    assert [record.number for record in writers[0].store.revisions("shop")] == list(range(1, 46))


def test_ten_thousand_machines_are_remembered(scene: Scene) -> None:
    one = scene.controller("one")
    one.claims.claim("shop")
    since = {InstanceId(f"zone-a/i-{number}"): float(number) for number in range(10_000)}
    intents = [replace(INTENT, slot=str(number), ticket="x" * 100) for number in range(3_000)]
    one.store.note_healthy("shop", since)
    one.store.record(intents)
    assert one.store.healthy_since("shop") == since
    assert len(one.store.intents("shop")) == 3_000
    one.store.forget(intents)
    assert one.store.intents("shop") == []


def test_what_is_too_large_is_refused_before_anything_is_written(scene: Scene) -> None:
    one = scene.controller("one")
    noise = Random(0).randbytes(1_500_000).hex()
    with pytest.raises(StoreError, match="too large for etcd"):
        one.store.note_standings("shop", {"web": noise})
    assert one.store.standings("shop") == {}


def test_a_pause_ends_when_the_clock_says(scene: Scene) -> None:
    one = scene.controller("one")
    store = EtcdStore(one.calls, one.claims, Keys(scene.prefix), VirtualClock(5.0))
    store.pause("shop", "web", Pause("lunch", 1.0))
    store.pause("shop", "web", None)
    assert [entry.at for entry in store.history("shop")] == [1.0, 5.0]
