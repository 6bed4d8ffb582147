"""The entry point's object. Importing it loads no SDK."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from infrakit_providers.libvirt.faults import require_sdk
from infrakit_providers.libvirt.settings import Machine, Settings, complaints
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Provider, ProviderContext


class LibvirtPlugin:
    """Machines at one libvirt hypervisor."""

    summary = "virtual machines under libvirt (QEMU, with KVM or without), local or remote"
    settings: type[BaseModel] = Settings
    machine: type[BaseModel] = Machine

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        return complaints(review)

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        require_sdk()
        from infrakit_providers.libvirt.provider import LibvirtProvider

        return LibvirtProvider(Settings.model_validate(settings), context)
