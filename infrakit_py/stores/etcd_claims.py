"""Claims in etcd: one lease a controller, and one key for each thing owned, which the lease takes with it.

When a lease runs out is decided by etcd's leader, without asking the others. So a renewal counts only once a majority
has confirmed that the leader who gave it was theirs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

from infrakit_py.errors import Fenced, StoreError
from infrakit_py.spi.claims import Token
from infrakit_py.stores.etcd_calls import EtcdCalls, EtcdRefused
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_owners import EtcdOwners
from infrakit_py.stores.etcd_sightings import Sightings
from infrakit_py.stores.etcd_wire import Compare, Found, created_at, get, get_under, put

_RENEWALS: Final = 3
"""How often a renewal is asked for again at once because etcd's leader changed meanwhile."""
_LEASES_KNOWN: Final = 16
"""How many of the leases that were made here are known as such, should their own answers be lost."""
_PACE: Final = 0.99
"""How much slower than etcd's our clock may run: far more than clocks differ."""


def boot_time() -> float:
    """Return seconds that go on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class EtcdClaims:
    """See `infrakit_py.spi.claims.Claims`."""

    def __init__(
        self, calls: EtcdCalls, keys: Keys, member: str, ttl_seconds: int, now: Callable[[], float] = boot_time
    ) -> None:
        """Ask nothing yet. `now` must go on while the machine sleeps."""
        self._calls = calls
        self._keys = keys
        self._member = member
        self._ttl = ttl_seconds
        self._now = now
        self._renewing = Lock()
        """Held while the lease is asked for."""
        self._claiming = Lock()
        """Held while owners' keys are written. Taken after the other one, if both are."""
        self._state = Lock()
        """Held while what follows is looked at or changed, and never during a call."""
        self._lease = 0
        self._made: tuple[int, ...] = ()
        self._born = 0
        self._deadline = 0.0
        self._ran_out = False
        self._text = ""
        self._tokens: dict[str, Token] = {}
        self._lost: dict[str, Token] = {}
        self._sightings = Sightings(now)
        self._owners = EtcdOwners(calls, keys, self._sightings, member, ttl_seconds)

    @property
    def member(self) -> str:
        return self._member

    @property
    def ttl_seconds(self) -> float:
        return float(self._ttl)

    def beat(self) -> bool:
        """See `Claims.beat`. StoreError too where another controller that lives has this one's name."""
        with self._renewing:
            if self._lease and self._renew():
                return True
            self._lose_all()
            self._begin()
            with suppress(StoreError):
                self._owners.sweep()
            with self._state:
                ran_out, self._ran_out = self._ran_out, False
            return not ran_out

    def members(self) -> Mapping[str, str]:
        members, signs = self._calls.look(get_under(self._keys.members), get_under(self._keys.signs)).found
        self._sightings.see(signs)
        return self._texts(members)

    def announce(self, text: str) -> None:
        with self._renewing:
            self._text = text
            if self._lease:
                key = self._keys.member(self._member)
                self._calls.commit([created_at(key, self._born)], [put(key, text.encode(), self._lease)], [get(key)])

    def owners(self) -> Mapping[str, str]:
        return self._texts(self._calls.look(get_under(self._keys.owners)).found[0])

    def claim(self, name: str) -> Token | None:
        """See `Claims.claim`. Fenced where there is no lease, or none any more.

        None too while the last owner, of whom nothing is heard any more, may still believe that it is the owner.
        """
        with self._claiming:
            with self._state:
                lease, known = self._lease, self._tokens.get(name)
            if not lease:
                raise Fenced(f"controller {self._member} has no lease, so it can claim nothing")
            token = self._owners.take(name, lease, known, self._made)
            with self._state:
                if token is not None and self._lease != lease:
                    raise Fenced(f"the lease of controller {self._member} has run out")
                if token is not None:
                    self._tokens[name] = token
                    self._lost.pop(name, None)
            return token

    def release(self, name: str) -> None:
        """See `Claims.release`. What could not be given back is given back with the next renewal."""
        with self._claiming:
            with self._state:
                token, lost = self._tokens.pop(name, None), self._lost.pop(name, None)
            if token is not None:
                self._owners.give_back(name, token)
            elif lost is not None:
                with suppress(StoreError):  # whoever claims it next waits until it must be over
                    self._owners.disown(name, lost)

    def held(self) -> Sequence[str]:
        with self._state:
            return sorted(self._tokens)

    def left_seconds(self, name: str) -> float:
        with self._state:
            return self._deadline - self._now() if name in self._tokens else 0.0

    def prove(self, name: str) -> None:
        with self._state:
            token = self._tokens.get(name)
        if token is None:
            raise Fenced(f"{name} is not owned by controller {self._member}")
        self._require_time(name)
        key = self._keys.owner(name)
        try:
            answer = self._calls.commit([created_at(key, token)], [get(key)], [get(key)])
        except StoreError as exc:
            raise Fenced(f"cannot prove that {name} is still owned by controller {self._member}: {exc}") from exc
        if not answer.succeeded:
            self.lose(name, token)
            raise Fenced(f"{name} is not owned by controller {self._member} any more")
        self._require_time(name)

    def resign(self) -> None:
        with self._renewing, self._claiming:
            with self._state:
                lease, self._lease, self._deadline, self._ran_out = self._lease, 0, 0.0, False
                tokens, self._tokens = self._tokens, {}
                self._lost.clear()
            if lease:
                with suppress(StoreError):  # who claims it next waits until it must be over
                    for name, token in tokens.items():
                        self._owners.give_back(name, token)
                self._revoke(lease)

    def guard(self, name: str, *, anyone: bool) -> Sequence[Compare]:
        """Return what must hold for a write that concerns `name`: that it is ours, if it ever was.

        Where it never was claimed here: that it is nobody's, or nothing at all if `anyone` may write so. Fenced where
        it was claimed here, is lost, and was not given back since.
        """
        with self._state:
            if name in self._lost:
                raise Fenced(f"{name} is not owned by controller {self._member} any more: nothing was written")
            token = self._tokens.get(name)
        if token is None and anyone:
            return ()
        return (created_at(self._keys.owner(name), token or 0),)

    def lose(self, name: str, token: Token | None = None) -> None:
        """Take note that `name` is not ours any more; with a token, only if it still is the one by which it was."""
        with self._state:
            if name in self._tokens and token in (None, self._tokens[name]):
                self._lost[name] = self._tokens.pop(name)

    def _require_time(self, name: str) -> None:
        if self.left_seconds(name) <= 0:
            raise Fenced(f"the lease of controller {self._member} may have run out, and with it {name}")

    def _renew(self) -> bool:
        """Renew the lease, and look at what hangs on it. False where it has run out."""
        for _ in range(_RENEWALS):
            before = self._now()
            try:
                result = self._calls.post("/lease/keepalive", {"ID": self._lease})["result"]
                ttl, term = int(result.get("TTL", 0)), int(result["header"]["raft_term"])
            except (KeyError, ValueError, TypeError) as exc:
                raise StoreError(f"etcd at {self._calls.where}: no answer to a renewal: {exc!r}") from exc
            if ttl <= 0:
                return False
            there, confirmed = self._look()
            if not there:
                with suppress(StoreError):
                    self._revoke(self._lease)
                return False
            if confirmed == term:  # no other leader can have let the lease run out before that one gave the renewal
                with self._state:
                    self._deadline = max(self._deadline, before + min(ttl, self._ttl) * _PACE)
                return True
        raise StoreError(f"etcd at {self._calls.where}: its leader changes all the time")

    def _look(self) -> tuple[bool, int]:
        """Leave a sign, and return whether our lease's own key is there, and etcd's term; put right what we own."""
        key = self._keys.member(self._member)
        settled = self._claiming.acquire(blocking=False)  # a claim that is under way would look lost
        try:
            wanted = [self._owners.sign(self._lease), get_under(self._keys.owners), get_under(self._keys.signs)]
            answer = self._calls.commit([created_at(key, self._born)], wanted, [get(key)])
            if answer.succeeded:
                self._sightings.see(answer.found[2])
            if answer.succeeded and settled:
                self._settle(answer.found[1])
        finally:
            if settled:
                self._claiming.release()
        return answer.succeeded, answer.term

    def _settle(self, owners: Sequence[Found]) -> None:
        """Give back what hangs on our lease and is not known here: an answer was lost. Lose what was taken away."""
        ours = {
            self._keys.names(found.key)[0]: Token(found.created) for found in owners if found.lease == self._lease
        }
        with self._state:
            known = dict(self._tokens)
        for name, token in known.items():
            if ours.get(name) != token:
                self.lose(name, token)
        with self._state:
            lost = dict(self._lost)
        with suppress(StoreError):  # the next renewal sees it again
            for name, token in lost.items():
                self._owners.disown(name, token)
            for name, token in ours.items():
                if name not in known:
                    self._owners.give_back(name, token)

    def _begin(self) -> None:
        """Make a lease, and be known by name as long as it lives."""
        before = self._now()
        granted = self._calls.post("/lease/grant", {"TTL": self._ttl, "ID": 0})
        try:
            lease, ttl = int(granted["ID"]), int(granted["TTL"])
        except (KeyError, ValueError) as exc:
            raise StoreError(f"etcd at {self._calls.where}: no answer to a lease: {exc!r}") from exc
        self._made = (*self._made, lease)[-_LEASES_KNOWN:]
        born = self._born_under(lease)
        with self._state:
            self._lease, self._born, self._deadline = lease, born, before + min(ttl, self._ttl) * _PACE

    def _born_under(self, lease: int) -> int:
        """Write our own key, and return its revision. StoreError where somebody else has it."""
        key = self._keys.member(self._member)
        for _ in range(2):
            wanted = [put(key, self._text.encode(), lease), self._owners.sign(lease)]
            answer = self._calls.commit([created_at(key, 0)], wanted, [get(key)])
            if answer.succeeded:
                return answer.revision
            found = answer.found[0][0]
            if found.lease == lease:  # the answer to the first attempt was lost
                return found.created
            if found.lease not in self._made:
                break
            self._revoke(found.lease)  # ours, but what became of it was never learned
        with suppress(StoreError):
            self._revoke(lease)
            self.members()  # from now on it is known when the other one was heard of
        raise StoreError(
            f"another controller is called {self._member}: it lives, or has died within {self._ttl} seconds",
            hint="give each controller a name of its own; the lease of one that died runs out by itself",
        )

    def _lose_all(self) -> None:
        with self._state:
            self._ran_out = self._ran_out or bool(self._lease)
            self._lease, self._deadline = 0, 0.0
            self._lost.update(self._tokens)
            self._tokens.clear()

    def _revoke(self, lease: int) -> None:
        try:
            self._calls.post("/lease/revoke", {"ID": lease})
        except EtcdRefused as exc:
            if not exc.is_not_found:
                raise

    def _texts(self, found: Sequence[Found]) -> Mapping[str, str]:
        return {self._keys.names(one.key)[0]: one.value.decode(errors="replace") for one in found}
