"""What the kept things of named members have in common: whose they are, by their tags alone, and who holds them.

It knows neither volumes nor interfaces nor addresses apart.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.faults import code_of
from infrakit_providers.aws.places import ADDRESS, DISKS, NAME, PREFIX, gathered, own_tags
from infrakit_py.errors import IncompleteView, NotOurs, ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.provider import ProvisionRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef

KEY: Final = f"{PREFIX}key"
"""On everything that is kept, and on nothing else: the logical id of the member that it belongs to."""

_SPENT: Final = frozenset(
    {"IdempotentParameterMismatch", "InvalidNetworkInterfaceID.NotFound", "InvalidVolume.NotFound"}
)
_MOST_TOKENS: Final = 50
"""How often a thing of one request may be made, deleted by hand and made again while EC2 remembers its tokens."""
_ENDED: Final = ("shutting-down", "terminated")
_THERE: Final = ("pending", "running", "stopping", "stopped", "shutting-down")
_Thing = TypeVar("_Thing")


class Member(NamedTuple):
    """Whose a kept thing is."""

    cluster: str
    group: str
    key: str

    @property
    def name(self) -> str:
        """What EC2's console shows, like a machine's own name."""
        return f"{self.cluster}/{self.key}"


def member_of(request: ProvisionRequest) -> Member:
    """Return the member that a request is for. ProviderError for an interchangeable machine."""
    if request.data_key is None:
        raise ProviderError(
            f"{request.name}: only a named machine keeps disks, addresses and interfaces",
            hint="use logical_ids, not size",
        )
    return Member(request.tags[tags.CLUSTER], request.tags[tags.GROUP], request.data_key)


def of_cluster(cluster: str, mark: str = KEY) -> "list[FilterTypeDef]":
    """Return the filters that let through a cluster's things which carry the tag `mark`."""
    return [tagged(tags.CLUSTER, cluster), {"Name": "tag-key", "Values": [mark]}]


def of_member(member: Member, mark: str = KEY) -> "list[FilterTypeDef]":
    """Return the filters that let through a member's things which carry the tag `mark`."""
    return [*of_cluster(member.cluster, mark), tagged(tags.GROUP, member.group), tagged(KEY, member.key)]


def tagged(key: str, value: str) -> "FilterTypeDef":
    """Return the filter of a tag's value, in which EC2 shall see no wildcard."""
    return {"Name": f"tag:{key}", "Values": [re.sub(r"([*?\\])", r"\\\1", value)]}


def tags_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of anything that EC2 described."""
    return {one["Key"]: one["Value"] for one in raw.get("Tags") or raw.get("TagSet") or ()}


def is_of(member: Member, held: Mapping[str, str]) -> bool:
    """Tell whether tags say that a thing is a member's. A missing one never does."""
    return (held.get(tags.CLUSTER), held.get(tags.GROUP), held.get(KEY)) == member


def check_ours(cluster: str, held: Mapping[str, str], what: str) -> None:
    """Raise NotOurs unless tags say that a thing is kept for a member of the cluster."""
    if not tags.owned_by(held, cluster) or KEY not in held:
        raise NotOurs(f"aws: {what} is nothing that cluster {cluster} keeps")


def tag_specification(
    resource: str, member: Member, user: Mapping[str, str], own: Mapping[str, str] | None = None
) -> "TagSpecificationTypeDef":
    """Return the tags with which a thing is made: ours win over the user's, but for its `Name`."""
    owner = {tags.CLUSTER: member.cluster, tags.GROUP: member.group, KEY: member.key}
    written = {NAME: member.name, **user, **owner, **(own or {})}
    return {
        "ResourceType": resource,  # type: ignore[typeddict-item]  # text here, a Literal there
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(written.items())],
    }


def made_once(
    request: ProvisionRequest, what: str, make: Callable[[str], _Thing], look: Callable[[], _Thing | None]
) -> _Thing:
    """Make a thing of a request with a client token, so that everybody who makes it at the same time makes one.

    EC2 answers a token whose thing was deleted, or was made with other parameters, by a mismatch. A thing that is
    there then is taken as it is. Else the token is spent, and the next one is tried; all who count from the first
    come to the same one.
    """
    for attempt in range(_MOST_TOKENS):
        try:
            return make(sha256(f"{request.token}/{what}/{attempt}".encode()).hexdigest())
        except ProviderError as exc:
            if vendor_code(exc) not in _SPENT:
                raise
            found = look()
            if found is not None:
                return found
    raise ProviderError(
        f"{request.name}: {what} was made and deleted {_MOST_TOKENS} times, and EC2 remembers it",
        hint="try again when a day has passed, or give the machine another name",
    )


Promises = Mapping[tuple[str, str, str], str]
"""Which live machine shall have something that it may not have yet: by group, key, and disk (or the empty string for
the address), the id of the instance. What is promised is in use.
"""


def promises(caller: Caller, cluster: str, new: Collection[str] = ()) -> Promises:
    """Return what the tags of a cluster's machines promise them, until they are gone.

    `new` are instances so new that listings may miss them. IncompleteView for one that even by its id is not known.
    """
    filters = [
        tagged(tags.CLUSTER, cluster),
        {"Name": "tag-key", "Values": [DISKS, ADDRESS]},
        {"Name": "instance-state-name", "Values": list(_THERE)},
    ]
    pages = caller.pages("ec2", "describe_instances", f"list the machines of {cluster}", Filters=filters)
    found = {raw["InstanceId"]: raw for page in pages for raw in _instances(page)}
    for instance_id in new:
        if instance_id not in found:
            raw = _instance(caller, instance_id)
            if raw is None:
                raise IncompleteView(f"aws: cannot tell yet what {instance_id} is to get of what {cluster} keeps")
            if raw["State"]["Name"] in _THERE:
                found[instance_id] = raw
    promised: dict[tuple[str, str, str], str] = {}
    for instance_id, raw in found.items():
        held = tags_of(raw)
        if held.get(tags.CLUSTER) == cluster:
            owner = held.get(tags.GROUP, ""), held.get(tags.LOGICAL_ID, "")
            for what in (*disks_in(held), *([""] if ADDRESS in held else [])):
                promised[(*owner, what)] = instance_id
    return promised


def disks_in(held: Mapping[str, str]) -> list[str]:
    """Return the names of the data disks that an instance's tags promise it."""
    return [word.partition("=")[0] for word in gathered(DISKS, held).split()]


def vendor_code(error: ProviderError) -> str:
    """Return the vendor's code behind an error of ours, empty where there is none."""
    return code_of(error.__cause__) if error.__cause__ is not None else ""


class Holder(NamedTuple):
    """An instance that holds a kept thing. `token` is that of the request it was made by."""

    state: str
    token: str
    member: tuple[str | None, str | None, str | None]

    @property
    def lives(self) -> bool:
        return self.state not in _ENDED


def holder(caller: Caller, instance_id: str) -> Holder | None:
    """Return an instance, whosever it is; None for one that EC2 does not know any more."""
    raw = _instance(caller, instance_id)
    if raw is None:
        return None
    own = own_tags(tags_of(raw), int(raw.get("AmiLaunchIndex", 0)))
    member = (own.get(tags.CLUSTER), own.get(tags.GROUP), own.get(tags.LOGICAL_ID))
    return Holder(raw["State"]["Name"], own.get(tags.TOKEN, ""), member)


def _instance(caller: Caller, instance_id: str) -> Mapping[str, Any] | None:
    try:
        answer = caller.ask("ec2", "describe_instances", f"look at {instance_id}", InstanceIds=[instance_id])
    except ProviderError as exc:
        if vendor_code(exc) == "InvalidInstanceID.NotFound":
            return None
        raise
    return next(_instances(answer), None)


def _instances(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (one for reservation in answer["Reservations"] for one in reservation["Instances"])
