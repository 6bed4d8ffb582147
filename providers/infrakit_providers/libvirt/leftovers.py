"""What outlives a cluster's machines in the pool, and its deletion. Whatever a domain's XML names is in use."""

from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt import domains, names, publications
from infrakit_providers.libvirt.storage import Pool
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.spi.provider import Leftover

if TYPE_CHECKING:
    from libvirt import virConnect

DATA_DISK: Final = "data disk"
VOLUME: Final = "volume"
IMAGE: Final = "image"


def found(connection: "virConnect", pool: Pool, cluster: str) -> list[Leftover]:
    """Return the cluster's data disks, its volumes without a domain, and images that nobody else uses.

    Images come last: a volume without a domain may lie over one.
    """
    files = pool.files()
    texts = publications.domain_texts(connection)  # after the volumes: what was made since is not among them
    in_use = "\n".join(texts.values())
    left = []
    for file in files:
        volume = names.parse_volume(file.name)
        if volume is None or volume.cluster != cluster:
            continue
        if volume.holds_data:
            left.append(Leftover(file.name, DATA_DISK, volume.member, volume.group, holds_data=True))
        elif file.name not in in_use and domains.by_name(connection, volume.domain) is None:
            left.append(Leftover(file.name, VOLUME, f"{volume.member}: {volume.part}", volume.group))
    of_others = [text for text in texts.values() if not publications.is_of(cluster, text)]
    over_others = [file for file in files if not _is_of(cluster, file.name)]
    used = publications.used_images(of_others, over_others)
    images = sorted(publications.by_publication(files).keys() - used)
    return left + [Leftover(id=name, kind=IMAGE, name=name) for name in images]


def delete(connection: "virConnect", pool: Pool, cluster: str, leftover: Leftover) -> None:
    """Delete one leftover. Gone already is fine. Raise ProviderError for anything that a domain still uses."""
    if names.identity_digits(leftover.id) is not None:
        publications.unpublish(connection, pool, leftover.id)
        return
    volume = names.parse_volume(leftover.id)
    if volume is None or volume.cluster != cluster:
        raise NotOurs(f"libvirt: {leftover.id} is no leftover of {cluster}")
    is_named = any(leftover.id in text for text in publications.domain_texts(connection).values())
    if is_named or (not volume.holds_data and domains.by_name(connection, volume.domain) is not None):
        raise ProviderError(f"libvirt: {leftover.id} is still used by a domain")
    pool.delete(leftover.id)


def _is_of(cluster: str, volume: str) -> bool:
    parsed = names.parse_volume(volume)
    return parsed is not None and parsed.cluster == cluster
