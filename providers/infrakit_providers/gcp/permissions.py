"""The least that IAM must allow for a cluster's machines, as a custom role. Pure, and it never asks Google.

Which permissions a call needs: Compute Engine API reference (each method's "IAM Permissions") and the guides "Create
and start a VM instance", "Configure static external IP addresses" and "Add VMs to an unmanaged instance group". IAM
cannot tell a cluster's machines from others by their labels: that others are left alone is this program's doing.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from infrakit_providers.gcp.fields import image_path, project_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.publish_settings import PublishSettings, must_be_published
from infrakit_providers.gcp.published import reference_of
from infrakit_providers.gcp.settings import Settings
from infrakit_py.model.spec import Image

NamedMachine: TypeAlias = tuple[Machine, bool, Image]
"""A group's machine, whether the group has named members, and its image."""

ACT_AS: Final = "iam.serviceAccounts.actAs"
_ACCOUNTS_DOMAIN: Final = ".iam.gserviceaccount.com"
_ALWAYS: Final = (
    "compute.disks.create",
    "compute.disks.setLabels",
    "compute.images.get",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.machineTypes.get",
    "compute.machineTypes.list",
    "compute.projects.get",
    "compute.regions.get",
    "compute.zoneOperations.get",
    "compute.zoneOperations.list",
    "compute.zones.list",
)
_FOR_LEFTOVERS: Final = ("compute.addresses.list", "compute.disks.list")
"""Whoever destroys a cluster looks for these, whatever its spec says now: it may have said something else before."""
_FOR_DATA_DISKS: Final = (
    "compute.disks.delete",
    "compute.disks.get",
    "compute.disks.use",
    "compute.instances.attachDisk",
)
_FOR_ADDRESSES: Final = (
    "compute.addresses.get",
    "compute.addresses.setLabels",
    "compute.regionOperations.get",
)
_FOR_EXTERNAL_ADDRESSES: Final = (
    "compute.addresses.create",
    "compute.addresses.delete",
    "compute.addresses.use",
    "compute.instances.addAccessConfig",
)
_FOR_INTERNAL_ADDRESSES: Final = (
    "compute.addresses.createInternal",
    "compute.addresses.deleteInternal",
    "compute.addresses.useInternal",
)
_FOR_INSTANCE_GROUPS: Final = (
    "compute.instanceGroups.get",
    "compute.instanceGroups.list",
    "compute.instanceGroups.update",
    "compute.instances.use",
)
_FOR_TARGET_POOLS: Final = (
    "compute.instances.use",
    "compute.regionOperations.get",
    "compute.targetPools.addInstance",
    "compute.targetPools.get",
    "compute.targetPools.removeInstance",
)
_FOR_PUBLISHED: Final = (
    "compute.disks.list",
    "compute.globalOperations.get",
    "compute.images.delete",
    "compute.images.list",
)
"""To find and delete images that were published: whoever may publish any destroys what nobody uses."""
_FOR_PUBLISHING: Final = ("compute.images.create", "compute.images.setLabels")
_FOR_SHARING: Final = ("compute.images.getIamPolicy", "compute.images.setIamPolicy")
_IN_BUCKET: Final = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
_DEFAULT_ACCOUNT: Final = "PROJECT_NUMBER-compute@developer.gserviceaccount.com"
_NOT_IN_A_ROLE_ID: Final = re.compile(r"[^a-zA-Z0-9_.]")
_MOST_IN_TITLE: Final = 100
_MOST_IN_ROLE_ID: Final = 64
"""Characters: IAM API reference, projects.roles."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Permissions in the provider's project and `elsewhere` by project, both sorted; whom machines act as; keys.

    `in_bucket` are those that are needed in the bucket that images are published through.
    """

    own: tuple[str, ...]
    elsewhere: Mapping[str, tuple[str, ...]]
    accounts: tuple[str, ...]
    kms_keys: tuple[str, ...]
    in_bucket: tuple[str, ...] = ()


def needs(machines: Sequence[NamedMachine], settings: Settings) -> Needs:
    """Return what whoever applies a spec of these machines must be allowed. The same spec needs the same."""
    needed: defaultdict[str, set[str]] = defaultdict(set)
    needed[settings.project].update((*_ALWAYS, *_FOR_LEFTOVERS))
    for machine, named, image in machines:
        needed[settings.project].update(_of_machine(machine, named))
        for project, permissions in _around(machine, reference_of(image), settings.project):
            needed[project].update(permissions)
    publish, publishes = settings.publish, any(must_be_published(image) for _, _, image in machines)
    if publish is not None:
        needed[settings.project].update(_of_publishing(publish, publishes=publishes))
    own = needed.pop(settings.project)
    everyone = [machine for machine, _, _ in machines]
    return Needs(
        tuple(sorted(own)),
        {project: tuple(sorted(needed[project])) for project in sorted(needed)},
        tuple(sorted({one.service_account for one in everyone if one.service_account is not None})),
        tuple(sorted({*_key_of(publish), *(key for one in everyone for key in _kms_keys(one))})),
        _IN_BUCKET if publish is not None and publishes else (),
    )


def _of_publishing(publish: PublishSettings, *, publishes: bool) -> Iterator[str]:
    """Yield what is needed in the project for the images that are published there."""
    yield from _chosen(
        (True, _FOR_PUBLISHED),
        (publishes, _FOR_PUBLISHING),
        (publishes and bool(publish.share_with), _FOR_SHARING),
    )


def _key_of(publish: PublishSettings | None) -> Iterator[str]:
    if publish is not None and publish.kms_key is not None:
        yield publish.kms_key


def _of_machine(machine: Machine, named: bool) -> Iterator[str]:
    """Yield what machines need in the project that they are made in."""
    yield from _chosen(
        (machine.service_account is not None, ["compute.instances.setServiceAccount"]),
        (bool(machine.network_tags), ["compute.instances.setTags"]),
        (machine.deletion_protection, ["compute.instances.setDeletionProtection"]),
        (bool(machine.accelerators), ["compute.acceleratorTypes.get"]),
        (machine.reservation is not None, ["compute.reservations.get"]),
        (bool(machine.backend_services), _FOR_INSTANCE_GROUPS),
        (any("/" in one for one in machine.backend_services), ["compute.regionBackendServices.get"]),
        (any("/" not in one for one in machine.backend_services), ["compute.backendServices.get"]),
        (bool(machine.target_pools), _FOR_TARGET_POOLS),
        (named and bool(machine.data_disks), _FOR_DATA_DISKS),
        (named and "static" in (machine.external_ip, machine.internal_ip), _FOR_ADDRESSES),
        (named and machine.external_ip == "static", _FOR_EXTERNAL_ADDRESSES),
        (named and machine.internal_ip == "static", _FOR_INTERNAL_ADDRESSES),
    )


def _around(machine: Machine, reference: str, own: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what machines need of images, networks and accounts, and in which project those are."""
    if machine.service_account is not None:
        yield _project_of_account(machine.service_account, own), [ACT_AS]
    for one in (reference, *(disk.image for disk in machine.disks if disk.image is not None)):
        image = image_path(one, own)
        project = own if image is None else image.project
        yield project, ("compute.images.get", "compute.images.useReadOnly")
        if image is not None and image.is_family:
            yield project, ["compute.images.getFromFamily"]
    written = machine.subnetwork or machine.network or ""
    network = project_of(written) or own
    yield network, ("compute.networks.get", "compute.subnetworks.get", "compute.subnetworks.use")
    if machine.external_ip != "none" or machine.ipv6 == "external":
        yield network, ["compute.subnetworks.useExternalIp"]


def _project_of_account(account: str, own: str) -> str:
    """Return the project of a service account, which its address names unless Google has made it."""
    _, _, domain = account.partition("@")
    return domain.removesuffix(_ACCOUNTS_DOMAIN) if domain.endswith(_ACCOUNTS_DOMAIN) else own


def _chosen(*parts: tuple[bool, Iterable[str]]) -> Iterator[str]:
    for wanted, permissions in parts:
        if wanted:
            yield from permissions


def _kms_keys(machine: Machine) -> Iterator[str]:
    for disk in (machine.boot_disk, *machine.disks, *machine.data_disks):
        if disk.kms_key is not None:
            yield disk.kms_key


def least_role(cluster: str, machines: Sequence[NamedMachine], settings: Settings) -> str:
    """Return the role for whoever applies the cluster's spec, as `gcloud iam roles create` takes it: YAML."""
    needed = needs(machines, settings)
    role_id = _NOT_IN_A_ROLE_ID.sub("_", f"infrakit.{cluster}")[:_MOST_IN_ROLE_ID]
    lines = [
        f"# gcloud iam roles create {role_id} --project {settings.project} --file THIS_FILE",
        *_remarks(needed),
        f"title: {json.dumps(f'infrakit {cluster}'[:_MOST_IN_TITLE])}",
        f"description: {json.dumps('What infrakit needs for the machines of a cluster')}",
        "stage: GA",
        "includedPermissions:",
    ]
    for permission in needed.own:
        if permission == ACT_AS:
            lines += _on_acting(needed.accounts, settings.project)
        lines.append(f"- {permission}")
    if needed.in_bucket and settings.publish is not None:
        lines.append(
            f"# Needed in bucket {settings.publish.bucket} only: rather leave these out, and grant them there."
        )
        lines += [f"- {permission}" for permission in needed.in_bucket]
    return "\n".join(lines) + "\n"


def _remarks(needed: Needs) -> Iterator[str]:
    """Yield, as comments, what a role of one project cannot allow."""
    for project, permissions in needed.elsewhere.items():
        public = "" if any(".subnetworks." in one for one in permissions) else " (public images need nothing)"
        yield f"# Needed in project {project}, too{public}: {', '.join(permissions)}"
    for key in needed.kms_keys:
        yield "# The project's Compute Engine service agent needs roles/cloudkms.cryptoKeyEncrypterDecrypter on"
        yield f"#   {key}"


def _on_acting(accounts: Sequence[str], own: str) -> Iterator[str]:
    yield "# With this, machines may have any service account of the project. Rather leave it out, and do"
    for account in accounts:
        if _project_of_account(account, own) == own:
            email = _DEFAULT_ACCOUNT if account == "default" else account
            yield f"#   gcloud iam service-accounts add-iam-policy-binding {email} --project {own} \\"
            yield "#     --role roles/iam.serviceAccountUser --member WHOEVER_APPLIES"
