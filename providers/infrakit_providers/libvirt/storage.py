"""Volumes in a pool of files: looked up, created, deleted, written by stream so that remote hypervisors work too.

libvirtd keeps a list of a pool's volumes, and scans the directory anew after every upload. Such a scan forgets a
volume that is just being created, until the next one. So a volume that libvirt does not know may be there all the
same, and where that matters it is asked again after a refresh.
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt import faults, volume_xml
from infrakit_providers.libvirt.names import belongs_to_domain
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Now

if TYPE_CHECKING:
    from libvirt import libvirtError, virConnect, virStoragePool, virStorageVol

_REFRESH_ATTEMPTS: Final = 100
_REFRESH_PAUSE_SECONDS: Final = 0.05
_PRIVATE, _READABLE = "0600", "0644"


class Pool:
    """An active pool of files. Every call may raise libvirt's own errors; the caller says what it was about."""

    def __init__(self, connection: "virConnect", name: str, clock: Now, *, keeps_content: bool = True) -> None:
        """Find the pool. Raise ProviderError with a hint if it cannot be used.

        Not `keeps_content`: the volumes of libvirt's test driver have none.
        """
        self.name = name
        self._connection = connection
        self._clock = clock
        self._keeps_content = keeps_content
        self._pool = _active_pool(connection, name)
        directory = volume_xml.parse_pool_directory(self._pool.XMLDesc(0))
        if directory is None:
            raise ProviderError(
                f"libvirt: pool {name} does not keep its volumes as files",
                hint="use a pool of type dir, fs or netfs: kernels and console logs are files",
            )
        self._directory = directory

    def path(self, volume: str) -> str:
        """Return a volume's path on the hypervisor, whether it exists or not."""
        return f"{self._directory}/{volume}"

    def refresh(self) -> None:
        """Make libvirt see files that came or went without it."""
        import libvirt

        for attempt in range(_REFRESH_ATTEMPTS):
            try:
                self._pool.refresh(0)
                return
            except libvirt.libvirtError as exc:
                if faults.POOL_BUSY not in str(exc) or attempt == _REFRESH_ATTEMPTS - 1:
                    raise
            self._clock.sleep(_REFRESH_PAUSE_SECONDS)

    def volumes(self) -> list[str]:
        """Return the names of all volumes that are there now."""
        self.refresh()
        return sorted(str(volume.name()) for volume in self._pool.listAllVolumes(0))

    def files(self) -> list[volume_xml.VolumeFile]:
        """Return all volumes that are there now, as files."""
        import libvirt

        self.refresh()
        found = []
        for volume in self._pool.listAllVolumes(0):
            try:
                found.append(volume_xml.parse_file(volume.XMLDesc(0)))
            except libvirt.libvirtError as exc:
                if not faults.is_missing(exc):
                    raise
        return sorted(found, key=lambda file: file.name)

    def find(self, volume: str) -> volume_xml.VolumeShape | None:
        """Return what a volume is; None if there is none, for certain."""
        shape = self._known(volume)
        if shape is None:
            self.refresh()
            shape = self._known(volume)
        return shape

    def ensure_disk(self, volume: str, capacity: int, backing: volume_xml.Backing | None) -> None:
        """Create a qcow2 disk unless exactly this one is there. One of another shape is replaced."""
        backing_path = backing.path if backing else ""
        wanted = volume_xml.VolumeShape(capacity=capacity, format="qcow2", backing_path=backing_path)
        existing = self._known(volume)
        if existing == wanted:
            return
        if existing is not None:
            self.delete(volume)
        self._create(volume_xml.volume_xml(volume, capacity=capacity, format="qcow2", mode=_PRIVATE, backing=backing))

    def ensure_data_disk(self, volume: str, capacity: int) -> None:
        """Create an empty qcow2 disk unless there is one, whatever its shape; a smaller one grows."""
        existing = self.find(volume)
        if existing is None:
            self._create(volume_xml.volume_xml(volume, capacity=capacity, format="qcow2", mode=_PRIVATE))
        elif existing.capacity < capacity:
            self._required(volume).resize(capacity)

    def ensure_empty(self, volume: str) -> None:
        """Create a volume of no bytes unless there is one."""
        if self._known(volume) is None:
            self._create(volume_xml.volume_xml(volume, capacity=0, mode=_PRIVATE))

    def write(self, volume: str, size: int, blocks: Iterable[bytes], *, private: bool) -> None:
        """Write a volume of `size` bytes. Two that write the same bytes at once do no harm."""
        existing = self._known(volume)
        if existing is not None and existing.capacity > size:
            self.delete(volume)
            existing = None
        if existing is None:
            self._create(volume_xml.volume_xml(volume, capacity=size, mode=_PRIVATE if private else _READABLE))
        if self._keeps_content:
            self._upload(volume, size, blocks)

    def delete(self, volume: str) -> None:
        """Delete a volume. Gone already is fine."""
        import libvirt

        found = self._lookup_for_certain(volume)
        if found is None:
            return
        try:
            found.delete(0)
        except libvirt.libvirtError as exc:
            if not faults.is_missing(exc):
                raise

    def delete_own(self, domain: str) -> None:
        """Delete every volume that dies with the domain, by name, so that half-made ones go too."""
        for volume in self.volumes():
            if belongs_to_domain(volume, domain):
                self.delete(volume)

    def _known(self, volume: str) -> volume_xml.VolumeShape | None:
        """Return what a volume that libvirt knows is. The file is looked at, so that one that was removed is None."""
        import libvirt

        found = self._lookup(volume)
        if found is None:
            return None
        try:
            return volume_xml.parse_volume(found.XMLDesc(0))
        except libvirt.libvirtError as exc:
            if faults.is_missing(exc):
                return None
            raise

    def _required(self, volume: str) -> "virStorageVol":
        found = self._lookup_for_certain(volume)
        if found is None:
            raise Transient(f"libvirt: volume {volume} went away from pool {self.name}")
        return found

    def _lookup_for_certain(self, volume: str) -> "virStorageVol | None":
        found = self._lookup(volume)
        if found is None:
            self.refresh()
            found = self._lookup(volume)
        return found

    def _lookup(self, volume: str) -> "virStorageVol | None":
        import libvirt

        try:
            return self._pool.storageVolLookupByName(volume)
        except libvirt.libvirtError as exc:
            if faults.is_missing(exc):
                return None
            raise

    def _create(self, xml: str) -> None:
        import libvirt

        try:
            self._pool.createXML(xml, 0)
        except libvirt.libvirtError as exc:
            if not _exists_already(exc):
                raise
            self.refresh()  # another process made it, or it came without libvirt's knowing

    def _upload(self, volume: str, size: int, blocks: Iterable[bytes]) -> None:
        import libvirt

        stream = self._connection.newStream(0)
        self._required(volume).upload(stream, 0, size, 0)
        try:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    rest = rest[stream.send(rest.tobytes()) :]
            stream.finish()
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise


def _exists_already(exc: "libvirtError") -> bool:
    if faults.code_of(exc) == faults.STORAGE_VOL_EXIST:
        return True
    text = str(exc).lower()
    return "already exists" in text or "file exists" in text


def _active_pool(connection: "virConnect", name: str) -> "virStoragePool":
    import libvirt

    try:
        pool = connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as exc:
        if not faults.is_missing(exc):
            raise
        known = ", ".join(sorted(connection.listStoragePools() + connection.listDefinedStoragePools())) or "none"
        raise ProviderError(
            f"libvirt: no storage pool {name} (there: {known})",
            hint=f"virsh pool-define-as {name} dir --target /var/lib/libvirt/images"
            f" && virsh pool-autostart {name} && virsh pool-start {name}",
        ) from exc
    if not pool.isActive():
        raise ProviderError(f"libvirt: storage pool {name} is not active", hint=f"virsh pool-start {name}")
    return pool
