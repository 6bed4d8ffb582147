"""Booting one machine, in steps that can be cut short anywhere and repeated."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from infrakit_providers.libvirt import domains, faults, images, wire
from infrakit_providers.libvirt.iso import user_data_iso
from infrakit_providers.libvirt.names import (
    CONSOLE,
    ROOT,
    SEED,
    belongs_to_domain,
    data_volume,
    domain_name,
    mac_address,
    own_volume,
)
from infrakit_providers.libvirt.settings import Machine, Settings
from infrakit_providers.libvirt.storage import Pool
from infrakit_providers.libvirt.volume_xml import Backing
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.spi.provider import Now, ProvisionRequest

if TYPE_CHECKING:
    from libvirt import libvirtError, virConnect, virDomain

_DISK_UNIT: Final = 1024
"""libvirt asks qemu-img for whole KiB."""


def has_output(pool: Pool, domain: str) -> bool:
    """Tell whether a domain that nobody noted as started did run: its console log, made empty, is not empty."""
    shape = pool.find(own_volume(domain, CONSOLE))
    return shape is not None and shape.capacity > 0


class Launch:
    """One request, and the steps to fulfil it."""

    def __init__(self, request: ProvisionRequest, settings: Settings, clock: Now) -> None:
        """Raise ProviderError if the tags do not say whose the machine will be."""
        try:
            self._cluster, self._group, slot = (request.tags[key] for key in (tags.CLUSTER, tags.GROUP, tags.SLOT))
        except KeyError as exc:
            raise ProviderError(f"libvirt: tag {exc.args[0]} is missing for {request.name}") from exc
        self.name = domain_name(self._cluster, self._group, slot)
        self._request = request
        self._settings = settings
        self._clock = clock
        self._machine = Machine.model_validate(request.machine)

    def finish(self, connection: "virConnect", pool_named: Callable[[str], Pool]) -> str:
        """Bring the machine from wherever it is to accepted: defined, with its disks, started once. Return its UUID.

        A machine that was started before is left alone, running or not.
        """
        import libvirt

        pool = pool_named(self._settings.pool)
        # Listed before the look at the domain: what another process makes for this very token cannot be among them.
        strays = [volume for volume in pool.volumes() if belongs_to_domain(volume, self.name)]
        found = domains.in_slot(connection, self.name, self._cluster, self._request.token)
        if found is not None and self._was_started(*found, pool_named):
            return found[1].uuid
        domains.require_network(connection, self._machine.network)
        boot = images.boot_from(pool, self._request.image)
        root = self._root_disk(boot.below)
        if found is None:
            for volume in strays:  # of a domain that a person undefined: its disk must not come back to life
                pool.delete(volume)
        domain = self._define(connection, pool, boot, root, uuid=found[1].uuid if found else None)
        # Who unpublishes takes the image's mark first and looks for domains then; here it is the other way round.
        images.require_published(pool, self._request.image)
        try:
            self._make_volumes(pool, root)
            self._start(domain)
        except (ProviderError, libvirt.libvirtError):
            images.require_published(pool, self._request.image)  # swept meanwhile? then that is the better error
            raise
        domains.mark_started(domain)
        return str(domain.UUIDString())

    def _was_started(self, domain: "virDomain", own: wire.OwnDomain, pool_named: Callable[[str], Pool]) -> bool:
        if own.started:
            return True
        if domain.isActive():
            domains.mark_started(domain)
            return True
        defined_in = pool_named(own.record.pool)
        if has_output(defined_in, own.name):
            return True
        if own.record.pool != self._settings.pool:
            defined_in.delete_own(own.name)
        return False

    def _root_disk(self, below: Backing | None) -> Backing | int | None:
        """Return what the root disk is: an overlay, an empty one of a size, or none."""
        size = self._machine.root_disk
        if below is None:
            return size
        if size is not None and size < below.capacity:
            name = self._request.image.name
            raise ProviderError(
                f"libvirt: {self.name}: root_disk is smaller than the {below.capacity} bytes of image {name}"
            )
        return below

    def _define(
        self,
        connection: "virConnect",
        pool: Pool,
        boot: images.Boot,
        root: Backing | int | None,
        *,
        uuid: str | None,
    ) -> "virDomain":
        """Define the domain, or anew the one of this UUID, which was never started.

        A new domain has a UUID of its own, although the token is one: libvirt then refuses a second domain of the
        name, whoever defines it, and a machine that is gone never comes back under its old id.
        """
        import libvirt

        request, machine, now = self._request, self._machine, self._clock.now()
        disks = []
        if root is not None:
            disks.append(wire.Disk(pool.path(own_volume(self.name, ROOT)), "root", boots=isinstance(root, Backing)))
        if boot.cdrom:
            disks.append(wire.Disk(boot.cdrom, "", format="raw", boots=True, cdrom=True))
        if self._data_volume is not None:
            disks.append(wire.Disk(pool.path(self._data_volume), "data"))
        disks.append(wire.Disk(pool.path(own_volume(self.name, SEED)), "seed", format="raw", readonly=True))
        image = images.name_in_records(request.image)
        definition = wire.Definition(
            name=self.name,
            uuid=uuid or str(uuid5(UUID(request.token), repr(now))),
            record=wire.Record(tags=request.tags, created=now, pool=pool.name, image=image),
            virt_type=self._settings.virt_type,
            vcpus=machine.vcpus,
            memory=machine.memory,
            network=machine.network,
            mac=mac_address(self.name),
            console_log=pool.path(own_volume(self.name, CONSOLE)),
            disks=tuple(disks),
            kernel=boot.kernel,
        )
        try:
            return connection.defineXML(wire.domain_xml(definition))
        except libvirt.libvirtError as exc:
            if uuid is None and domains.in_slot(connection, self.name, self._cluster, request.token):
                raise Transient(f"libvirt: another process defined {self.name} at the same moment") from exc
            raise self._cannot("define", exc) from exc

    def _make_volumes(self, pool: Pool, root: Backing | int | None) -> None:
        """Make what is missing. Nothing that is as it should be is touched: another process may have started it."""
        if isinstance(root, Backing):
            size = max(root.capacity, self._machine.root_disk or 0)
            pool.ensure_disk(own_volume(self.name, ROOT), _whole_units(size), root)
        elif root is not None:
            pool.ensure_disk(own_volume(self.name, ROOT), _whole_units(root), None)
        if self._data_volume is not None and self._machine.data_disk is not None:
            pool.ensure_data_disk(self._data_volume, _whole_units(self._machine.data_disk))
        request = self._request
        seed = user_data_iso(request.user_data, instance_id=request.token, host_name=request.name)
        pool.write(own_volume(self.name, SEED), len(seed), [seed], private=True)
        pool.ensure_empty(own_volume(self.name, CONSOLE))

    def _start(self, domain: "virDomain") -> None:
        import libvirt

        try:
            domain.create()
        except libvirt.libvirtError as exc:
            if not domain.isActive():  # otherwise another process started it
                raise self._cannot("start", exc) from exc

    def _cannot(self, verb: str, exc: "libvirtError") -> ProviderError:
        error = faults.translated(exc, f"{verb} {self.name}")
        if type(error) is ProviderError:
            current, other = self._settings.virt_type, "kvm" if self._settings.virt_type == "qemu" else "qemu"
            error.hint = f"the hypervisor may not be able to do virt_type: {current}; try virt_type: {other}"
        return error

    @property
    def _data_volume(self) -> str | None:
        if self._machine.data_disk is None or self._request.data_key is None:
            return None
        return data_volume(self._cluster, self._group, self._request.data_key)


def _whole_units(size: int) -> int:
    return -(-size // _DISK_UNIT) * _DISK_UNIT
