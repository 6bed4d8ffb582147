"""Which of the machines that should go may go now: what the floor of an interchangeable group still allows."""

from collections.abc import Sequence

from infrakit_groups.policies.classify import RUNS
from infrakit_groups.policies.parts import dismiss
from infrakit_groups.policies.roster import CURRENT, EVERY, Roster
from infrakit_py.model.plan import Action, Assessed, Bounds, Cause, Condition, Version


class Leaving:
    """Who goes in this tick, and what the floor still allows.

    `ready` are known to serve; `standing` may serve, and be it only because a health check is wrong about a whole
    group: all that run, but for good ones that are still starting.
    """

    def __init__(self, roster: Roster, bounds: Bounds, *, worn_held: bool) -> None:
        """`worn_held`: machines that are merely too old are as good as others for now."""
        self._desired = roster.desired
        good = (*CURRENT, Version.EXPIRED) if worn_held else CURRENT
        self.floor = bounds.floor
        self.ready = roster.count(EVERY, (Condition.READY,))
        self.standing = roster.count(EVERY, RUNS) - roster.count(good, (Condition.STARTING, Condition.UNKNOWN))
        self.actions: list[Action] = []
        self.dismissed: set[str] = set()

    def dismiss(self, victims: Sequence[Assessed], why: str, cause: Cause, *, starting_stand: bool = True) -> int:
        """Dismiss as many of these as the floor allows, and return how many that were.

        Good ones that start are not counted among those that stand, so nothing is lost of it when they go.
        """
        gone = 0
        for victim in victims:
            serves = victim.condition is Condition.READY
            may_serve = serves or victim.condition is Condition.UNKNOWN
            stands = serves or starting_stand
            if (stands and self.standing <= self.floor) or (may_serve and self.ready - serves < self.floor):
                continue
            self.standing -= stands
            self.ready -= serves
            gone += 1
            self.actions.append(dismiss(self._desired, victim, victim.reason or why, cause))
            self.dismissed.add(victim.member.id)
        return gone
