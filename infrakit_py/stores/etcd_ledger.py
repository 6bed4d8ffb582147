"""Writing to etcd so that nothing is lost, doubled or written by who may not: everything goes through here.

What is written together has a turn, a key that every such write replaces. A write demands the turn that its writer
saw before it looked at anything, so it succeeds only if nobody has written since; an attempt that is carried out
late finds another turn, and does nothing. The turn names the latest writes, so that a writer whose answer was lost
learns whether its write is among them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import SystemRandom
from threading import Lock
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.errors import Fenced, StoreError
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims
from infrakit_py.stores.etcd_keys import TURNS, Keys
from infrakit_py.stores.etcd_wire import Answer, Compare, Found, Op, after, get, get_between, modified_at, put

OPS_AT_ONCE: Final = 100
"""Of what etcd carries out at once by default (128), with room for turns and what comes with them."""
_BYTES_AT_ONCE: Final = 1_000_000
"""Of what etcd takes at once by default (1.5 MiB)."""
_KEYS_AT_FIRST: Final = 50
_KEYS_AT_MOST: Final = 2000
_NAMED: Final = 16
"""Writes that a turn names. More of others' would have to come between an attempt and its repetition."""
_TRIES: Final = 40
_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may write: the owner of `name`, anybody as long as it has none, and, if `anyone`, anybody."""

    name: str
    anyone: bool = False


@dataclass(slots=True)
class _Turn:
    """What is known of a turn here; `revision` is None where nothing is."""

    lock: Lock
    revision: int | None = None
    writes: tuple[str, ...] = ()

    def see(self, found: Sequence[Found]) -> None:
        self.revision = found[0].modified if found else 0
        self.writes = tuple(found[0].value.decode().split()) if found else ()


class EtcdLedger:
    """What all parts of the store read and write through. Safe for threads: those of one turn take turns."""

    def __init__(self, calls: EtcdCalls, claims: EtcdClaims, keys: Keys, clock: Clock) -> None:
        self.calls = calls
        self.claims = claims
        self.keys = keys
        self.clock = clock
        self._chance = SystemRandom()
        self._turns: dict[str, _Turn] = {}
        self._lock = Lock()

    def look(self, *ranges: Op) -> tuple[tuple[Found, ...], ...]:
        """Return what there is, as of one moment: now."""
        return self.calls.look(*ranges).found

    def all_under(self, *prefixes: str, keys_only: bool = False) -> Sequence[Sequence[Found]]:
        """Return all that begins with each prefix, as of one moment, however much it is."""
        revision = 0
        everything: list[list[Found]] = []
        for prefix in prefixes:
            found: list[Found] = []
            first, end, limit = prefix, after(prefix), _KEYS_AT_FIRST
            while first:
                page = get_between(first, end, limit=limit, keys_only=keys_only, revision=revision)
                answer = self.calls.look(page)
                revision = revision or answer.revision
                found += answer.found[0]
                first = found[-1].key + "\0" if len(answer.found[0]) == limit else ""
                limit = _limit_like(answer.found[0])
            everything.append(found)
        return everything

    def write(self, turn: Sequence[str], rules: Sequence[Rule], change: Callable[[], Sequence[Op] | None]) -> None:
        """Carry out what `change` returns, all or none; it is asked again where somebody else wrote meanwhile.

        Nothing is written for None. `turn`: the names of who takes turns. Fenced where a rule does not allow it.
        StoreError where etcd does not answer: it may have been written then.
        """
        with self._turn(self.keys.key(TURNS, *turn)) as (key, known):
            for attempt in range(_TRIES):
                if known.revision is None:
                    known.see(self.look(get(key))[0])
                wanted = change()
                if wanted is None or self._written(key, known, rules, wanted):
                    return
                self.clock.sleep(self._chance.uniform(0, _PAUSE_SECONDS * attempt))
        raise StoreError(f"etcd at {self.calls.where}: others write {'/'.join(turn)} all the time")

    @contextmanager
    def _turn(self, key: str) -> Iterator[tuple[str, _Turn]]:
        with self._lock:
            known = self._turns.setdefault(key, _Turn(Lock()))
        with known.lock:
            yield key, known

    def _written(self, key: str, known: _Turn, rules: Sequence[Rule], wanted: Sequence[Op]) -> bool:
        """Try once. False where somebody else has written meanwhile."""
        assert known.revision is not None
        name = f"{self._chance.getrandbits(48):012x}"
        writes = (*known.writes, name)[-_NAMED:]
        guards = [(rule, self.claims.guard(rule.name, anyone=rule.anyone)) for rule in rules]
        compares = [compare for _, several in guards for compare in several]
        owners = [get(self.keys.owner(rule.name)) for rule, _ in guards]
        revision, known.revision = known.revision, None  # nothing is known of it until there is an answer
        answer = self.calls.commit(
            [modified_at(key, revision), *compares],
            [put(key, " ".join(writes).encode()), *wanted],
            [get(key), *owners],
        )
        if answer.succeeded:
            known.revision, known.writes = answer.revision, writes
            return True
        known.see(answer.found[0])
        if name in known.writes:  # an earlier attempt was carried out, and its answer was lost
            return True
        self._require_allowed(guards, answer)
        return False

    def _require_allowed(self, guards: Sequence[tuple[Rule, Sequence[Compare]]], answer: Answer) -> None:
        for (rule, compares), found in zip(guards, answer.found[1:], strict=True):
            created = found[0].created if found else 0
            for demanded in (compare["create_revision"] for compare in compares):
                if demanded == created:
                    continue
                self.claims.lose(rule.name, demanded)
                owner = found[0].value.decode(errors="replace") if found else "nobody"
                raise Fenced(f"{rule.name} is owned by {owner}, and not by this controller: nothing was written")


def _limit_like(page: Sequence[Found]) -> int:
    """Return how many more of such keys are asked for at once: an answer must come before patience ends."""
    size = sum(len(found.key) + len(found.value) for found in page)
    return min(max(_BYTES_AT_ONCE * len(page) // max(size, 1), 1), _KEYS_AT_MOST)


def in_batches(ops: Sequence[Op]) -> Iterator[Sequence[Op]]:
    """Yield operations in order, no more at once than etcd takes."""
    batch: list[Op] = []
    size = 0
    for op in ops:
        length = len(op.get("request_put", {}).get("value", "")) * 3 // 4
        if batch and (len(batch) >= OPS_AT_ONCE or size + length > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(op)
        size += length
    if batch:
        yield batch
