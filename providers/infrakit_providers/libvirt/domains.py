"""Our domains at a hypervisor: found, read, told apart from everybody else's, marked. No volumes are touched here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt import faults, wire
from infrakit_py.errors import NotOurs, ProviderError, Transient
from infrakit_py.model import tags

if TYPE_CHECKING:
    from libvirt import virConnect, virDomain

_FILES_OF_A_DOMAIN: Final = ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA")


def read(domain: "virDomain") -> wire.OwnDomain | None:
    """Return what the domain's stored definition says; None if it is not ours or just went away.

    The stored definition, not the running one: a tag that was written to the latter alone would not last.
    """
    import libvirt

    try:
        return wire.parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    except libvirt.libvirtError as exc:
        if faults.is_missing(exc):
            return None
        raise


def owned(connection: "virConnect", cluster: str) -> "Iterator[tuple[virDomain, wire.OwnDomain]]":
    """Yield the cluster's domains, by name."""
    for domain in sorted(connection.listAllDomains(0), key=lambda domain: str(domain.name())):
        own = read(domain)
        if own is not None and tags.owned_by(own.record.tags, cluster):
            yield domain, own


def by_uuid(connection: "virConnect", uuid: str) -> "virDomain | None":
    """Find a domain; None if there is none, for certain."""
    import libvirt

    try:
        return connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as exc:
        if faults.is_missing(exc) or faults.code_of(exc) == faults.INVALID_ARG:
            return None
        raise


def by_name(connection: "virConnect", name: str) -> "virDomain | None":
    """Find a domain; None if there is none, for certain."""
    import libvirt

    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as exc:
        if faults.is_missing(exc):
            return None
        raise


def in_slot(
    connection: "virConnect", name: str, cluster: str, token: str
) -> "tuple[virDomain, wire.OwnDomain] | None":
    """Return the machine that the token stands for, None if its slot is free.

    Raise Transient where another machine of the cluster is still in the slot, NotOurs where somebody else's is.
    """
    domain = by_name(connection, name)
    if domain is None:
        return None
    own = read(domain)
    if own is None or not tags.owned_by(own.record.tags, cluster):
        raise NotOurs(f"libvirt: the name {name} is taken by a domain without our tags", hint="rename that domain")
    if own.record.tags.get(tags.TOKEN) != token:
        raise Transient(f"libvirt: slot still taken by domain {name} ({own.uuid})")
    return domain, own


def require_ours(own: wire.OwnDomain | None, instance: str, cluster: str, group: str | None = None) -> wire.OwnDomain:
    """Return the domain if it belongs to the cluster (and group), else raise NotOurs."""
    if own is None:
        raise NotOurs(f"libvirt: domain {instance} carries no infrakit tags")
    if not tags.owned_by(own.record.tags, cluster) or group not in (None, own.record.tags[tags.GROUP]):
        theirs = f"{own.record.tags.get(tags.CLUSTER, '?')}/{own.record.tags.get(tags.GROUP, '?')}"
        raise NotOurs(f"libvirt: domain {own.name} ({instance}) belongs to {theirs}, not to {cluster}/{group or '*'}")
    return own


def state(domain: "virDomain") -> tuple[int, int] | None:
    """Return libvirt's state and reason, None if the domain just went away."""
    import libvirt

    try:
        code, reason = domain.state(0)
    except libvirt.libvirtError as exc:
        if faults.is_missing(exc):
            return None
        raise
    return int(code), int(reason)


def mark_started(domain: "virDomain") -> None:
    """Note in the stored definition that the domain was started: `shut off` is now an end, not a beginning."""
    import libvirt

    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, wire.started_xml(), wire.STARTED_PREFIX, wire.STARTED_NAMESPACE,
        libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )  # fmt: skip


def write_record(domain: "virDomain", record: wire.Record) -> None:
    """Replace the domain's tags, stored and (for people who look) live, in one call."""
    import libvirt

    stored, live = libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT, wire.record_xml(record), wire.PREFIX, wire.NAMESPACE
    try:
        domain.setMetadata(*element, stored | live if domain.isActive() else stored)
    except libvirt.libvirtError as exc:
        if faults.code_of(exc) != faults.OPERATION_INVALID:
            raise
        domain.setMetadata(*element, stored)  # it stopped between the question and the call


def stop(domain: "virDomain") -> None:
    """Pull the plug. Not running already is fine."""
    import libvirt

    try:
        domain.destroy()
    except libvirt.libvirtError as exc:
        if faults.code_of(exc) != faults.OPERATION_INVALID:
            raise


def undefine(domain: "virDomain") -> None:
    """Remove the definition and all that libvirt keeps beside it. Gone already is fine."""
    import libvirt

    flags = 0
    for name in _FILES_OF_A_DOMAIN:
        flags |= getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{name}")
    try:
        try:
            domain.undefineFlags(flags)
        except libvirt.libvirtError as exc:
            if faults.code_of(exc) != faults.INVALID_ARG:
                raise
            domain.undefine()  # a driver that keeps nothing beside it knows no flags
    except libvirt.libvirtError as exc:
        if not faults.is_missing(exc):
            raise


def leases(connection: "virConnect", networks: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the leased addresses by MAC, the latest first. libvirtd leaves out expired ones, by its own clock.

    A lease is no sign of life: it outlasts its machine. A network without leases of its own (a plain bridge, or one
    that is not active) has none to report.
    """
    import libvirt

    found: dict[str, list[tuple[float, str]]] = {}
    for name in networks:
        try:
            for lease in connection.networkLookupByName(name).DHCPLeases():
                until = float(lease["expirytime"] or "inf")  # 0 is for ever
                found.setdefault(str(lease["mac"]).lower(), []).append((until, str(lease["ipaddr"])))
        except libvirt.libvirtError as exc:
            if not (faults.is_missing(exc) or faults.code_of(exc) in (faults.NO_SUPPORT, faults.OPERATION_INVALID)):
                raise
    return {mac: tuple(address for _, address in sorted(those, reverse=True)) for mac, those in found.items()}


def require_network(connection: "virConnect", name: str) -> None:
    """Raise ProviderError with a hint unless the network is there and active."""
    import libvirt

    try:
        network = connection.networkLookupByName(name)
    except libvirt.libvirtError as exc:
        if not faults.is_missing(exc):
            raise
        known = ", ".join(sorted(connection.listNetworks() + connection.listDefinedNetworks())) or "none"
        raise ProviderError(f"libvirt: no network {name} (there: {known})", hint="virsh net-list --all") from exc
    if not network.isActive():
        raise ProviderError(f"libvirt: network {name} is not active", hint=f"virsh net-start {name}")
