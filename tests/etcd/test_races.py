"""Never two owners at one moment: many controllers want the same things, on lines that lose what is said."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from threading import Lock

import pytest

from infrakit_py.engine.execute import attempt
from infrakit_py.errors import Fenced, StoreError
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims, boot_time
from infrakit_py.stores.etcd_keys import Keys
from tests.etcd.servers import Servers, until
from tests.fakes.proxy import Delay, DropReply, DropRequest, FaultProxy, Say, Tap

NAMES = ("shop", "desk", "mill")
ROUNDS = 400
RACERS = 3


@dataclass
class Referee:
    """Knows who believes to own what, from when they learn it until before they let go."""

    lock: Lock = field(default_factory=Lock)
    owners: dict[str, list[EtcdClaims]] = field(default_factory=dict)
    won: int = 0

    def enter(self, name: str, claims: EtcdClaims) -> None:
        with self.lock:
            others = [other.member for other in self.owners.get(name, ()) if other.left_seconds(name) > 0]
            mine = claims.left_seconds(name)
            assert not others or mine <= 0, f"{name}: {claims.member} and {others}"
            self.owners.setdefault(name, []).append(claims)
            self.won += 1

    def leave(self, name: str, claims: EtcdClaims) -> None:
        with self.lock:
            self.owners[name].remove(claims)


@pytest.fixture
def line(etcd: Servers) -> Iterator[Callable[[Random], FaultProxy]]:
    """Make lines to the server that lose every twelfth call or so, before or after it did its work."""
    with ExitStack() as stack:

        def make(chance: Random) -> FaultProxy:
            proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
            for _ in range(ROUNDS // 8):
                proxy.add("", DropRequest(), first=chance.randrange(2, ROUNDS * 4))
                proxy.add("", DropReply(), first=chance.randrange(2, ROUNDS * 4))
            return proxy

        yield make


def _race(claims: EtcdClaims, referee: Referee, chance: Random) -> None:
    attempt(claims.beat)
    for _ in range(ROUNDS):
        name = chance.choice(NAMES)
        match chance.random():
            case draw if draw < 0.02:
                attempt(claims.resign)
                attempt(claims.beat)
                continue
            case draw if draw < 0.1:
                attempt(claims.beat)
        try:
            if name in claims.held() or claims.claim(name) is None:
                continue
        except (StoreError, Fenced):
            continue
        referee.enter(name, claims)
        if chance.random() < 0.5:
            time.sleep(chance.random() / 500)
        referee.leave(name, claims)
        attempt(lambda name=name: claims.release(name))  # type: ignore[misc]


@pytest.mark.parametrize("lossy", [False, True], ids=["good lines", "lines that lose calls"])
def test_no_two_ever_own_the_same(etcd: Servers, line: Callable[[Random], FaultProxy], lossy: bool) -> None:
    referee, prefix = Referee(), etcd.address().prefix
    with ExitStack() as stack, ThreadPoolExecutor(RACERS) as pool:
        running = []
        for number in range(RACERS):
            chance = Random(number)
            url = line(chance).url if lossy else etcd.urls[0]
            # Two endpoints, so that each call has three attempts.
            calls = EtcdCalls(etcd.address(url, url), timeout_seconds=2.0)
            stack.callback(calls.close)
            claims = EtcdClaims(calls, Keys(prefix), f"c{number}", 60)
            running.append(pool.submit(_race, claims, referee, chance))
        for each in running:
            each.result()
    assert referee.won > ROUNDS / 4


def test_what_a_lost_answer_left_behind_is_given_back_with_the_next_renewal(etcd: Servers) -> None:
    address = etcd.address()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        one, two = (
            EtcdClaims(_calls(stack, etcd, url), Keys(address.prefix), name, 60)
            for name, url in (("one", proxy.url), ("two", etcd.urls[0]))
        )
        one.beat()
        two.beat()
        proxy.add("request_put", DropReply())
        proxy.add("request_put", DropRequest(), times=None, first=2)
        with pytest.raises(StoreError):
            one.claim("shop")
        assert one.held() == []
        assert two.claim("shop") is None
        proxy.clear()
        assert one.beat()
        assert two.claim("shop") is not None
        proxy.add("request_delete_range", DropRequest(), times=None)
        one.claim("desk")
        with pytest.raises(StoreError):
            one.release("desk")
        assert one.left_seconds("desk") <= 0
        proxy.clear()
        assert one.beat()
        assert two.claim("desk") is not None


def test_a_lease_whose_beginning_was_never_learned_is_in_nobody_s_way(etcd: Servers) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        one = EtcdClaims(_calls(stack, etcd, proxy.url), Keys(etcd.address().prefix), "one", 60)
        proxy.add("request_put", DropReply(), times=None)
        with pytest.raises(StoreError):
            one.beat()
        proxy.clear()
        assert one.beat()
        assert one.members() == {"one": ""}


def test_what_cannot_be_owned_any_more_is_not_even_asked_for(etcd: Servers) -> None:
    ahead = [0.0]
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        calls = _calls(stack, etcd, proxy.url)
        one = EtcdClaims(calls, Keys(etcd.address().prefix), "one", 60, lambda: boot_time() + ahead[0])
        one.beat()
        one.claim("shop")
        asked = len(proxy.log)
        ahead[0] = 60.0
        with pytest.raises(Fenced, match="may have run out"):
            one.prove("shop")
        assert len(proxy.log) == asked
        ahead[0] = 0.0
        proxy.add("create_revision", Tap(lambda _: ahead.__setitem__(0, 60.0), "after"))
        with pytest.raises(Fenced, match="may have run out"):
            one.prove("shop")


def test_a_renewal_by_a_leader_of_the_past_does_not_count(etcd: Servers) -> None:
    """A leader that slept renews leases by itself, until it learns that there is another one."""
    ahead = [0.0]
    stale = '{"result": {"header": {"raft_term": "1"}, "ID": "7", "TTL": "60"}}'
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        calls = _calls(stack, etcd, proxy.url)
        one = EtcdClaims(calls, Keys(etcd.address().prefix), "one", 60, lambda: boot_time() + ahead[0])
        one.beat()
        one.claim("shop")
        ahead[0] = 40.0
        rule = proxy.add("keepalive", Say(200, stale, "application/json"), times=None)
        with pytest.raises(StoreError, match="leader changes"):
            one.beat()
        assert one.left_seconds("shop") < 20
        rule.times = rule.seen + 1
        assert one.beat()
        assert one.left_seconds("shop") > 50


def test_a_claim_whose_answer_was_lost_is_found_when_it_is_repeated(etcd: Servers) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        one = EtcdClaims(_calls(stack, etcd, proxy.url), Keys(etcd.address().prefix), "one", 60)
        proxy.add("request_put", DropReply())
        assert one.beat()
        proxy.clear()
        proxy.add("request_put", DropReply())
        assert one.claim("shop") is not None
        one.prove("shop")


def test_a_release_that_arrives_late_does_not_strike_what_was_claimed_since(etcd: Servers) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(etcd.urls[0]))
        calls = EtcdCalls(etcd.address(proxy.url), timeout_seconds=0.3)
        stack.callback(calls.close)
        one = EtcdClaims(calls, Keys(etcd.address().prefix), "one", 60)
        one.beat()
        one.claim("shop")
        begun = len(proxy.log)
        proxy.add("request_delete_range", Delay(1.5), times=None)
        with pytest.raises(StoreError):
            one.release("shop")
        proxy.clear()
        assert one.claim("shop") is not None
        late = proxy.log[begun : begun + 2]
        until(lambda: all(call.status is not None for call in late), "the late ones are answered")
        one.prove("shop")


def _calls(stack: ExitStack, etcd: Servers, url: str) -> EtcdCalls:
    calls = EtcdCalls(etcd.address(url), timeout_seconds=2.0)
    stack.callback(calls.close)
    return calls
