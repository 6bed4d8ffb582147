"""What is written down of a launch before it is asked for, so that a crash does not make it another launch. Pure.

EC2 tells a repetition by the client token, and minds every parameter. So a ticket holds all that was chosen: type,
subnet, market, and the places of all machines of the call.
"""

import hashlib
import json
from dataclasses import dataclass

from infrakit_providers.aws.places import Place, read, written
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.provider import ProvisionRequest


@dataclass(frozen=True, slots=True)
class Ticket:
    """One call. `places` are those of all its machines in order; none where it makes a single machine."""

    type: str
    zone: str
    subnet_id: str
    spot: bool = False
    places: tuple[Place, ...] = ()

    @property
    def text(self) -> str:
        parts = [self.type, self.zone, self.subnet_id, "spot" if self.spot else "on-demand", written(self.places)]
        return json.dumps(parts, separators=(",", ":"))

    @property
    def count(self) -> int:
        return len(self.places) or 1

    def client_token(self, request: ProvisionRequest) -> str:
        """Return the 64 characters that stand for this call of a request, or of all requests that it was made for."""
        who = f"{request.tags.get(tags.CLUSTER)}/{request.tags.get(tags.GROUP)}" if self.places else request.token
        return hashlib.sha256(f"{who} {self.text}".encode()).hexdigest()

    def index(self, request: ProvisionRequest) -> int:
        """Return which of the call's machines a request's is. ProviderError where it is none of them."""
        if not self.places:
            return 0
        try:
            return self.places.index(place_of(request))
        except ValueError as exc:
            raise ProviderError(f"{request.name}: its ticket was made for other machines") from exc


def read_ticket(text: str) -> Ticket:
    """Read a ticket's text. ProviderError for what is none."""
    try:
        type_, zone, subnet_id, market, places = json.loads(text)
        return Ticket(type_, zone, subnet_id, market == "spot", read(places))
    except (ValueError, TypeError) as exc:
        raise ProviderError(f"aws: not a ticket: {text[:80]!r}") from exc


def place_of(request: ProvisionRequest) -> Place:
    """Return the place of a request for an interchangeable machine."""
    return Place(int(request.tags.get(tags.SLOT, "-1")), tags.incarnation_of(request.tags))
