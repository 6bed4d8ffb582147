"""What is asked for, read and put together: which machines one call can make. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.instance_body import made_alone
from infrakit_providers.gcp.launching import Launch, is_numbered
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.published import reference_of
from infrakit_providers.gcp.tickets import Ticket
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.spi.provider import ProvisionRequest


def machine_of(request: ProvisionRequest) -> Machine:
    """Read a request's machine. ImageMissing for an image that nobody has built yet."""
    if not request.image.is_built:
        raise ImageMissing(f"{request.name}: image {request.image.name} is not built yet")
    try:
        return Machine.model_validate(dict(request.machine))
    except ValidationError as exc:
        raise ProviderError(f"{request.name}: not a machine of Compute Engine: {exc.errors()[0]['msg']}") from exc


def launches_of(coming: Sequence[tuple[ProvisionRequest, Machine, Ticket]]) -> Iterator[Launch]:
    """Put those together that one call can make: all parameters and all labels are the same."""
    by_call: dict[tuple[object, ...], Launch] = {}
    for request, machine, ticket in coming:
        alone = "" if is_numbered(request) and not made_alone(machine) else request.token
        common = tuple(sorted(labels.shared(request.tags).items()))
        key = (ticket, alone, reference_of(request.image), request.user_data, repr(request.machine), common)
        known = by_call.get(key)
        by_call[key] = (
            replace(known, requests=(*known.requests, request)) if known else Launch(ticket, machine, (request,))
        )
    yield from by_call.values()
