"""How a machine stands with the load balancers that it is behind, in the words of `Instance`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Standing:
    """All empty: well."""

    lacks: str = ""
    awaits: str = ""
    impaired: str = ""


FINE: Final = Standing()


def joined(standings: Sequence[Standing]) -> Standing:
    """Return how a machine stands with all of its load balancers."""
    return Standing(
        lacks="; ".join(one.lacks for one in standings if one.lacks),
        awaits="; ".join(one.awaits for one in standings if one.awaits),
        impaired="; ".join(one.impaired for one in standings if one.impaired),
    )
