"""Instances by id, and whose they are: looked at just before anything is done to them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.faults import code_of, ids_in
from infrakit_providers.aws.wire import raw_tags
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.tags import CLUSTER, GROUP

_IDS_A_CALL: Final = 500
_UNKNOWN: Final = "InvalidInstanceID.NotFound"


def found(caller: Caller, instance_ids: Sequence[str]) -> dict[str, Any]:
    """Return the instances of these ids that EC2 knows, terminated ones too while it remembers them.

    They are asked for by id, which EC2 knows sooner than its listings show an instance. A call fails as a whole for
    one that is unknown, and names it: the others are asked for again without it.
    """
    known: dict[str, Any] = {}
    ids = list(dict.fromkeys(instance_ids))
    for begin in range(0, len(ids), _IDS_A_CALL):
        left = ids[begin : begin + _IDS_A_CALL]
        while left:
            try:
                answer = caller.ask("ec2", "describe_instances", "look instances up", InstanceIds=left)
            except ProviderError as exc:
                unknown = ids_in(exc.__cause__ or exc).intersection(left)
                if code_of(exc.__cause__ or exc) != _UNKNOWN or not unknown:
                    raise
                left = [id_ for id_ in left if id_ not in unknown]
                continue
            for reservation in answer["Reservations"]:
                known.update((one["InstanceId"], one) for one in reservation["Instances"])
            break
    return known


def require_ours(raw: Mapping[str, Any], cluster: str, group: str | None) -> None:
    """Raise NotOurs unless an instance carries the tags of its owner."""
    held, wanted = raw_tags(raw), {CLUSTER: cluster, **({GROUP: group} if group is not None else {})}
    if lacking := [f"{key}={value}" for key, value in wanted.items() if held.get(key) != value]:
        raise NotOurs(f"aws: instance {raw['InstanceId']} does not carry {', '.join(lacking)}")
