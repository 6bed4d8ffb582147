"""What a group's mapping may say beyond its shape: counts, names, rollouts, and who waits for whom. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from infrakit_py.loading.documents import GroupEntry
from infrakit_py.loading.fields import MAX_SIZE
from infrakit_py.loading.yaml_documents import Place
from infrakit_py.model.quantities import Amount

_SURGE_BY_DEFAULT: Final = Amount(1)
_UNAVAILABLE_BY_DEFAULT: Final = Amount(0)
_MAX_CYCLES: Final = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake at `place` below the group; an empty place means the group as a whole."""

    place: Place
    message: str


def group_faults(group: GroupEntry, written: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Fault]:
    """Yield a group's mistakes. `wrong` are those keys of what is `written` that are already known to be bad."""
    if "size" in written and "logical_ids" in written:
        yield Fault((), "has both size and logical_ids; keep one of them")
    elif "size" not in written and "logical_ids" not in written:
        yield Fault((), "needs size (interchangeable machines) or logical_ids (named ones)")
    else:
        yield from _names(written.get("logical_ids"))
        if not {"size", "logical_ids", "rollout"} & set(wrong):
            yield from _rollout(group)


def _names(logical_ids: Any) -> Iterator[Fault]:
    if not isinstance(logical_ids, list):
        return
    if not 1 <= len(logical_ids) <= MAX_SIZE:
        yield Fault(("logical_ids",), f"must name 1 to {MAX_SIZE} machines")
    first: dict[str, int] = {}
    for index, logical_id in enumerate(logical_ids):
        if isinstance(logical_id, str) and first.setdefault(logical_id, index) != index:
            yield Fault(("logical_ids", index), f"{logical_id!r} is listed twice")


def _rollout(group: GroupEntry) -> Iterator[Fault]:
    surge, unavailable = group.rollout.max_surge, group.rollout.max_unavailable
    if group.logical_ids is not None:
        if surge is not None and surge.value:
            yield Fault(("rollout", "max_surge"), "must be 0 for named machines: a name exists only once")
        elif unavailable is not None and not unavailable.rounded_down(len(group.logical_ids)):
            told = f"{unavailable} of {len(group.logical_ids)} machines is 0" if unavailable.percent else "0"
            message = f"{told}: a named machine has to go before its successor can come; allow at least 1"
            yield Fault(("rollout", "max_unavailable"), message)
        return
    size = group.size or 0
    up = surge or _SURGE_BY_DEFAULT
    down = unavailable or _UNAVAILABLE_BY_DEFAULT
    resolved = up.rounded_up(size), down.rounded_down(size)
    if resolved == (0, 0) and (size or not (up.value or down.value)):
        yield Fault(
            ("rollout",),
            f"max_surge {_told(surge, up)} and max_unavailable {_told(unavailable, down)} come to"
            f" {resolved[0]} and {resolved[1]} of {size} machines: nothing could ever be replaced; raise one of them",
        )


def _told(written: Amount | None, amount: Amount) -> str:
    return f"{amount}" if written is not None else f"{amount} (by default)"


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
