"""An instance as EC2 reports it, made one of ours. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infrakit_providers.aws.places import TARGETS, gathered, own_tags
from infrakit_providers.cloud.standing import FINE, Standing
from infrakit_py.model.instance import Instance, InstanceId, InstanceState

_STATES: Final[Mapping[str, InstanceState]] = {
    "pending": InstanceState.PENDING,
    "running": InstanceState.RUNNING,
    "stopping": InstanceState.STOPPED,
    "stopped": InstanceState.STOPPED,
    "shutting-down": InstanceState.LEAVING,
    "terminated": InstanceState.GONE,
}
THERE: Final = ("pending", "running", "shutting-down", "stopping", "stopped")
"""States of instances that are not gone."""


@dataclass(frozen=True, slots=True)
class News:
    """What other calls said of an instance. `interrupted`: its spot machine is being taken away, and why."""

    impaired: str = ""
    doomed: str = ""
    interrupted: str = ""
    lacks: str = ""
    standing: Standing = FINE


NO_NEWS: Final = News()


def raw_tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}


def tags_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return our tags of an instance, and the user's."""
    return own_tags(raw_tags(raw), int(raw.get("AmiLaunchIndex", 0)))


def target_groups(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the target groups that an instance was made for."""
    return tuple(gathered(TARGETS, raw_tags(raw)).split())


def state_of(raw: Mapping[str, Any]) -> InstanceState:
    """Return the state; one that EC2 has only had since this was written counts as stopped, and is shown as it is."""
    return _STATES.get(raw["State"]["Name"], InstanceState.STOPPED)


def instance(raw: Mapping[str, Any], held: Mapping[str, str], news: News = NO_NEWS) -> Instance:
    """Return an instance. `held` are its tags as `tags_of` gives them."""
    state = state_of(raw)
    detail = ""
    if state is InstanceState.STOPPED:
        detail = raw.get("StateReason", {}).get("Message", "") or raw["State"]["Name"]
    if news.interrupted and state in (InstanceState.PENDING, InstanceState.RUNNING):
        state, detail = InstanceState.LEAVING, news.interrupted
    facts = {"type": raw.get("InstanceType", ""), "image": raw.get("ImageId", ""), "subnet": raw.get("SubnetId", "")}
    if raw.get("InstanceLifecycle"):
        facts["lifecycle"] = raw["InstanceLifecycle"]
    placement = raw.get("Placement", {})
    return Instance(
        id=InstanceId(raw["InstanceId"]),
        tags=held,
        state=state,
        launched_at=raw["LaunchTime"].timestamp(),
        addresses=_addresses(raw),
        zone=placement.get("AvailabilityZone", ""),
        detail=detail,
        facts=facts,
        impaired=news.impaired or news.standing.impaired,
        host=placement.get("HostId", ""),
        lacks=news.lacks or news.standing.lacks,
        awaits=news.standing.awaits,
        doomed=news.doomed,
    )


def _addresses(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the private address first: health is asked for from inside the network."""
    v6 = raw.get("Ipv6Address")
    return tuple(filter(None, (raw.get("PrivateIpAddress"), raw.get("PublicIpAddress"), v6)))
