"""What outlives a cluster's machines in the pool, and its deletion. Whatever a domain's XML names is in use."""

from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt import domains, faults, names
from infrakit_providers.libvirt.storage import Pool
from infrakit_providers.libvirt.wire import parse_domain
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.tags import owned_by
from infrakit_py.spi.provider import Leftover

if TYPE_CHECKING:
    from libvirt import virConnect

DATA_DISK: Final = "data disk"
VOLUME: Final = "volume"
IMAGE: Final = "image"


def found(connection: "virConnect", pool: Pool, cluster: str) -> list[Leftover]:
    """Return the cluster's data disks, its volumes without a domain, and images that no other's domain uses."""
    volumes = pool.volumes()
    in_use = _all_xml(connection)  # after the volumes: what was made since is not among them
    by_others = _all_xml(connection, but_of=cluster)
    images = sorted({base for name in volumes if (base := names.parse_image_volume(name))})
    left = [Leftover(id=base, kind=IMAGE, name=base) for base in images if base not in by_others]
    for name in volumes:
        volume = names.parse_volume(name)
        if volume is None or volume.cluster != cluster:
            continue
        if volume.holds_data:
            left.append(Leftover(name, DATA_DISK, volume.member, volume.group, holds_data=True))
        elif name not in in_use and domains.by_name(connection, volume.domain) is None:
            left.append(Leftover(name, VOLUME, f"{volume.member}: {volume.part}", volume.group))
    return left


def delete(connection: "virConnect", pool: Pool, cluster: str, leftover: Leftover) -> None:
    """Delete one leftover. Gone already is fine. Raise ProviderError for anything that a domain still uses."""
    volume = names.parse_volume(leftover.id)
    is_image = names.parse_image_volume(f"{leftover.id}.{names.IMAGE_COMPLETE}") == leftover.id
    if not is_image and (volume is None or volume.cluster != cluster):
        raise NotOurs(f"libvirt: {leftover.id} is no leftover of {cluster}")
    if leftover.id in _all_xml(connection) or (
        volume is not None and not volume.holds_data and domains.by_name(connection, volume.domain) is not None
    ):
        raise ProviderError(f"libvirt: {leftover.id} is still used by a domain")
    if not is_image:
        pool.delete(leftover.id)
        return
    pool.delete(f"{leftover.id}.{names.IMAGE_COMPLETE}")
    for name in pool.volumes():
        if names.parse_image_volume(name) == leftover.id:
            pool.delete(name)


def _all_xml(connection: "virConnect", *, but_of: str | None = None) -> str:
    """Return the XML of all domains of the host, or of all but a cluster's: it names the volumes that are in use."""
    import libvirt

    texts = []
    for domain in connection.listAllDomains(0):
        try:
            text = str(domain.XMLDesc(0))
        except libvirt.libvirtError as exc:
            if not faults.is_missing(exc):
                raise
            continue
        described = parse_domain(text)
        if but_of is None or described is None or not owned_by(described.record.tags, but_of):
            texts.append(text)
    return "\n".join(texts)
