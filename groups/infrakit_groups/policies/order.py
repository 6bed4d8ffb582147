"""Who goes first when some have to go, and which slots are free for those to come."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

from infrakit_py.model.instance import InstanceState, Snapshot
from infrakit_py.model.plan import Assessed, Condition, Version

_WORST_FIRST = {
    Condition.DEAD: 0,
    Condition.UNHEALTHY: 1,
    Condition.UNKNOWN: 2,
    Condition.STARTING: 3,
    Condition.READY: 4,
    Condition.DRAINING: 5,
    Condition.LEAVING: 6,
}


Age = tuple[float, int, str, str]
"""Launch time, then slot (numbers by value, names by alphabet), then id: the same order every time."""


def oldest_first(assessed: Assessed) -> Age:
    return _age(assessed, assessed.member.instance.launched_at)


def youngest_first(assessed: Assessed) -> Age:
    age, slot, name, id_ = _age(assessed, -assessed.member.instance.launched_at)
    return age, -slot, name, id_  # of machines launched at once the low numbers stay


def victims(
    candidates: Sequence[Assessed],
    present: Iterable[Assessed],
    by_age: Callable[[Assessed], Age],
) -> list[Assessed]:
    """Order candidates: worst condition, then outdated, then from the fullest zone, then by age.

    Taking any number from the front leaves the zones of `present` as even as conditions allow.
    """
    in_zone = Counter(assessed.member.instance.zone for assessed in present)
    by_rank: dict[tuple[int, bool], list[Assessed]] = defaultdict(list)
    for candidate in candidates:
        by_rank[_rank(candidate)].append(candidate)
    ordered: list[Assessed] = []
    for rank in sorted(by_rank):
        left = dict(in_zone)
        level: list[tuple[int, Age, Assessed]] = []
        for age, candidate in sorted(((by_age(c), c) for c in by_rank[rank]), key=itemgetter(0)):
            zone = candidate.member.instance.zone
            level.append((-left[zone], age, candidate))
            left[zone] -= 1
        ordered += [candidate for _, _, candidate in sorted(level, key=itemgetter(0, 1))]
        in_zone.subtract(candidate.member.instance.zone for candidate in by_rank[rank])
    return ordered


def free_slots(snapshot: Snapshot) -> Iterator[int]:
    """Yield numbers, lowest first, that no present and no coming machine holds."""
    taken = {member.slot for member in snapshot.members if member.instance.state is not InstanceState.GONE}
    taken |= {coming.slot for coming in snapshot.in_flight}
    number = 0
    while True:
        if str(number) not in taken:
            yield number
        number += 1


def _age(assessed: Assessed, age: float) -> Age:
    slot = assessed.member.slot
    return age, int(slot) if slot.isdecimal() else 0, slot, assessed.member.id


def _rank(assessed: Assessed) -> tuple[int, bool]:
    return _WORST_FIRST[assessed.condition], assessed.version is Version.CURRENT
