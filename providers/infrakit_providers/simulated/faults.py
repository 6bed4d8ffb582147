"""Makes calls fail: at a rate drawn from the seed, or the next few of a kind because somebody asked for it.

Orders are rows like everything else, so a person at another terminal can make a running program's calls fail.
"""

import sqlite3
from enum import StrEnum
from typing import Final

from infrakit_providers.simulated.buckets import Call, take_ec2
from infrakit_providers.simulated.database import Database
from infrakit_providers.simulated.settings import SimSettings, draw
from infrakit_py.errors import IncompleteView, NoCapacity, ProviderError, QuotaExceeded, Throttled, Transient


class Fault(StrEnum):
    """How a call fails."""

    TRANSIENT = "transient"
    """A time-out; nothing was done."""
    THROTTLED = "throttled"
    CAPACITY = "capacity"
    """For each machine asked for: there is none."""
    QUOTA = "quota"
    """For each machine asked for: the account may not have it."""
    INCOMPLETE_VIEW = "incomplete-view"
    """A zone does not answer, so a listing cannot be complete."""
    LOST_REPLY = "lost-reply"
    """A time-out; everything was done."""
    CUT_SHORT = "cut-short"
    """A time-out; machines were begun and not finished."""


READS: Final = frozenset({Call.DESCRIBE, Call.LOOKUP, Call.PUBLISHED, Call.LEFTOVERS, Call.PROBE})
_ANY_CHANGE: Final = ""


class Gate:
    """What each call of the cloud passes first."""

    def __init__(self, database: Database, settings: SimSettings) -> None:
        self._database = database
        self._settings = settings
        self._limited = settings.limits == "ec2"
        self._ordered: frozenset[str] = frozenset()
        self._ordered_at: int | None = None

    def order(self, call: Call | None, fault: Fault, times: int) -> None:
        """Make the next calls of a kind fail, or of all that change something, after those already ordered."""
        if times < 1:
            raise ProviderError(f"cannot fail {times} times")
        if fault in (Fault.CAPACITY, Fault.QUOTA, Fault.CUT_SHORT) and call is not Call.PROVISION:
            raise ProviderError(f"only provision can fail with {fault}, not {call or 'any change'}")
        if fault is Fault.INCOMPLETE_VIEW and call not in READS:
            raise ProviderError(f"{call or 'any change'} changes something, so it cannot fail with {fault}")
        with self._database.write() as rows:
            rows.execute("INSERT INTO faults VALUES (?, ?, ?)", (call or _ANY_CHANGE, fault, times))
            self._ordered_at = None

    def enter(self, call: Call, machines: int, now: float) -> Fault | None:
        """Let a call in, or raise. Return how it must end where that is for the call itself to bring about."""
        fault = self._fault(call, machines, now)
        match fault:
            case Fault.TRANSIENT:
                raise Transient(f"{call}: timed out (simulated)")
            case Fault.THROTTLED:
                raise Throttled(f"{call}: over the limit (simulated)")
            case Fault.INCOMPLETE_VIEW:
                raise IncompleteView(f"{call}: a zone does not answer (simulated)")
            case _:
                return fault

    def _fault(self, call: Call, machines: int, now: float) -> Fault | None:
        rate = self._settings.failure_rate
        if not (rate or self._limited or self._is_ordered(call)):
            return None
        with self._database.write() as rows:
            self._ordered_at = None
            if self._limited:
                take_ec2(rows, call, machines, now)
            return _next_ordered(rows, call) or (self._drawn(rows, call, rate) if rate else None)

    def _is_ordered(self, call: Call) -> bool:
        others = self._database.others()
        if others != self._ordered_at:
            with self._database.read() as rows:
                self._ordered = frozenset(call for (call,) in rows.execute("SELECT call FROM faults"))
                self._ordered_at = others
        return bool(self._ordered) and (call in self._ordered or (_ANY_CHANGE in self._ordered and call not in READS))

    def _drawn(self, rows: sqlite3.Connection, call: Call, rate: float) -> Fault | None:
        """Let the seed decide. Half of the failing changes fail after they were made."""
        made = rows.execute(
            "INSERT INTO calls VALUES (?, 1) ON CONFLICT DO UPDATE SET made = made + 1 RETURNING made", (call,)
        ).fetchone()[0]
        chance = draw(self._settings.seed, "failure", call, made)
        if chance >= rate:
            return None
        return Fault.LOST_REPLY if chance < rate / 2 and call not in READS else Fault.TRANSIENT


def lost(call: Call) -> Transient:
    """Return the error of a call whose reply never came."""
    return Transient(f"{call}: timed out, and what was done is not known (simulated)")


def refusal(fault: Fault | None) -> ProviderError | None:
    """Return the error that each machine of a call is refused with."""
    match fault:
        case Fault.CAPACITY:
            return NoCapacity("no machine left (simulated)")
        case Fault.QUOTA:
            return QuotaExceeded("the account's limit is reached (simulated)", hint="raise the account's quota")
        case _:
            return None


def _next_ordered(rows: sqlite3.Connection, call: Call) -> Fault | None:
    found = rows.execute(
        "SELECT rowid, error FROM faults WHERE call IN (?, ?) ORDER BY rowid LIMIT 1",
        (call, call if call in READS else _ANY_CHANGE),
    ).fetchone()
    if found is None:
        return None
    rowid, error = found
    rows.execute("UPDATE faults SET times = times - 1 WHERE rowid = ?", (rowid,))
    rows.execute("DELETE FROM faults WHERE times <= 0")
    return Fault(error)
