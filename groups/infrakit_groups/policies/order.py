"""Who is older: the same order every time, whatever the listing's."""

from typing import TypeAlias

from infrakit_py.model.plan import Assessed

Age: TypeAlias = tuple[float, int, str, str]
"""Launch time, then slot (numbers by value, names by alphabet), then id."""


def oldest_first(assessed: Assessed) -> Age:
    return _age(assessed, assessed.member.instance.launched_at)


def newest_first(assessed: Assessed) -> Age:
    age, slot, name, id_ = _age(assessed, -assessed.member.instance.launched_at)
    return age, -slot, name, id_  # of machines launched at once the low numbers stay


def _age(assessed: Assessed, age: float) -> Age:
    slot = assessed.member.slot
    return age, int(slot) if slot.isdecimal() else 0, slot, assessed.member.id
