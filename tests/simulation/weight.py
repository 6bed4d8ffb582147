"""How much a program remembers: all objects that can be reached from what it keeps, and none of the world's."""

import gc
from collections import Counter
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType

_NOT_ITS_OWN = ("tests.", "infrakit_providers.")
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)


def weigh(roots: Iterable[object]) -> Mapping[str, int]:
    """Count what can be reached, by the names of types. What plays the world is passed over, but for the roots."""
    counted: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = list(roots)
    for root in waiting:
        seen.add(id(root))
    while waiting:
        one = waiting.pop()
        counted[type(one).__name__] += 1
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, _SHARED) and _is_its_own(other):
                seen.add(id(other))
                waiting.append(other)
    return counted


def _is_its_own(one: object) -> bool:
    return not type(one).__module__.startswith(_NOT_ITS_OWN)
