"""The keys that say who owns what, and the signs of who lives: written so that no lost or late answer misleads."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from infrakit_py.errors import Fenced, StoreError
from infrakit_py.spi.claims import Token
from infrakit_py.stores.etcd_calls import EtcdCalls, EtcdRefused
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_sightings import LastOwner, Sightings
from infrakit_py.stores.etcd_values import packed_value, required
from infrakit_py.stores.etcd_wire import Found, Op, created_at, delete, get, get_under, modified_at, put

_ATTEMPTS: Final = 3


class EtcdOwners:
    """What one controller writes of what it owns. A token is the revision of both keys that say so."""

    def __init__(self, calls: EtcdCalls, keys: Keys, sightings: Sightings, member: str, ttl_seconds: int) -> None:
        self._calls = calls
        self._keys = keys
        self._sightings = sightings
        self._member = member
        self._ttl = ttl_seconds

    def take(self, name: str, lease: int, known: Token | None, own_leases: Collection[int]) -> Token | None:
        """Write that `name` is ours, on a lease. None where it is, or may be, somebody else's.

        `known` is the token by which it is ours already, as far as is known. Fenced where the lease has run out.
        """
        owner, last_owner = self._keys.owner(name), self._keys.last_owner(name)
        for _ in range(_ATTEMPTS):
            found, last = self._calls.look(get(owner), get(last_owner)).found
            if found and found[0].lease != lease:
                return None
            if found and found[0].created == known:
                return known
            if found:
                # It hangs on our lease and is not known here, so an answer was lost. A deletion may be under way as
                # well, and would strike what we own: a key made anew it does not.
                self.give_back(name, Token(found[0].created))
            elif last and not self._is_over(last[0], own_leases):
                return None
            elif (token := self._written(name, lease, last)) is not None:
                return token
        return None

    def give_back(self, name: str, token: Token) -> None:
        """Say that it is nobody's, if it still is ours by that token."""
        owner, last_owner = self._keys.owner(name), self._keys.last_owner(name)
        self._calls.commit([created_at(owner, token)], [delete(owner), delete(last_owner)], [get(owner)])

    def disown(self, name: str, token: Token) -> None:
        """Say that we do not believe any more to own what was taken from us, so that nobody waits for that."""
        key = self._keys.last_owner(name)
        self._calls.commit([modified_at(key, token)], [delete(key)], [get(key)])

    def sign(self, lease: int) -> Op:
        """Return what leaves a sign of life."""
        return put(self._keys.sign(self._member), str(lease).encode())

    def sweep(self) -> None:
        """Drop the signs of who is gone, and is not waited for."""
        parts = (self._keys.signs, self._keys.members, self._keys.last_owners)
        signs, members, owners = self._calls.look(*map(get_under, parts)).found
        kept = {self._keys.names(found.key)[0] for found in members}
        kept |= {required(LastOwner, found).member for found in owners}
        for sign in signs:
            if self._keys.names(sign.key)[0] not in kept:
                with suppress(StoreError):
                    self._calls.commit([modified_at(sign.key, sign.modified)], [delete(sign.key)], [get(sign.key)])

    def _written(self, name: str, lease: int, last: Sequence[Found]) -> Token | None:
        """Write both keys, if they are as they were seen."""
        owner, last_owner = self._keys.owner(name), self._keys.last_owner(name)
        me = packed_value(LastOwner(self._member, lease, self._ttl), "an owner")
        free = [created_at(owner, 0), modified_at(last_owner, last[0].modified if last else 0)]
        try:
            wanted = [put(owner, self._member.encode(), lease), put(last_owner, me)]
            answer = self._calls.commit(free, wanted, [get(owner)])
        except EtcdRefused as exc:
            if exc.is_not_found:
                raise Fenced(f"the lease of controller {self._member} has run out") from exc
            raise
        return Token(answer.revision) if answer.succeeded else None

    def _is_over(self, last: Found, own_leases: Collection[int]) -> bool:
        """Tell whether who claimed something last has stopped for certain."""
        owner = required(LastOwner, last)
        if owner.lease in own_leases:  # what hung on it is lost here, and known to be
            return True
        (signs,) = self._calls.look(get(self._keys.sign(owner.member))).found
        return self._sightings.left_seconds(owner, signs) <= 0
