"""What EC2 says of machines besides their state: failed status checks, scheduled events, spot interruptions."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any, Final

from infrakit_providers.aws.calls import Caller
from infrakit_py.spi.provider import Now

EVENTS: Final = ("instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop")
"""Codes of scheduled events. Source: EC2 API, InstanceStatusEvent."""
_OVER: Final = ("[Completed]", "[Canceled]")
"""What EC2 puts before the description of an event that will not happen any more."""
_MARKED: Final = ("marked-for-termination", "marked-for-stop", "marked-for-stop-by-experiment")
_IMPAIRED: Final = "impaired"
_REMEMBERED_SECONDS: Final = 30.0


class Bulletin:
    """The news of a whole region, asked for once in a while for everybody together. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock
        self._lock = Lock()
        self._at: float | None = None
        self._impaired: Mapping[str, str] = {}
        self._doomed: Mapping[str, str] = {}

    def impaired(self) -> Mapping[str, str]:
        """Return which instances fail EC2's own status checks, and which one."""
        self._refresh()
        return self._impaired

    def doomed(self) -> Mapping[str, str]:
        """Return for which instances EC2 has scheduled an event, and what will happen when."""
        self._refresh()
        return self._doomed

    def interrupted(self, spot_ids: Collection[str]) -> Mapping[str, str]:
        """Return which of these spot instances EC2 is about to take away. They have two minutes."""
        if not spot_ids:
            return {}
        filters = [{"Name": "status-code", "Values": list(_MARKED)}]
        found: dict[str, str] = {}
        for page in self._caller.pages(
            "ec2", "describe_spot_instance_requests", "look for spot interruptions", Filters=filters
        ):
            for request in page["SpotInstanceRequests"]:
                code = request.get("Status", {}).get("Code", "")
                if code in _MARKED and request.get("InstanceId") in spot_ids:
                    found[request["InstanceId"]] = f"spot interruption: {code}"
        return found

    def _refresh(self) -> None:
        with self._lock:
            now = self._clock.now()
            if self._at is not None and 0 <= now - self._at < _REMEMBERED_SECONDS:
                return
            doomed = self._statuses("event.code", EVENTS)
            impaired: defaultdict[str, list[str]] = defaultdict(list)
            for check, part in (("instance-status", "InstanceStatus"), ("system-status", "SystemStatus")):
                for status in self._statuses(f"{check}.status", (_IMPAIRED,)):
                    if status.get(part, {}).get("Status") == _IMPAIRED:  # it may have changed since it was chosen
                        impaired[status["InstanceId"]].append(f"EC2's {check.replace('-', ' ')} check fails")
            self._doomed = {s["InstanceId"]: text for s in doomed if (text := _scheduled(s))}
            self._impaired = {id_: "; ".join(failed) for id_, failed in impaired.items()}
            self._at = now

    def _statuses(self, name: str, values: Collection[str]) -> list[Any]:
        pages = self._caller.pages(
            "ec2",
            "describe_instance_status",
            "look for failed status checks and scheduled events",
            Filters=[{"Name": name, "Values": list(values)}],
        )
        return [status for page in pages for status in page["InstanceStatuses"]]


def _scheduled(status: Any) -> str:
    """Say what will happen to an instance, if anything will."""
    for event in status.get("Events", ()):
        if not event.get("Description", "").startswith(_OVER):
            when = event.get("NotBefore")
            return f"{event['Code']} is scheduled" + (f" for {when:%Y-%m-%d %H:%M} UTC" if when else "")
    return ""
