"""What a group's mapping may say beyond its shape: counts, names, healing, and who waits for whom. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from infrakit_py.loading.documents import GroupEntry, HealingEntry
from infrakit_py.loading.fields import MAX_SIZE
from infrakit_py.loading.rollout_rules import Fault, rollout_faults
from infrakit_py.model.quantities import format_duration

_MAX_CYCLES: Final = 10


def group_faults(group: GroupEntry, written: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Fault]:
    """Yield a group's mistakes. `wrong` are those keys of what is `written` that are already known to be bad."""
    if "size" in written and "logical_ids" in written:
        yield Fault((), "has both size and logical_ids; keep one of them")
    elif "size" not in written and "logical_ids" not in written:
        yield Fault((), "needs size (interchangeable machines) or logical_ids (named ones)")
    else:
        yield from _names(written.get("logical_ids"))
        if not {"size", "logical_ids", "rollout"} & set(wrong):
            yield from rollout_faults(group)
    if "healing" not in wrong:
        yield from _healing(group.healing)


def _names(logical_ids: Any) -> Iterator[Fault]:
    if not isinstance(logical_ids, list):
        return
    if not 1 <= len(logical_ids) <= MAX_SIZE:
        yield Fault(("logical_ids",), f"must name 1 to {MAX_SIZE} machines")
    first: dict[str, int] = {}
    for index, logical_id in enumerate(logical_ids):
        if isinstance(logical_id, str) and first.setdefault(logical_id, index) != index:
            yield Fault(("logical_ids", index), f"{logical_id!r} is listed twice")


def _healing(healing: HealingEntry) -> Iterator[Fault]:
    if healing.max_back_off >= healing.back_off:
        return
    if "max_back_off" in healing.model_fields_set:
        told = f"must be at least back_off, which is {format_duration(healing.back_off)}"
        yield Fault(("healing", "max_back_off"), told)
    else:
        told = f"must be at most max_back_off, which is {format_duration(healing.max_back_off)}; raise that as well"
        yield Fault(("healing", "back_off"), told)


def waiting_in_circles(waits_for: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield for each circle a group of it, the next group that this one waits for, and the circle in words."""
    graph = {group: [other for other in others if other in waits_for] for group, others in waits_for.items()}
    order = {group: at for at, group in enumerate(waits_for)}
    for _ in range(_MAX_CYCLES):
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as exc:
            backwards: list[str] = exc.args[1]
        circle = backwards[:0:-1]
        first = circle.index(min(circle, key=order.__getitem__))
        circle = [*circle[first:], *circle[: first + 1]]
        yield circle[0], circle[1], " -> ".join(circle)
        graph[circle[0]] = [other for other in graph[circle[0]] if other != circle[1]]
