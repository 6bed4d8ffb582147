"""What stops does no harm, and what comes back goes on: servers, lines, controllers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

from infrakit_py.engine.execute import attempt
from infrakit_py.errors import Fenced, StoreError
from infrakit_py.spi.store import Intent
from infrakit_py.stores.etcd import open_etcd
from infrakit_py.stores.etcd_claims import EtcdClaims, boot_time
from infrakit_py.stores.etcd_store import EtcdStore
from tests.etcd import holder
from tests.etcd.servers import Servers, running, until
from tests.fakes.proxy import DropRequest, FaultProxy

pytestmark = pytest.mark.slow
INTENT = Intent("shop", "web", "local", "0", 0, None, "other", 1000.0)
TTL = 2.0


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Servers]:
    with running(tmp_path, 3) as servers:
        yield servers


@dataclass
class Living:
    """A controller that renews its lease in a thread, as real ones do."""

    store: EtcdStore
    claims: EtcdClaims
    over: Event = field(default_factory=Event)

    def beat_on(self) -> None:
        while not self.over.wait(self.claims.ttl_seconds / 3):
            attempt(self.claims.beat)


@contextmanager
def living(servers: Servers, prefix: str, name: str, *urls: str, ttl_seconds: float = TTL) -> Iterator[Living]:
    store, claims = open_etcd(servers.address(*urls, ttl_seconds=ttl_seconds, prefix=prefix), name)
    controller = Living(store, claims)
    claims.beat()
    thread = Thread(target=controller.beat_on)
    thread.start()
    try:
        yield controller
    finally:
        controller.over.set()
        thread.join()
        attempt(claims.resign)
        store.close()


@dataclass
class Process:
    """`holder` as a process; `lines` is what it has said so far."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def said(self, word: str, after: int = 0) -> bool:
        return any(line.startswith(word) for line in self.lines[after:])


@contextmanager
def holding(url: str, prefix: str, name: str) -> Iterator[Process]:
    command = [sys.executable, "-m", holder.__name__, url, prefix, str(TTL), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        process = Process(child)
        thread = Thread(target=process.listen)
        thread.start()
        try:
            until(lambda: process.said("wrote"), "the holder writes")
            yield process
        finally:
            child.kill()
            thread.join()


def _taken_over(controller: Living) -> float:
    """Claim the cluster as soon as that can be; return when."""
    until(lambda: controller.claims.claim("shop") is not None, "the cluster is free")
    at = boot_time()
    controller.store.record([INTENT])
    return at


def _stops(process: Process, at: float) -> None:
    """Check that nothing was written that was begun after somebody else owned the cluster."""
    late = [line for line in process.lines if line.startswith("wrote") and float(line.split()[1]) > at]
    assert late == []


def test_a_controller_that_is_killed_is_replaced(etcd: Servers) -> None:
    prefix = etcd.address().prefix
    with living(etcd, prefix, "two") as two, holding(etcd.urls[0], prefix, "one") as one:
        one.signal(signal.SIGKILL)
        _taken_over(two)
        assert dict(two.claims.members()) == {"two": ""}


def test_a_controller_that_slept_writes_nothing_when_it_wakes(etcd: Servers) -> None:
    prefix = etcd.address().prefix
    with living(etcd, prefix, "two") as two, holding(etcd.urls[0], prefix, "one") as one:
        one.signal(signal.SIGSTOP)
        at = _taken_over(two)
        asleep = len(one.lines)
        one.signal(signal.SIGCONT)
        until(lambda: one.said("waits", asleep) and one.said("lost", asleep), "it notices")
        _stops(one, at)
        assert two.store.intents("shop") == [INTENT]


def test_a_controller_that_is_cut_off_stops_before_anybody_else_begins(etcd: Servers) -> None:
    prefix = etcd.address().prefix
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        two = stack.enter_context(living(etcd, prefix, "two"))
        one = stack.enter_context(living(etcd, prefix, "one", proxy.url))
        assert one.claims.claim("shop") is not None
        proxy.add("", DropRequest(), times=None)
        with pytest.raises(Fenced, match="cannot prove"):
            one.claims.prove("shop")
        with pytest.raises(StoreError):
            one.store.record([INTENT])
        until(lambda: two.claims.claim("shop") is not None, "the lease runs out")
        assert one.claims.left_seconds("shop") <= 0
        two.store.record([INTENT])
        proxy.clear()
        with pytest.raises(Fenced):
            one.store.record([INTENT])
        until(lambda: one.claims.held() == [] and one.claims.left_seconds("shop") <= 0, "it notices")
        assert two.store.intents("shop") == [INTENT]
        two.claims.prove("shop")


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_one_server_of_three_is_not_missed(three: Servers, how: str) -> None:
    prefix = three.address().prefix
    with living(three, prefix, "one", ttl_seconds=8.0) as one:
        token = one.claims.claim("shop")
        leader = three.leader
        killed = how == "killed"
        stop = leader.kill if killed else leader.pause
        stop()
        for number in range(3):
            until(lambda: attempt(lambda: one.claims.prove("shop")) is None, f"it is proved ({number})")
            until(lambda: attempt(lambda: one.store.record([INTENT])) is None, f"it writes ({number})")
        assert one.claims.claim("shop") == token
        if killed:
            three.start(leader)
        else:
            leader.resume()
        until(leader.answers, "it is back")
        until(lambda: isinstance(attempt(lambda: one.claims.claim("shop")), int), "it owns the cluster")
        until(lambda: attempt(lambda: one.claims.prove("shop")) is None, "it can prove that")


def test_without_a_majority_nobody_acts_and_with_one_again_the_owner_goes_on(three: Servers) -> None:
    """With the claim that it had, or, where a leader slept as well and let the lease run out first, with another."""
    prefix = three.address().prefix
    with living(three, prefix, "one") as one:
        token = one.claims.claim("shop")
        for node in three.nodes[:2]:
            node.pause()
        with pytest.raises(Fenced):
            one.claims.prove("shop")
        with pytest.raises(StoreError, match="does not answer"):
            one.store.intents("shop")
        until(lambda: one.claims.left_seconds("shop") <= 0, "its time runs out")
        assert isinstance(attempt(lambda: one.claims.prove("shop")), Fenced)
        for node in three.nodes[:2]:
            node.resume()
        until(lambda: isinstance(attempt(lambda: one.claims.claim("shop")), int), "it owns the cluster again")
        until(lambda: attempt(lambda: one.claims.prove("shop")) is None, "it can prove that")
        assert (one.claims.claim("shop") or 0) >= (token or 0)
        one.store.record([INTENT])


def test_a_leader_that_slept_through_its_replacement_renews_nothing(three: Servers) -> None:
    """It renews a lease by itself, and does not know yet that others would let it run out."""
    prefix, leader = three.address().prefix, three.leader
    others = [node for node in three.nodes if node is not leader]
    with living(three, prefix, "two", *(node.url for node in others)) as two, ExitStack() as stack:
        store, claims = open_etcd(three.address(leader.url, ttl_seconds=TTL, prefix=prefix), "one")
        stack.callback(store.close)
        claims.beat()
        assert claims.claim("shop") is not None
        leader.pause()
        until(lambda: any(node.is_leader() for node in others), "another leader")
        # It answers nothing while it sleeps, and what was asked meanwhile is answered when it wakes.
        asked = Thread(target=lambda: attempt(claims.beat))
        asked.start()
        leader.resume()
        asked.join()
        until(lambda: two.claims.claim("shop") is not None or claims.left_seconds("shop") > 0, "somebody owns it")
        until(lambda: two.claims.claim("shop") is not None, "the lease runs out")
        assert claims.left_seconds("shop") <= 0


def test_a_leader_that_slept_longer_than_a_lease_gives_nothing_away(three: Servers) -> None:
    """When it wakes it has all leases end, as far as it knows them: etcd 3.4.23 lets it."""
    prefix, leader = three.address().prefix, three.leader
    urls = [node.url for node in three.nodes if node is not leader]
    with living(three, prefix, "two", *urls) as two, living(three, prefix, "one", *urls) as one:
        assert one.claims.claim("shop") is not None
        leader.pause()
        slept_at = boot_time()
        until(lambda: boot_time() - slept_at > 1.5 * TTL, "it slept longer than a lease")
        until(lambda: attempt(lambda: one.claims.prove("shop")) is None, "the owner goes on meanwhile")
        leader.resume()
        woken_at = boot_time()

        def nothing_more_to_come() -> bool:
            if isinstance(attempt(lambda: two.claims.claim("shop")), int):
                assert one.claims.left_seconds("shop") <= 0
                return True
            return boot_time() - woken_at > 1.5 * TTL

        until(nothing_more_to_come, "somebody owns it")
