"""Tickets: all that was decided about a creation, in one line. Pure.

Names keep machines apart within a zone; that a repetition asks in the same zone is what the ticket is for. Requests
with equal tickets can be made by one call, and the call's `requestId` follows from the ticket and the names.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from infrakit_py.errors import ProviderError

_REQUESTS: Final = UUID("2a9c1a57-41ce-5d0b-9b0e-2f6a2a6d9f10")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where a machine is to be, and of which type. `arranged` tells one decision from the next on the same machine.

    `hopeless`: when it was written, there was no room anywhere. No call is ever made with it.
    """

    type: str
    zone: str
    spot: bool = False
    arranged: str = ""
    hopeless: bool = False

    @property
    def text(self) -> str:
        market = "spot" if self.spot else "standard"
        parts = [self.type, self.zone, market, self.arranged, *(["hopeless"] if self.hopeless else [])]
        return json.dumps(parts, separators=(",", ":"))

    def request_id(self, names: Iterable[str]) -> str:
        """Return the UUID of the call that makes machines of these names."""
        return str(uuid5(_REQUESTS, "\n".join((self.text, *sorted(names)))))


def read_ticket(text: str) -> Ticket:
    """Read a ticket's text. ProviderError for what is none."""
    try:
        type_, zone, market, arranged, *more = json.loads(text)
        return Ticket(type_, zone, market == "spot", arranged, more == ["hopeless"])
    except (ValueError, TypeError) as exc:
        raise ProviderError(f"gcp: not a ticket: {text[:80]!r}") from exc
