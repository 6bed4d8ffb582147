"""What a rollout may say of its group, and the budget of its cluster: nothing that could never go on. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from infrakit_py.loading.documents import ClusterDocument, GroupEntry
from infrakit_py.loading.yaml_documents import Place
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import Strategy

_SURGE_BY_DEFAULT: Final = Amount(1)
_UNAVAILABLE_BY_DEFAULT: Final = Amount(0)
_ROLLING_ONLY: Final = ("max_surge", "max_unavailable", "steps")
_ALL_AT_ONCE: Final = {
    Strategy.RECREATE: "removes all old machines before the first new one",
    Strategy.BLUE_GREEN: "makes all new machines before the first old one goes",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake at `place` below what is looked at; an empty place means all of it."""

    place: Place
    message: str


def rollout_faults(group: GroupEntry) -> Iterator[Fault]:
    """Yield what is wrong with the rollout of a group that has either a size or names."""
    rollout = group.rollout
    if "keep_old" in rollout.model_fields_set and rollout.strategy is not Strategy.BLUE_GREEN:
        yield Fault(("rollout", "keep_old"), f"only blue_green keeps old machines, not {rollout.strategy}")
    if group.logical_ids is not None and rollout.strategy is not Strategy.ROLLING:
        yield Fault(("rollout", "strategy"), "must be rolling for named machines: a name exists only once")
    elif rollout.strategy is not Strategy.ROLLING:
        for key in _ROLLING_ONLY:
            if key in rollout.model_fields_set:
                why = f"{rollout.strategy} {_ALL_AT_ONCE[rollout.strategy]}"
                yield Fault(("rollout", key), f"has no meaning here: {why}; leave it out")
    elif group.logical_ids is not None:
        yield from _room_for_names(group, len(group.logical_ids))
        yield from _steps(rollout.steps, len(group.logical_ids))
    else:
        yield from _room(group, group.size or 0)
        yield from _steps(rollout.steps, group.size or 0)


def budget_faults(document: ClusterDocument) -> Iterator[Fault]:
    """Yield what is wrong with the budget, given that all groups are right."""
    budget = document.budget.max_unavailable
    if budget is None:
        return
    sizes = {name: group.size or len(group.logical_ids or ()) for name, group in document.groups.items()}
    most = budget.rounded_down(sum(sizes.values()))
    for name, group in document.groups.items() if budget.value else ():
        if group.rollout.strategy == Strategy.RECREATE and most < sizes[name]:
            message = f"{budget} lets {most} machines go, and {name} (recreate) lets all its {sizes[name]} go at once"
            yield Fault(("budget", "max_unavailable"), message)
    if budget.value:
        return
    stuck = [name for name, group in document.groups.items() if _goes_before_it_comes(group)]
    if stuck:
        message = f"{budget} lets no machine go, and those of {', '.join(stuck)} go before others come"
        yield Fault(("budget", "max_unavailable"), f"{message}; allow at least 1")


def _goes_before_it_comes(group: GroupEntry) -> bool:
    surge = group.rollout.max_surge or _SURGE_BY_DEFAULT
    return group.logical_ids is not None or group.rollout.strategy is Strategy.RECREATE or surge.value == 0


def _room_for_names(group: GroupEntry, count: int) -> Iterator[Fault]:
    surge, unavailable = group.rollout.max_surge, group.rollout.max_unavailable
    if surge is not None and surge.value:
        yield Fault(("rollout", "max_surge"), "must be 0 for named machines: a name exists only once")
    elif unavailable is not None and not unavailable.rounded_down(count):
        told = f"{unavailable} of {count} machines is 0" if unavailable.percent else "0"
        message = f"{told}: a named machine has to go before its successor can come; allow at least 1"
        yield Fault(("rollout", "max_unavailable"), message)


def _room(group: GroupEntry, size: int) -> Iterator[Fault]:
    surge, unavailable = group.rollout.max_surge, group.rollout.max_unavailable
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


def _steps(steps: Sequence[Amount], count: int) -> Iterator[Fault]:
    """Yield the steps that lead nowhere. Percentages of a small group may come to the same; an empty one has none."""
    for index, step in enumerate(steps):
        if count and not step.percent and step.value > count:
            yield Fault(("rollout", "steps", index), f"{step} is more than the group's {count} machines")
    for index, (before, step) in enumerate(pairwise(steps), start=1):
        if before.percent == step.percent:
            grows = step.value > before.value
        else:
            grows = step.rounded_up(count) >= before.rounded_up(count) or not count
        if not grows:
            told = f"{_resolved(step, count)} after {_resolved(before, count)}"
            yield Fault(("rollout", "steps", index), f"{told} is no step forward: each must be above the one before")


def _resolved(step: Amount, count: int) -> str:
    return f"{step} ({step.rounded_up(count)} of {count} machines)" if step.percent else str(step)
