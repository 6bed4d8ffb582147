"""What a user may write for one Compute Engine machine: a group's `machine` mapping."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from infrakit_providers.cloud.fields import Items, Name, Strict
from infrakit_providers.gcp.disks import BootDisk, DataDisk, Disk
from infrakit_providers.gcp.fields import (
    AcceleratorType,
    BackendServices,
    Labels,
    MachineTypes,
    Metadata,
    Network,
    NetworkTags,
    ResourceName,
    ResourceNames,
    Scopes,
    ServiceAccount,
    Subnetwork,
    UserDataKeys,
    Zones,
)


class ShieldedVm(Strict):
    """What a machine that boots by UEFI guards itself with. The defaults are Compute Engine's."""

    secure_boot: bool = False
    vtpm: bool = True
    integrity_monitoring: bool = True

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if self.integrity_monitoring and not self.vtpm:
            raise ValueError("integrity monitoring needs the vTPM: write integrity_monitoring: false, too")
        return self


class Accelerator(Strict):
    """Accelerators of one type for each machine, for machine types that have none built in."""

    type: AcceleratorType
    count: PositiveInt = 1


class Machine(Strict):
    """One machine's shape. Sizes are bytes and scopes URLs, once validated.

    `machine_types` are tried in order where Compute Engine has no capacity. Machines are spread over `zones`, or over
    all zones of the provider. `data_disks` and static addresses are for named members: they outlive the machine and
    belong to the member. `maintenance` is `migrate` where that is possible. `automatic_restart` is on for all but
    spot machines, as it is at Compute Engine: what went down with its host comes back although nobody watches it, and
    who watches has replaced it by then or finds it healthy.
    """

    machine_types: MachineTypes
    zones: Zones | None = None
    boot_disk: BootDisk = BootDisk()
    disks: Items[Disk] = ()
    data_disks: Items[DataDisk] = ()
    network: Network | None = None
    subnetwork: Subnetwork | None = None
    external_ip: Literal["none", "ephemeral", "static"] = "none"
    internal_ip: Literal["ephemeral", "static"] = "ephemeral"
    ipv6: Literal["none", "internal", "external"] = "none"
    network_tier: Literal["premium", "standard"] | None = None
    network_tags: NetworkTags = ()
    nic_type: Literal["gvnic", "virtio_net"] | None = None
    can_ip_forward: bool = False
    service_account: ServiceAccount | None = None
    scopes: Scopes | None = None
    labels: Labels = Field(default_factory=dict)
    metadata: Metadata = Field(default_factory=dict)
    user_data_keys: UserDataKeys = ("user-data",)
    shielded_vm: ShieldedVm | None = None
    confidential: Literal["sev", "sev_snp", "tdx"] | None = None
    provisioning: Literal["standard", "spot"] = "standard"
    interruption: Literal["delete", "stop"] = "delete"
    maintenance: Literal["migrate", "terminate"] | None = None
    automatic_restart: bool | None = None
    min_cpu_platform: Name | None = None
    accelerators: Items[Accelerator] = ()
    threads_per_core: Literal[1, 2] | None = None
    nested_virtualization: bool = False
    reservation: ResourceName | None = None
    node_group: ResourceName | None = None
    backend_services: BackendServices = ()
    target_pools: ResourceNames = ()
    deletion_protection: bool = False

    @property
    def is_spot(self) -> bool:
        return self.provisioning == "spot"

    @property
    def keeps(self) -> bool:
        """Tell whether a member keeps anything when its machine goes."""
        return bool(self.data_disks) or "static" in (self.external_ip, self.internal_ip)

    @field_validator("data_disks")
    @classmethod
    def _must_have_names_of_their_own(cls, disks: tuple[DataDisk, ...]) -> tuple[DataDisk, ...]:
        names = [disk.name for disk in disks]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ValueError(f"two data disks are named {name}; each needs a name of its own")
        return disks
