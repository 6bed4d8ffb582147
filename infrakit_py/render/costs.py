"""What machines cost an hour, now and once all is as planned: sums of what providers were told, and no guesses."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Final

from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState, Member
from infrakit_py.model.spec import GroupSpec, Json
from infrakit_py.render.words import counted
from infrakit_py.spi.provider import Priced, Provider

_TYPE: Final = "type"
"""The fact by which providers tell what kind of machine an instance is."""
_UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of machines whose price is not: their group, and their type where the provider tells it."""

    group: str
    type: str = ""

    @property
    def words(self) -> str:
        return self.type or f"group {self.group}"


@dataclass(frozen=True, slots=True)
class Sum:
    """A price of some machines. `unknown`: those that are not in it; without any price at all there is no amount."""

    amount: float | None
    unknown: Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What machines cost an hour in one currency, and who says so.

    Either sum is None where nobody asked for it, or machines cannot be seen.
    """

    currency: str
    sources: tuple[str, ...]
    now: Sum | None = None
    then: Sum | None = None


def priced(providers: Mapping[str, Provider]) -> Mapping[str, Priced]:
    """Return the providers that were told prices. One that has no source was told none."""
    return {name: one for name, one in providers.items() if isinstance(one, Priced) and one.source}


def costs(
    providers: Mapping[str, Provider],
    members: Iterable[Member],
    wanted: Iterable[GroupSpec] | None = None,
    unseen: Iterable[str] = (),
) -> tuple[Cost, ...]:
    """Return what members cost and, where they are given, the machines of wanted groups: for each currency.

    `unseen` names providers whose machines are not all among the members.
    """
    there, groups, blind = list(members), None if wanted is None else list(wanted), set(unseen)
    by_currency: dict[str, dict[str, Priced]] = {}
    for name, provider in priced(providers).items():
        by_currency.setdefault(provider.currency, {})[name] = provider
    return tuple(
        Cost(
            currency,
            tuple(dict.fromkeys(provider.source for provider in ours.values())),
            None if blind & ours.keys() else _of_members(ours, there),
            None if groups is None else _of_groups(ours, groups),
        )
        for currency, ours in by_currency.items()
    )


def cost_lines(found: Iterable[Cost]) -> list[str]:
    """Write a line for each currency: `Cost: 9.60 → 14.40 USD/h (prices.yml)`."""
    return [f"Cost: {_amounts(cost)} {cost.currency}/h ({', '.join(cost.sources)}){_besides(cost)}" for cost in found]


def costs_json(found: Iterable[Cost]) -> list[Json]:
    """Return costs for programs. An amount is null where no price is known."""
    return [
        {
            "now": cost.now.amount if cost.now is not None else None,
            **({"then": cost.then.amount} if cost.then is not None else {}),
            "currency": cost.currency,
            "source": ", ".join(cost.sources),
            "unknown": [
                {"when": when, "machines": count, "group": kind.group, "type": kind.type or None}
                for when, sum_ in (("now", cost.now), ("then", cost.then))
                if sum_ is not None
                for kind, count in sum_.unknown.items()
            ],
        }
        for cost in found
    ]


def _of_members(providers: Mapping[str, Priced], members: Iterable[Member]) -> Sum:
    return _sum(
        (1, _kind_of(member), providers[member.provider].price_of(member.instance))
        for member in members
        if member.provider in providers and member.instance.state is not InstanceState.GONE
    )


def _kind_of(member: Member) -> Kind:
    return Kind(member.instance.tags.get(tags.GROUP, ""), member.instance.facts.get(_TYPE, ""))


def _of_groups(providers: Mapping[str, Priced], groups: Iterable[GroupSpec]) -> Sum:
    return _sum(
        (group.count, Kind(group.name), providers[group.provider].price_of_machines(group.machine, group.count))
        for group in groups
        if group.provider in providers and group.count
    )


def _sum(machines: Iterable[tuple[int, Kind, float | None]]) -> Sum:
    """Add the prices of so many machines of a kind each."""
    known: list[float] = []
    unknown: Counter[Kind] = Counter()
    for count, kind, price in machines:
        if price is None:
            unknown[kind] += count
        else:
            known.append(price)
    amount = round(fsum(known), 6) if known or not unknown else None
    return Sum(amount, dict(unknown))


def _amounts(cost: Cost) -> str:
    now, then = _written(cost.now), _written(cost.then)
    return now if cost.then is None or now == then != _UNKNOWN else f"{now} → {then}"


def _written(sum_: Sum | None) -> str:
    """Write an amount, small ones with more digits."""
    if sum_ is None or sum_.amount is None:
        return _UNKNOWN
    if not 0 < sum_.amount < 1:
        return f"{sum_.amount:.2f}"
    whole, _, digits = f"{sum_.amount:.6f}".partition(".")
    return f"{whole}.{digits.rstrip('0'):<02}"


def _besides(cost: Cost) -> str:
    """Say what the amounts leave out."""
    unseen = "; the machines that are there cannot all be seen" if cost.now is None else ""
    parts: list[str] = []
    for when, sum_ in (("now", cost.now), ("then", cost.then)):
        if sum_ is not None and sum_.unknown:
            count = sum(sum_.unknown.values())
            machines = str(count) if parts else f"{counted(count, 'machine')} of unknown price"
            kinds = ", ".join(dict.fromkeys(kind.words for kind in sum_.unknown))
            parts.append(f"{machines}{f' {when}' if cost.then is not None else ''} ({kinds})")
    return unseen + (f"; {', '.join(parts)}" if parts else "")
