"""The resolved integers that every plan of a group keeps to."""

from infrakit_groups.policies.quorum import quorum
from infrakit_py.model.plan import Bounds, Desired
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import Strategy

_DEFAULT_SURGE = Amount(1)
_DEFAULT_UNAVAILABLE = Amount(0)


def resolve(desired: Desired) -> Bounds:
    """Resolve counts and percentages (surge rounds up, unavailable down) as the strategy and the budgets allow."""
    count = desired.count
    if desired.logical_ids is not None:
        surge, unavailable = 0, count - quorum(count)
    else:
        match desired.rollout.strategy:
            case Strategy.ROLLING:
                surge = (desired.rollout.max_surge or _DEFAULT_SURGE).rounded_up(count)
                unavailable = (desired.rollout.max_unavailable or _DEFAULT_UNAVAILABLE).rounded_down(count)
            case Strategy.RECREATE:
                surge, unavailable = 0, count
            case Strategy.BLUE_GREEN:
                surge, unavailable = count, 0
    if desired.allowance is not None:
        unavailable = max(0, min(unavailable, desired.allowance))
    return Bounds(count, surge, unavailable, floor=max(0, count - unavailable))
