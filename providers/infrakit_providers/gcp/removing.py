"""Deleting instances: one call each, some beside each other, and only what is ours."""

from collections.abc import Mapping, Sequence
from typing import Final

from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.launching import GUARDED
from infrakit_providers.gcp.owned import Coming, found, require_ours
from infrakit_providers.gcp.wire import Sighting
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import DestroyRequest, Outcome

_GOING: Final = frozenset({"DEPROVISIONING"})
_LIFT_SECONDS: Final = 10.0


class Remover:
    """Destroys instances."""

    def __init__(self, caller: Caller, balancers: Balancers, may_come: Coming) -> None:
        self._caller = caller
        self._balancers = balancers
        self._may_come = may_come

    def destroy(self, requests: Sequence[DestroyRequest]) -> list[Outcome]:
        """Destroy instances, and return an outcome for each request. Those that are gone already are fine."""
        known = found(self._caller, [request.instance_id for request in requests])
        coming = self._may_come(one.instance_id for one in requests if one.instance_id not in known)
        errors: dict[InstanceId, ProviderError] = {}
        ours: dict[InstanceId, Sighting] = {}
        for request in requests:
            seen = known.get(request.instance_id)
            try:
                if seen is not None:
                    require_ours(seen, request.cluster, request.group)
                    ours[seen.id] = seen
                elif request.instance_id in coming:
                    raise Transient(f"gcp: {request.instance_id} is still being made")
            except ProviderError as exc:
                errors[request.instance_id] = exc
        errors |= self._leave_balancers(ours)
        going = [seen for id_, seen in ours.items() if id_ not in errors and seen.status not in _GOING]
        for seen, error in zip(going, self._caller.each(self._delete, going), strict=True):
            if error is not None and not isinstance(error, NotThere):
                errors[seen.id] = error
        return [Outcome(one.instance_id, errors.get(one.instance_id)) for one in requests]

    def _leave_balancers(self, instances: Mapping[InstanceId, Sighting]) -> dict[InstanceId, ProviderError]:
        """Take instances out of their load balancers, which would send them work until they are gone."""
        behind = {seen.id: groups for seen in instances.values() if (groups := self._balancers.behind(seen.labels))}
        return dict(self._balancers.deregister(behind)) if behind else {}

    def _delete(self, seen: Sighting) -> None:
        """Delete one. A deletion that is under way already is as good."""
        if seen.guarded and GUARDED in seen.labels:
            doing = f"lift the deletion protection of {seen.id}"
            lifted = self._caller.act(
                "instances",
                "set_deletion_protection",
                doing,
                zone=seen.zone,
                resource=seen.name,
                deletion_protection=False,
            )
            self._caller.finish(lifted, doing, within_seconds=_LIFT_SECONDS)
        try:
            self._caller.act("instances", "delete", f"delete {seen.id}", zone=seen.zone, instance=seen.name)
        except Transient as exc:
            if not _is_being_deleted(exc):
                raise


def _is_being_deleted(error: ProviderError) -> bool:
    return "resourceNotReady" in str(error)
