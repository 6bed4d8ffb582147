"""Where a group stands, as everybody is told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from infrakit_py.model.plan import GroupPlan


class Phase(StrEnum):
    WORKING = "working"
    CONVERGED = "converged"
    BLOCKED = "blocked"
    STOPPED = "stopped"
    """Its rollout waits for a person."""
    ROLLED_BACK = "rolled back"
    """All is well, with the version before the declared one."""
    FAILED = "failed"


AT_REST: Final = (Phase.CONVERGED, Phase.ROLLED_BACK, Phase.STOPPED)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Where a group stands. `reason` says why it is blocked or failed, or what it waits for."""

    phase: Phase
    reason: str = ""
    hint: str = ""
    plan: GroupPlan | None = None


def is_bad(phase: Phase) -> bool:
    return phase in (Phase.BLOCKED, Phase.FAILED)
