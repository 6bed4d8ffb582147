"""What Compute Engine is asked to make, from what the user wrote. Pure: it asks nobody and chooses nothing.

Bodies are mappings as google-cloud-compute's messages take them. One machine is made by instances.insert, many alike
by instances.bulkInsert, which wants short names where the former wants paths.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from infrakit_providers.gcp.disks import GIB, DataDisk, Disk, Storage
from infrakit_providers.gcp.families import default_disk_type, migrates
from infrakit_providers.gcp.fields import (
    MAX_LABELS,
    MAX_METADATA,
    MAX_METADATA_VALUE,
    metadata_size,
    region_of,
)
from infrakit_providers.gcp.machine import Machine
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Json

Body: TypeAlias = dict[str, Json]
_Path: TypeAlias = Callable[[str, str], str]
"""Gives the name of a zone's thing as a call wants it, by its kind and its short name."""

KEPT_FOR_OURS: Final = 65_536
"""Bytes of metadata that user data leaves to us."""
_DEFAULT_NETWORK: Final = "global/networks/default"
_CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
_RESERVATION: Final = "compute.googleapis.com/reservation-name"
_NODE_GROUP: Final = "compute.googleapis.com/node-group-name"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A data disk that a machine has from its start: one that is there (`source`, its path), or one made with it.

    `name` is the disk's own at Compute Engine; the machine knows it by `disk.name`. `labels` are for a new one.
    """

    disk: DataDisk
    name: str
    source: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided about machines elsewhere. `image` is a path; `metadata` is complete, with user data.

    `labels` are ours, and win over the user's of the same key. Attachments and addresses are one machine's alone.
    """

    zone: str
    machine_type: str
    image: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    attachments: Sequence[Attachment] = ()
    external_address: str = ""
    internal_address: str = ""


def made_alone(machine: Machine) -> bool:
    """Tell whether each such machine needs a call of its own.

    bulkInsert protects nobody from deletion, and knows no sole-tenant nodes ("About bulk creation of VMs").
    """
    return machine.deletion_protection or machine.node_group is not None


def properties(machine: Machine, choice: Choice) -> Body:
    """Return the InstanceProperties of machines made by one call. What needs a call of its own is not in it.

    ProviderError for more labels than a machine can have.
    """
    return _body(machine, choice, lambda _, name: name)


def instance(name: str, machine: Machine, choice: Choice) -> Body:
    """Return the Instance of one machine. Raises what `properties` does."""
    body = _body(machine, choice, lambda kind, one: f"zones/{choice.zone}/{kind}/{one}")
    if machine.deletion_protection:
        body["deletion_protection"] = True
    return {"name": name, **body}


def user_metadata(machine: Machine, user_data: bytes | None) -> dict[str, str]:
    """Return the user's metadata, with the user data under each of `user_data_keys`.

    ProviderError for user data that is no text or too long: metadata is text, and LinuxKit decodes nothing.
    """
    if user_data is None:
        return dict(machine.metadata)
    try:
        text = user_data.decode()
    except UnicodeDecodeError as exc:
        raise ProviderError(
            "gcp: the user data is not UTF-8 text, and metadata holds nothing else",
            hint="write it in base64, and let the machine decode it",
        ) from exc
    if len(user_data) > MAX_METADATA_VALUE:
        raise _too_long(len(user_data), MAX_METADATA_VALUE)
    given: dict[str, str] = dict.fromkeys(machine.user_data_keys, text)
    metadata = {**machine.metadata, **given}
    if (size := metadata_size(metadata)) > MAX_METADATA - KEPT_FOR_OURS:
        raise _too_long(size, MAX_METADATA - KEPT_FOR_OURS, "with the other metadata ")
    return metadata


def _too_long(size: int, limit: int, with_what: str = "") -> ProviderError:
    return ProviderError(
        f"gcp: the user data has {with_what}{size} bytes, and metadata takes {limit}",
        hint="let the machine fetch the large part itself, or put it into the image",
    )


def _body(machine: Machine, choice: Choice, path: _Path) -> Body:
    labels = {**machine.labels, **choice.labels}
    if len(labels) > MAX_LABELS:
        raise ProviderError(
            f"gcp: {len(labels)} labels, the user's and ours together, and a machine has {MAX_LABELS}"
        )
    body: Body = {
        "machine_type": path("machineTypes", choice.machine_type),
        "labels": labels,
        "disks": list(_disks(machine, choice, labels, path)),
        "network_interfaces": [_interface(machine, choice)],
    }
    if choice.metadata:
        items: list[Json] = [{"key": key, "value": value} for key, value in sorted(choice.metadata.items())]
        body["metadata"] = {"items": items}
    if scheduling := _scheduling(machine, choice.machine_type):
        body["scheduling"] = scheduling
    if machine.accelerators:
        body["guest_accelerators"] = [
            {"accelerator_type": path("acceleratorTypes", one.type), "accelerator_count": one.count}
            for one in machine.accelerators
        ]
    _add_security(body, machine)
    _add_rest(body, machine)
    return body


def _disks(machine: Machine, choice: Choice, labels: Mapping[str, str], path: _Path) -> Iterator[Body]:
    """Yield the boot disk, which must be the first, and the others."""

    def made(disk: Storage, **more: Json) -> Body:
        kind = path("diskTypes", disk.type or default_disk_type(choice.machine_type))
        return _made_disk(disk, kind, {"labels": labels, **more})

    yield {"boot": True, "auto_delete": True, **made(machine.boot_disk, source_image=choice.image)}
    for disk in machine.disks:
        if disk.is_local:
            yield _local_ssd(disk, path)
            continue
        image: Body = {} if disk.image is None else {"source_image": disk.image}
        device: Body = {} if disk.device_name is None else {"device_name": disk.device_name}
        yield {"auto_delete": True, **device, **made(disk, **image)}
    for one in choice.attachments:
        known: Body = {"auto_delete": False, "device_name": one.disk.name}
        new = {"source": one.source} if one.source else made(one.disk, disk_name=one.name, labels=one.labels)
        yield {**known, **new}


def _made_disk(disk: Storage, disk_type: str, more: Mapping[str, Json]) -> Body:
    """Describe a disk to be made, without how it is attached."""
    made: Body = {"disk_type": disk_type, **more}
    if disk.size is not None:
        made["disk_size_gb"] = disk.size // GIB
    if disk.iops is not None:
        made["provisioned_iops"] = disk.iops
    if disk.throughput is not None:
        made["provisioned_throughput"] = disk.throughput
    body: Body = {"initialize_params": made}
    if disk.kms_key is not None:
        body["disk_encryption_key"] = {"kms_key_name": disk.kms_key}
    return body


def _local_ssd(disk: Disk, path: _Path) -> Body:
    return {
        "type_": "SCRATCH",
        "auto_delete": True,
        "interface": (disk.interface or "nvme").upper(),
        "initialize_params": {"disk_type": path("diskTypes", "local-ssd")},
    }


def _interface(machine: Machine, choice: Choice) -> Body:
    interface: Body = {}
    if machine.network is not None:
        written = machine.network
        interface["network"] = written if "/" in written else f"global/networks/{written}"
    elif machine.subnetwork is None:
        interface["network"] = _DEFAULT_NETWORK
    if machine.subnetwork is not None:
        interface["subnetwork"] = subnetwork_path(machine.subnetwork, region_of(choice.zone))
    if choice.internal_address:
        interface["network_i_p"] = choice.internal_address
    if machine.nic_type is not None:
        interface["nic_type"] = machine.nic_type.upper()
    if machine.external_ip == "ephemeral" or choice.external_address:
        interface["access_configs"] = [access_config(machine, choice.external_address)]
    if machine.ipv6 != "none":
        interface["stack_type"] = "IPV4_IPV6"
    if machine.ipv6 == "external":
        config: Body = {"name": "External IPv6", "type_": "DIRECT_IPV6", "network_tier": "PREMIUM"}
        interface["ipv6_access_configs"] = [config]
    return interface


def subnetwork_path(written: str, region: str) -> str:
    """Return the path of a subnetwork that may be written as a name only."""
    return written if "/" in written else f"regions/{region}/subnetworks/{written}"


def access_config(machine: Machine, address: str) -> Body:
    """Return what gives a machine an external address: this one, or with an empty one any."""
    config: Body = {"name": "External NAT", "type_": "ONE_TO_ONE_NAT"}
    if address:
        config["nat_i_p"] = address
    if machine.network_tier is not None:
        config["network_tier"] = machine.network_tier.upper()
    return config


def _scheduling(machine: Machine, machine_type: str) -> Body:
    """Say only what differs from Compute Engine's own defaults."""
    scheduling: Body = {}
    if machine.is_spot:
        scheduling["provisioning_model"] = "SPOT"
        scheduling["instance_termination_action"] = machine.interruption.upper()
        scheduling["automatic_restart"] = False
    elif machine.automatic_restart is not None:
        scheduling["automatic_restart"] = machine.automatic_restart
    if (maintenance := machine.maintenance or _usual_maintenance(machine, machine_type)) is not None:
        scheduling["on_host_maintenance"] = maintenance.upper()
    if machine.node_group is not None:
        affinity: Body = {"key": _NODE_GROUP, "operator": "IN", "values": [machine.node_group]}
        scheduling["node_affinities"] = [affinity]
    return scheduling


def _usual_maintenance(machine: Machine, machine_type: str) -> str | None:
    """Return what Compute Engine insists on, and would not choose by itself; None where it does."""
    stays = machine.is_spot or machine.accelerators or machine.confidential or not migrates(machine_type)
    return "terminate" if stays else None


def _add_security(body: Body, machine: Machine) -> None:
    if machine.service_account is not None:
        scopes: Json = list(machine.scopes or [_CLOUD_PLATFORM])
        body["service_accounts"] = [{"email": machine.service_account, "scopes": scopes}]
    if machine.shielded_vm is not None:
        body["shielded_instance_config"] = {
            "enable_secure_boot": machine.shielded_vm.secure_boot,
            "enable_vtpm": machine.shielded_vm.vtpm,
            "enable_integrity_monitoring": machine.shielded_vm.integrity_monitoring,
        }
    if machine.confidential is not None:
        body["confidential_instance_config"] = {
            "enable_confidential_compute": True,
            "confidential_instance_type": machine.confidential.upper(),
        }


def _add_rest(body: Body, machine: Machine) -> None:
    if machine.network_tags:
        body["tags"] = {"items": list(machine.network_tags)}
    if machine.can_ip_forward:
        body["can_ip_forward"] = True
    if machine.min_cpu_platform is not None:
        body["min_cpu_platform"] = machine.min_cpu_platform
    advanced: Body = {}
    if machine.threads_per_core is not None:
        advanced["threads_per_core"] = machine.threads_per_core
    if machine.nested_virtualization:
        advanced["enable_nested_virtualization"] = True
    if advanced:
        body["advanced_machine_features"] = advanced
    if machine.reservation is not None:
        body["reservation_affinity"] = {
            "consume_reservation_type": "SPECIFIC_RESERVATION",
            "key": _RESERVATION,
            "values": [machine.reservation],
        }
