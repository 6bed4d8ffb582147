"""An instance as Compute Engine reports it, made one of ours. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infrakit_providers.cloud.standing import FINE, Standing
from infrakit_providers.gcp import labels as written
from infrakit_providers.gcp.names import Address, name_of
from infrakit_providers.gcp.operations import last, time_of
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState

_STATES: Final[Mapping[str, InstanceState]] = {
    "PENDING": InstanceState.PENDING,
    "PROVISIONING": InstanceState.PENDING,
    "STAGING": InstanceState.PENDING,
    "RUNNING": InstanceState.RUNNING,
    "REPAIRING": InstanceState.PENDING,
    "PENDING_STOP": InstanceState.LEAVING,
    "STOPPING": InstanceState.LEAVING,
    "DEPROVISIONING": InstanceState.LEAVING,
    "SUSPENDING": InstanceState.STOPPED,
    "SUSPENDED": InstanceState.STOPPED,
    "STOPPED": InstanceState.STOPPED,
    "TERMINATED": InstanceState.STOPPED,
}
"""Source: API reference, `Instance.status`. TERMINATED is a machine that does not run and is still there."""
_PLAIN: Final = frozenset({"RUNNING", "PROVISIONING", "STAGING"})
FIELDS: Final = ",".join(
    (
        "name",
        "zone",
        "status",
        "statusMessage",
        "creationTimestamp",
        "labels",
        "labelFingerprint",
        "machineType",
        "deletionProtection",
        "scheduling/provisioningModel",
        "disks(source,deviceName,boot)",
        "networkInterfaces(networkIP,ipv6Address,accessConfigs/natIP,ipv6AccessConfigs/externalIpv6)",
        "resourceStatus/upcomingMaintenance",
        "resourceStatus/physicalHost",
    )
)
"""What a listing is asked for: all but the metadata, which holds the user data and is most of a machine."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance as it was seen. `more`: its tags that did not fit into labels; None where nobody asked for them."""

    zone: str
    name: str
    status: str
    labels: Mapping[str, str]
    label_fingerprint: str = ""
    launched_at: float = 0.0
    type: str = ""
    spot: bool = False
    guarded: bool = False
    """Compute Engine refuses to delete it (`deletionProtection`)."""
    addresses: tuple[str, ...] = ()
    """The internal one first: health is asked for from inside the network."""
    disks: Mapping[str, str] = field(default_factory=dict)
    """Names of disks by the name of their device, all but the boot disk."""
    detail: str = ""
    maintenance: str = ""
    """Why and when its host is taken away from it, where that has been announced."""
    host: str = ""
    more: Mapping[str, Mapping[str, str]] | None = None

    @property
    def address(self) -> Address:
        return Address(self.zone, self.name)

    @property
    def id(self) -> InstanceId:
        return self.address.id

    @property
    def state(self) -> InstanceState:
        """Return the state; one that is newer than this program counts as stopped, and is shown as it is."""
        return _STATES.get(self.status, InstanceState.STOPPED)

    @property
    def tags(self) -> dict[str, str]:
        """Return our tags and the user's. A copy that somebody made of a machine of ours has none of ours."""
        held = written.read(self.labels, self.name, self.more)
        if _has_own_name(held, self.name):
            return held
        return {key: value for key, value in held.items() if not key.startswith(tags.PREFIX)}


@dataclass(frozen=True, slots=True)
class News:
    """What other calls said of an instance."""

    lacks: str = ""
    standing: Standing = FINE
    preempted: bool = False


NO_NEWS: Final = News()


def sighting(raw: Any, more: Mapping[str, Mapping[str, str]] | None = None) -> Sighting:
    """Read an instance. `raw` is the SDK's message, or the bare protocol buffer in it, which is read much faster."""
    pb = getattr(raw, "_pb", raw)
    return Sighting(
        zone=last(pb.zone),
        name=pb.name,
        status=pb.status,
        labels=dict(pb.labels),
        label_fingerprint=pb.label_fingerprint,
        launched_at=time_of(pb.creation_timestamp),
        type=last(pb.machine_type),
        spot=pb.scheduling.provisioning_model == "SPOT",
        guarded=pb.deletion_protection,
        addresses=_addresses(pb),
        disks={disk.device_name: last(disk.source) for disk in pb.disks if not disk.boot},
        detail=pb.status_message,
        maintenance=_maintenance(pb),
        host=last(pb.resource_status.physical_host),
        more=more if more is not None else _more(pb),
    )


def instance(seen: Sighting, held: Mapping[str, str], news: News = NO_NEWS) -> Instance:
    """Return an instance. `held` are its tags."""
    facts = {"type": seen.type, "status": seen.status, "provisioning": "SPOT" if seen.spot else "STANDARD"}
    detail = seen.detail if seen.status in _PLAIN else ": ".join(filter(None, (seen.status, seen.detail)))
    if news.preempted and seen.state is not InstanceState.RUNNING:
        detail = "preempted by Compute Engine"
    return Instance(
        id=seen.id,
        tags=held,
        state=seen.state,
        launched_at=seen.launched_at,
        addresses=seen.addresses,
        zone=seen.zone,
        detail=detail,
        facts=facts,
        impaired=news.standing.impaired,
        host=seen.host,
        lacks=news.lacks or news.standing.lacks,
        awaits=news.standing.awaits,
        doomed=seen.maintenance,
    )


def _has_own_name(held: Mapping[str, str], name: str) -> bool:
    """Tell whether tags and name belong together: labels can be copied by anybody, a name can not."""
    return not tags.owned_by(held, held.get(tags.CLUSTER, "")) or name_of(held) == name


def _addresses(pb: Any) -> tuple[str, ...]:
    found: list[str] = []
    for interface in pb.network_interfaces:
        found.append(interface.network_i_p)
        found += [config.nat_i_p for config in interface.access_configs]
        found.append(interface.ipv6_address)
    return tuple(dict.fromkeys(filter(None, found)))


def _maintenance(pb: Any) -> str:
    """Return what is announced of a machine that its host's maintenance would stop; others are moved and live on."""
    coming = pb.resource_status.upcoming_maintenance
    if not coming.window_start_time:
        return ""
    return f"maintenance of its host, from {coming.window_start_time}"


def _more(pb: Any) -> Mapping[str, Mapping[str, str]] | None:
    for one in pb.metadata.items:
        if one.key == written.ITEM:
            return written.read_item(one.value)
    return None
