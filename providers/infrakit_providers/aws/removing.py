"""TerminateInstances: in batches by zone, and without those that would spoil the batch for all others."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infrakit_providers.aws.balancers import Balancers
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.faults import ids_in
from infrakit_providers.aws.owned import found, require_ours
from infrakit_providers.aws.places import PERSISTENT, PROTECTED
from infrakit_providers.aws.wire import raw_tags, target_groups
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import DestroyRequest, Outcome

_GOING: Final = ("shutting-down", "terminated")


class Remover:
    """Destroys instances."""

    def __init__(self, caller: Caller, balancers: Balancers, is_new: Callable[[str], bool]) -> None:
        """`is_new` tells whether EC2 may not know an instance only because it is so young."""
        self._caller = caller
        self._balancers = balancers
        self._is_new = is_new

    def destroy(self, requests: Sequence[DestroyRequest]) -> list[Outcome]:
        """Destroy instances, and return an outcome for each request. Those that are gone already are fine."""
        known = found(self._caller, [request.instance_id for request in requests])
        errors: dict[str, ProviderError] = {}
        by_zone: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for request in requests:
            raw = known.get(request.instance_id)
            if raw is None and self._is_new(request.instance_id):
                errors[request.instance_id] = Transient(f"aws: EC2 does not know {request.instance_id} yet")
                continue
            if raw is None or raw["State"]["Name"] in _GOING:
                continue
            try:
                require_ours(raw, request.cluster, request.group)
                by_zone[raw["Placement"]["AvailabilityZone"]][request.instance_id] = raw
            except ProviderError as exc:
                errors[request.instance_id] = exc
        for zone, instances in sorted(by_zone.items()):
            errors |= self._leave_balancers(instances)
            errors |= self._let_go({id_: raw for id_, raw in instances.items() if id_ not in errors})
            errors |= self._terminate(zone, [id_ for id_ in instances if id_ not in errors])
        return [Outcome(one.instance_id, errors.get(one.instance_id)) for one in requests]

    def _leave_balancers(self, instances: Mapping[str, Any]) -> Mapping[str, ProviderError]:
        """Take instances out of their target groups: EC2 would do it in the end, and send them work until then."""
        behind = {id_: groups for id_, raw in instances.items() if (groups := target_groups(raw))}
        return self._balancers.deregister(behind) if behind else {}

    def _let_go(self, instances: Mapping[str, Any]) -> Mapping[str, ProviderError]:
        """Undo what was asked for with the machines, and would keep them or bring them back."""
        errors: dict[str, ProviderError] = {}
        for id_, raw in instances.items():
            held = raw_tags(raw)
            try:
                if PERSISTENT in held and (request := raw.get("SpotInstanceRequestId")):
                    self._caller.act(
                        Kind.MUTATE,
                        "ec2",
                        "cancel_spot_instance_requests",
                        f"cancel the spot request of {id_}",
                        SpotInstanceRequestIds=[request],
                    )
                if PROTECTED in held:
                    self._caller.act(
                        Kind.MUTATE,
                        "ec2",
                        "modify_instance_attribute",
                        f"lift the termination protection of {id_}",
                        InstanceId=id_,
                        DisableApiTermination={"Value": False},
                    )
            except ProviderError as exc:
                errors[id_] = exc
        return errors

    def _terminate(self, zone: str, ids: Sequence[str]) -> dict[str, ProviderError]:
        """Terminate the instances of a zone. EC2 refuses all of them for one that is protected or unknown."""
        left, errors = list(ids), dict[str, ProviderError]()
        while left:
            try:
                doing = f"terminate {left[0]}" + (f" and {len(left) - 1} more in {zone}" if left[1:] else "")
                self._caller.act(Kind.TERMINATE, "ec2", "terminate_instances", doing, InstanceIds=left)
                break
            except ProviderError as exc:
                named = ids_in(exc.__cause__ or exc).intersection(left)
                if exc.retryable or len(left) == 1 or len(named) == len(left):
                    return errors | dict.fromkeys(left, exc)
                if not named:  # it does not say whose fault it is: let each answer for itself
                    for id_ in left:
                        errors |= self._terminate(zone, [id_])
                    break
                for id_ in named:
                    errors |= self._terminate(zone, [id_])
                left = [id_ for id_ in left if id_ not in named]
        return {id_: error for id_, error in errors.items() if not _is_unknown(error)}


def _is_unknown(error: ProviderError) -> bool:
    return "InvalidInstanceID.NotFound" in str(error)
