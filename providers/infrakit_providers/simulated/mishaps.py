"""What may go wrong with a simulated cloud on purpose, by name: for rehearsals, for simulations, for the curious.

Of the machines that a target names, the seed says which are struck, so the same mishap strikes the same machines.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Final, NamedTuple, assert_never

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.conditions import Condition, Lasting
from infrakit_providers.simulated.faults import READS, Fault
from infrakit_providers.simulated.machines import Machine, Row, died
from infrakit_providers.simulated.settings import draw
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.tags import GROUP

MISHAPS: Final[Mapping[str, str]] = {
    "kill": "AMOUNT machines of TARGET (a group, zone, host, name or id; empty for any) die now",
    "sicken": "AMOUNT machines of TARGET answer no health check any more",
    "impair": "AMOUNT machines of TARGET are reported as broken by the cloud itself",
    "flap": "all machines of TARGET are sick and well by turns, each time for AMOUNT seconds",
    "throttle": "the next AMOUNT changing calls (of kind TARGET, or any) are over the limit",
    "lost-reply": "the next AMOUNT calls of kind TARGET (empty: provision) do their work, and the answer is lost",
    "partial-view": "the next AMOUNT listings fail, because a zone does not answer",
    Lasting.NEVER_BOOT: "a share of AMOUNT of the new machines of TARGET (a group, zone or name) never runs",
    Lasting.SLOW_BOOT: "new machines of TARGET take AMOUNT times as long to boot",
    Lasting.SLOW_LISTING: "new machines are listed AMOUNT seconds late",
    Lasting.SICK_IMAGE: "no machine of image TARGET (name, reference, or first digits of the identity) is healthy",
    Lasting.NO_CAPACITY: "zone TARGET (every zone, if empty) gives no more machines",
    Lasting.QUOTA: "the account may have AMOUNT machines and no more",
    "relief": f"what lasts ({', '.join(Lasting)}) is over, or of that only TARGET",
}
IMPAIRED: Final = "status check failed (simulated)"


class _Strike(NamedTuple):
    """What happens to a machine, and which it cannot happen to because they are so already."""

    change: Callable[[Row, float], Row]
    spares: Callable[[Machine], bool]


_STRIKES: Final[Mapping[str, _Strike]] = {
    "kill": _Strike(lambda row, now: died(row, now, "killed (simulated)"), lambda _: False),
    "sicken": _Strike(lambda row, now: row._replace(sick_since=now, flaps=0.0), lambda machine: machine.sick),
    "impair": _Strike(lambda row, _: row._replace(impaired=IMPAIRED), lambda machine: machine.impaired != ""),
}


def befall(cloud: SimCloud, kind: str, amount: float, target: str) -> None:
    """Let something go wrong. ProviderError for what is not among MISHAPS, an amount that cannot be, no machine."""
    if kind not in MISHAPS:
        raise ProviderError(f"no mishap {kind!r}", hint=f"there are {', '.join(MISHAPS)}")
    match kind:
        case "kill" | "sicken" | "impair":
            strike, count = _STRIKES[kind], _times(kind, amount)
            victims = _struck(cloud, kind, target, strike.spares)
            victims.sort(key=lambda machine_id: draw(cloud.settings.seed, kind, machine_id))
            cloud.interfere(victims[:count], strike.change)
        case "flap":
            seconds = _within(kind, amount, above=0.0)
            struck = _struck(cloud, kind, target, lambda _: False)
            cloud.interfere(struck, lambda row, now: row._replace(sick_since=now, flaps=seconds))
        case "throttle":
            cloud.fail(_changing(kind, target) if target else None, Fault.THROTTLED, _times(kind, amount))
        case "lost-reply":
            cloud.fail(_changing(kind, target or Call.PROVISION), Fault.LOST_REPLY, _times(kind, amount))
        case "partial-view":
            cloud.fail(Call.DESCRIBE, Fault.INCOMPLETE_VIEW, _times(kind, amount))
        case "relief":
            cloud.lift(_lasting(target) if target else None)
        case _:
            cloud.impose(_condition(_lasting(kind), amount, target))


def _struck(cloud: SimCloud, kind: str, target: str, spares: Callable[[Machine], bool]) -> list[str]:
    """Return the machines of a target that are on their way or there, and that can be struck."""
    alive = [one for one in cloud.everything() if one.state in (InstanceState.PENDING, InstanceState.RUNNING)]
    struck = [
        one.id
        for one in alive
        if not spares(one) and target in ("", one.tags.get(GROUP), one.zone, one.host, one.name, one.id)
    ]
    if not struck:
        raise ProviderError(f"{kind}: no machine" + (f" of {target!r}" if target else "") + " that it could strike")
    return struck


def _condition(kind: Lasting, amount: float, target: str) -> Condition:
    match kind:
        case Lasting.NEVER_BOOT:
            amount = _within(kind, amount, at_most=1.0)
        case Lasting.SLOW_BOOT | Lasting.SLOW_LISTING | Lasting.QUOTA:
            amount = _within(kind, amount)
        case Lasting.SICK_IMAGE if not target:
            raise ProviderError(f"{kind}: say which image")
        case Lasting.SICK_IMAGE | Lasting.NO_CAPACITY:
            pass
        case _ as never:
            assert_never(never)
    if target and kind in (Lasting.SLOW_LISTING, Lasting.QUOTA):
        raise ProviderError(f"{kind}: is of the whole cloud, not of {target!r}")
    return Condition(kind, amount, target)


def _lasting(kind: str) -> Lasting:
    try:
        return Lasting(kind)
    except ValueError as exc:
        raise ProviderError(f"no mishap {kind!r} that lasts", hint=f"there are {', '.join(Lasting)}") from exc


def _changing(kind: str, target: str) -> Call:
    changing = [call for call in Call if call not in READS]
    if target not in changing:
        raise ProviderError(f"{kind}: {target!r} is no call that changes anything", hint=f"{', '.join(changing)} are")
    return Call(target)


def _times(kind: str, amount: float) -> int:
    if not amount >= 1 or amount % 1:
        raise ProviderError(f"{kind}: cannot happen {amount:g} times")
    return int(amount)


def _within(kind: str, amount: float, *, above: float = -inf, at_most: float = inf) -> float:
    if not max(0.0, above) <= amount <= at_most or amount in (above, inf):
        raise ProviderError(f"{kind}: cannot be {amount:g}")
    return amount
