"""Operations: what Compute Engine accepted, and what became of it. Pure but for the looking.

The SDK's own way to wait is not used: it forgets the endpoint, and all it knows is lost with the process. An
operation is its name and scope, and a look at it says how it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_DONE: Final = "DONE"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it was last seen. `zone` and `region` are empty for global ones.

    `failed` counts the machines of a bulkInsert that were not made, although the operation as a whole may be well.
    """

    name: str
    zone: str = ""
    region: str = ""
    done: bool = False
    status: int = 0
    errors: tuple[tuple[str, str], ...] = ()
    target: str = ""
    group_id: str = ""
    kind: str = ""
    failed: int = 0
    began: float = 0.0
    """When it was accepted, in Unix time."""

    @property
    def ended_badly(self) -> bool:
        return self.done and bool(self.errors or self.status >= 400)

    @property
    def look(self) -> tuple[str, Mapping[str, str]]:
        """Return the service and the parameters of a look at it."""
        if self.zone:
            return "zone_operations", {"zone": self.zone, "operation": self.name}
        if self.region:
            return "region_operations", {"region": self.region, "operation": self.name}
        return "global_operations", {"operation": self.name}


def read_operation(raw: Any) -> Operation:
    """Read an operation as the SDK gives it."""
    status = raw.status if isinstance(raw.status, str) else raw.status.name
    bulk = raw.instances_bulk_insert_operation_metadata
    failed = sum(one.failed_to_create_vm_count for one in bulk.per_location_status.values()) if bulk else 0
    return Operation(
        name=raw.name,
        zone=last(raw.zone),
        region=last(raw.region),
        done=status == _DONE,
        status=raw.http_error_status_code,
        errors=tuple((one.code, one.message) for one in raw.error.errors) if raw.error else (),
        target=last(raw.target_link),
        group_id=raw.operation_group_id,
        kind=raw.operation_type,
        failed=failed,
        began=time_of(raw.insert_time),
    )


def time_of(text: str) -> float:
    """Read RFC 3339 as Unix time; 0 where there is none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def last(url: str) -> str:
    """Return the last part of a URL, which is the thing's name."""
    return url.rpartition("/")[2]
