"""Claims keep their promises: one owner at a time, known by a deadline without asking anybody."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from infrakit_py.errors import Fenced, StoreError
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims, boot_time
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_wire import delete, get, get_under
from tests.etcd.servers import Servers, until


@dataclass
class Watch:
    """A clock that can be ahead of the real one."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return boot_time() + self.ahead


@dataclass
class Controllers:
    servers: Servers
    prefix: str
    stack: ExitStack

    def new(self, member: str, ttl_seconds: int = 60, now: Watch | None = None) -> EtcdClaims:
        calls = EtcdCalls(self.servers.address(), timeout_seconds=2.0)
        self.stack.callback(calls.close)
        return EtcdClaims(calls, Keys(self.prefix), member, ttl_seconds, now or Watch())

    def living(self, member: str, ttl_seconds: int = 60, now: Watch | None = None) -> EtcdClaims:
        claims = self.new(member, ttl_seconds, now)
        assert claims.beat()
        self.stack.callback(claims.resign)
        return claims


@pytest.fixture
def controllers(etcd: Servers) -> Iterator[Controllers]:
    with ExitStack() as stack:
        yield Controllers(etcd, etcd.address().prefix, stack)


def test_one_owns_and_the_others_are_told_who(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    assert one.claim("shop") is not None
    assert two.claim("shop") is None
    assert two.owners() == {"shop": "one"}
    assert (one.held(), two.held()) == (["shop"], [])
    one.prove("shop")
    with pytest.raises(Fenced):
        two.prove("shop")


def test_a_repeated_claim_is_the_same(controllers: Controllers) -> None:
    one = controllers.living("one")
    assert one.claim("shop") == one.claim("shop")


def test_tokens_grow_with_each_owner(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    tokens = [0]
    for claims in (one, two, one):
        tokens.append(claims.claim("shop") or 0)
        claims.release("shop")
    assert tokens == sorted(set(tokens))


def test_what_somebody_else_owns_is_not_released(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    one.claim("shop")
    two.release("shop")
    one.prove("shop")


def test_names_may_hold_anything(controllers: Controllers) -> None:
    one = controllers.living("a/b%c \u2713")
    for name in (".sources", "a/b", "a%2Fb", "\u2713"):
        assert one.claim(name) is not None
    assert dict(one.owners()) == dict.fromkeys((".sources", "a/b", "a%2Fb", "\u2713"), "a/b%c \u2713")


def test_members_live_with_what_they_say_of_themselves(controllers: Controllers) -> None:
    one = controllers.new("one")
    one.announce("http://one")
    one.beat()
    two = controllers.living("two")
    assert two.members() == {"one": "http://one", "two": ""}
    one.announce("later")
    assert two.members()["one"] == "later"
    one.resign()
    assert two.members() == {"two": ""}


def test_who_resigns_owns_nothing_and_may_come_back(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    one.claim("shop")
    one.resign()
    one.resign()
    assert one.left_seconds("shop") <= 0
    assert two.claim("shop") is not None
    assert one.beat()
    assert one.claim("shop") is None


def test_without_a_lease_nothing_is_claimed(controllers: Controllers) -> None:
    with pytest.raises(Fenced, match="no lease"):
        controllers.new("one").claim("shop")


def test_the_second_of_one_name_is_told_so_until_the_first_is_gone(controllers: Controllers) -> None:
    one, same = controllers.living("one"), controllers.new("one")
    one.claim("shop")
    for _ in range(2):
        with pytest.raises(StoreError, match="another controller is called one") as caught:
            same.beat()
        assert caught.value.hint
    one.prove("shop")
    one.resign()
    assert same.beat()
    same.resign()


def test_the_deadline_passes_without_a_call_and_comes_back_with_a_renewal(controllers: Controllers) -> None:
    watch = Watch()
    one = controllers.living("one", 60, watch)
    one.claim("shop")
    assert 50 < one.left_seconds("shop") <= 60
    watch.ahead = 59.7
    assert one.left_seconds("shop") <= 0
    with pytest.raises(Fenced, match="may have run out"):
        one.prove("shop")
    assert one.beat()
    assert one.left_seconds("shop") > 50
    one.prove("shop")


def test_the_deadline_counts_from_before_the_renewal(controllers: Controllers) -> None:
    """A renewal that takes long on its way may have been granted at its very beginning."""
    times = iter((0.0, 100.0, 100.0, 100.0))
    calls = EtcdCalls(controllers.servers.address(), timeout_seconds=2.0)
    controllers.stack.callback(calls.close)
    slow = EtcdClaims(calls, Keys(controllers.prefix), "slow", 60, lambda: next(times, 100.0))
    slow.beat()
    slow.claim("shop")
    assert slow.left_seconds("shop") < 60 - 100 + 1
    slow.resign()


def test_a_lease_that_ran_out_takes_the_claims_along_and_is_made_anew(controllers: Controllers) -> None:
    one, two = controllers.living("one", 1), controllers.living("two")
    first = one.claim("shop")
    until(lambda: two.claim("shop") is not None, "the lease ran out")
    assert one.left_seconds("shop") <= 0
    with pytest.raises(Fenced):
        one.prove("shop")
    assert not one.beat()
    assert one.held() == []
    assert one.beat()
    assert one.claim("shop") is None
    two.release("shop")
    again = one.claim("shop")
    assert first is not None
    assert again is not None
    assert again > first


def test_a_key_that_was_taken_away_by_hand_is_noticed_with_the_next_renewal(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    one.claim("shop")
    one.claim("other")
    key = Keys(controllers.prefix).owner("shop")
    calls = EtcdCalls(controllers.servers.address(), timeout_seconds=2.0)
    calls.commit((), [delete(key)])
    calls.close()
    assert two.claim("shop") is None
    assert one.beat()
    assert one.held() == ["other"]
    with pytest.raises(Fenced):
        one.prove("shop")
    assert two.claim("shop") is not None


def _end_lease(controllers: Controllers, member: str) -> None:
    """Have etcd end a lease before its time, as a leader that slept does."""
    calls = EtcdCalls(controllers.servers.address(), timeout_seconds=2.0)
    (found,) = calls.look(get(Keys(controllers.prefix).member(member))).found[0]
    calls.post("/lease/revoke", {"ID": found.lease})
    calls.close()


@pytest.mark.parametrize("watched", [True, False], ids=["whose signs were seen", "that nobody ever heard of"])
def test_a_lease_that_ends_early_gives_nothing_away_before_its_time(controllers: Controllers, watched: bool) -> None:
    one = controllers.living("one", 2)
    one.claim("shop")
    two = controllers.living("two")
    if watched:
        two.beat()
    _end_lease(controllers, "one")
    assert two.members() == {"two": ""}
    assert one.left_seconds("shop") > 0
    assert two.claim("shop") is None
    until(lambda: two.claim("shop") is not None, "it is over")
    assert one.left_seconds("shop") <= 0


def test_who_notices_that_its_lease_ended_early_lets_others_have_what_it_owned(controllers: Controllers) -> None:
    one, two = controllers.living("one"), controllers.living("two")
    one.claim("shop")
    one.claim("desk")
    _end_lease(controllers, "one")
    assert not one.beat()
    assert two.claim("shop") is None
    one.release("shop")
    assert two.claim("shop") is not None
    assert one.beat()
    assert two.claim("desk") is not None


def test_who_has_a_lease_again_need_not_wait_for_itself(controllers: Controllers) -> None:
    one = controllers.living("one")
    one.claim("shop")
    _end_lease(controllers, "one")
    assert not one.beat()
    assert one.claim("shop") is not None
    one.prove("shop")


def test_signs_of_those_who_are_gone_do_not_pile_up(controllers: Controllers) -> None:
    for number in range(3):
        gone = controllers.living(f"gone-{number}")
        gone.claim("shop")
        gone.resign()
    controllers.living("one")
    calls = EtcdCalls(controllers.servers.address(), timeout_seconds=2.0)
    keys = Keys(controllers.prefix)
    signs, owners = calls.look(get_under(keys.signs), get_under(keys.last_owners)).found
    calls.close()
    assert [keys.names(sign.key) for sign in signs] == [("one",)]
    assert owners == ()
