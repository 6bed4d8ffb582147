"""What lasts: how this cloud is by its settings, and what has gone wrong with it since. The latter are rows, so that
all processes share it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Connection
from typing import NamedTuple

from infrakit_providers.simulated.settings import SimSettings, ZoneCapacity


class Lasting(StrEnum):
    """What can be wrong until somebody ends it."""

    NEVER_BOOT = "never-boot"
    SLOW_BOOT = "slow-boot"
    SLOW_LISTING = "slow-listing"
    SICK_IMAGE = "sick-image"
    NO_CAPACITY = "no-capacity"
    QUOTA = "quota"


class Condition(NamedTuple):
    """One thing that is wrong with what the target names, or with everything where it is empty."""

    kind: Lasting
    amount: float
    target: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """All of it together; what went wrong wins over the settings."""

    zones: Mapping[str, ZoneCapacity]
    quota: int | None
    listing_lag: float
    sick_images: tuple[str, ...]
    boot_factors: Mapping[str, float]
    """How many times as long boots take, by target."""
    dead_shares: Mapping[str, float]
    """What share of new machines never runs, by target."""


def conditions_of(settings: SimSettings, added: Iterable[Condition]) -> Conditions:
    amounts: dict[Lasting, dict[str, float]] = {kind: {} for kind in Lasting}
    for one in added:
        amounts[one.kind][one.target] = one.amount
    closed, quota = amounts[Lasting.NO_CAPACITY], amounts[Lasting.QUOTA].get("")
    return Conditions(
        zones={zone: 0 if zone in closed or "" in closed else room for zone, room in settings.zones.items()},
        quota=settings.quota if quota is None else int(quota),
        listing_lag=amounts[Lasting.SLOW_LISTING].get("", settings.listing_lag),
        sick_images=(*settings.sick_images, *amounts[Lasting.SICK_IMAGE]),
        boot_factors=amounts[Lasting.SLOW_BOOT],
        dead_shares=amounts[Lasting.NEVER_BOOT],
    )


def worst(amounts: Mapping[str, float], targets: Iterable[str], *, otherwise: float) -> float:
    """Return the greatest amount for any of the targets or for everything."""
    if not amounts:
        return otherwise
    return max((amounts[target] for target in ("", *targets) if target in amounts), default=otherwise)


def imposed(rows: Connection) -> list[Condition]:
    """Return what is wrong."""
    found = rows.execute("SELECT kind, amount, target FROM conditions ORDER BY kind, target")
    return [Condition(Lasting(kind), amount, target) for kind, amount, target in found]


def impose(rows: Connection, condition: Condition) -> None:
    rows.execute("REPLACE INTO conditions VALUES (?, ?, ?)", condition)


def lift(rows: Connection, kind: Lasting | None) -> None:
    """End what is wrong, of one kind or all of it."""
    rows.execute("DELETE FROM conditions WHERE ?1 IS NULL OR kind = ?1", (kind,))
