"""Machines by the names that people call them by, and marks on them."""

import difflib
from collections.abc import Mapping, Sequence
from functools import partial

from infrakit_py.app.workbench import Workbench
from infrakit_py.engine.retry import retrying
from infrakit_py.errors import ProviderError, UsageError
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState, Member
from infrakit_py.spi.provider import TagRequest


def members(bench: Workbench) -> Sequence[Member]:
    """List the machines of the groups that are worked on. ProviderError where a provider cannot be asked."""
    found: list[Member] = []
    for name, provider in bench.cluster.providers.items():
        describe = partial(provider.describe, bench.spec.name)
        found += [
            Member(instance, name)
            for instance in retrying(bench.clock, bench.chance, describe)
            if tags.owned_by(instance.tags, bench.spec.name)
            and instance.tags[tags.GROUP] in bench.cluster.groups
            and instance.state not in (InstanceState.LEAVING, InstanceState.GONE)
        ]
    return found


def named(cluster: str, there: Sequence[Member], wanted: Sequence[str]) -> list[Member]:
    """Find machines by name or instance id. UsageError for what is not there, or is called so twice."""
    found: dict[tuple[str, str], Member] = {}
    for name in wanted:
        fitting = [m for m in there if m.id == name] or [m for m in there if m.name == name]
        if not fitting:
            raise UsageError(f"cluster {cluster} has no machine {name!r}", hint=_near(name, there))
        if len(fitting) > 1:
            which = ", ".join(f"{m.id} of group {m.instance.tags[tags.GROUP]} on {m.provider}" for m in fitting)
            raise UsageError(
                f"more than one machine is called {name!r}: {which}", hint="name it by its id, or use --group"
            )
        found[fitting[0].provider, fitting[0].id] = fitting[0]
    return list(found.values())


def mark(
    bench: Workbench, chosen: Sequence[Member], set_tags: Mapping[str, str], remove_tags: tuple[str, ...] = ()
) -> Sequence[ProviderError | None]:
    """Set and remove tags on machines. Return, for each, why it could not be done."""
    errors: dict[tuple[str, str], ProviderError | None] = {}
    for name, provider in bench.cluster.providers.items():
        mine = [m for m in chosen if m.provider == name]
        size = max(1, provider.limits.tag_batch)
        for batch in (mine[i : i + size] for i in range(0, len(mine), size)):
            requests = [
                TagRequest(m.id, bench.spec.name, set_tags, remove_tags, m.instance.tags[tags.GROUP]) for m in batch
            ]
            outcomes = retrying(bench.clock, bench.chance, partial(provider.tag, requests))
            for member, outcome in zip(batch, outcomes, strict=True):
                errors[name, member.id] = outcome.error
    return [errors[m.provider, m.id] for m in chosen]


def _near(name: str, there: Sequence[Member]) -> str:
    known = sorted({m.name for m in there})
    near = difflib.get_close_matches(name, [*known, *(m.id for m in there)], 3, 0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if not known:
        return "it has no machines"
    return f"there are {', '.join(known[:5])}" + (f" and {len(known) - 5} more" if len(known) > 5 else "")
