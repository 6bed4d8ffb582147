"""What was published in the pool, as its volumes show it, who uses it, and its deletion.

A domain's XML names its image; so does a disk that lies over one, whose domain may be gone.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt import faults, names
from infrakit_providers.libvirt.storage import Pool
from infrakit_providers.libvirt.volume_xml import VolumeFile
from infrakit_providers.libvirt.wire import parse_domain
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.tags import owned_by
from infrakit_py.spi.images import Publication

if TYPE_CHECKING:
    from libvirt import virConnect

_WHOLE: Final = ({"kernel", "initrd"}, {"raw"}, {"qcow2"}, {"iso"})
"""The parts of which an image consists, in each of its forms."""


def published(connection: "virConnect", pool: Pool) -> list[Publication]:
    """Return all that was published in the pool, whole or cut short."""
    files = pool.files()
    used = used_images(domain_texts(connection).values(), files)  # after the volumes: none that is new is among them
    return [_publication(name, own, in_use=name in used) for name, own in by_publication(files).items()]


def unpublish(connection: "virConnect", pool: Pool, name: str) -> None:
    """Delete what was published under a name. Gone already is fine. ProviderError while any machine uses it.

    Its mark goes first: from then on no machine is made from it. Who looked just before has defined a domain by
    now, or looks again once it has.
    """
    if names.identity_digits(name) is None:
        raise NotOurs(f"libvirt: {name} is no image that was published here")
    _require_unused(connection, pool, name)
    mark = f"{name}.{names.IMAGE_COMPLETE}"
    was_complete = pool.find(mark) is not None
    pool.delete(mark)
    try:
        _require_unused(connection, pool, name)
    except ProviderError:
        if was_complete:
            pool.ensure_empty(mark)
        raise
    for file in by_publication(pool.files()).get(name, ()):
        pool.delete(file.name)


def by_publication(files: Iterable[VolumeFile]) -> Mapping[str, list[VolumeFile]]:
    """Return the volumes of images by what they were published as; all others are left out."""
    found: dict[str, list[VolumeFile]] = {}
    for file in files:
        if (volume := names.parse_image_volume(file.name)) is not None:
            found.setdefault(volume.published, []).append(file)
    return found


def used_images(texts: Iterable[str], files: Iterable[VolumeFile]) -> frozenset[str]:
    """Return what is named by these domains' XML, or lies below one of these volumes."""
    return frozenset().union(
        *(names.images_named_in(text) for text in texts),
        *(names.images_named_in(file.backing_path) for file in files),
    )


def domain_texts(connection: "virConnect") -> Mapping[str, str]:
    """Return the XML of the hypervisor's domains by their names: it names the volumes that are in use."""
    import libvirt

    texts = {}
    for domain in connection.listAllDomains(0):
        try:
            texts[str(domain.name())] = str(domain.XMLDesc(0))
        except libvirt.libvirtError as exc:
            if not faults.is_missing(exc):
                raise
    return texts


def is_of(cluster: str, text: str) -> bool:
    """Tell whether a domain's XML says that it is the cluster's."""
    described = parse_domain(text)
    return described is not None and owned_by(described.record.tags, cluster)


def _require_unused(connection: "virConnect", pool: Pool, name: str) -> None:
    users = [domain for domain, text in domain_texts(connection).items() if name in names.images_named_in(text)]
    users += [file.name for file in pool.files() if name in names.images_named_in(file.backing_path)]
    if users:
        raise ProviderError(f"libvirt: {name} is still used by {', '.join(users[:3])}{'...' if users[3:] else ''}")


def _publication(name: str, files: list[VolumeFile], *, in_use: bool) -> Publication:
    parts = {volume.part for file in files if (volume := names.parse_image_volume(file.name)) is not None}
    return Publication(
        id=name,
        identity=names.identity_digits(name) or "",
        name=name,
        size=sum(file.size for file in files),
        created_at=max(file.written_at for file in files),
        in_use=in_use,
        complete=names.IMAGE_COMPLETE in parts and any(whole <= parts for whole in _WHOLE),
    )
