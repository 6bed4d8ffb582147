"""The role allows what a spec needs, in the project where it is needed, and nothing else."""

from typing import Final

import pytest
import yaml

from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.permissions import ACT_AS, Needs, least_role, needs
from infrakit_providers.gcp.settings import Settings
from infrakit_py.model.spec import Json
from tests.fakes.gce.document import document
from tests.gcp.ground import image as of_reference
from tests.gcp.material import ACCOUNT, KEY, SUBNETWORK, WHOLE_MACHINE

SETTINGS: Final = Settings(project="shop-123", region="europe-west1")
OWN_IMAGE: Final = "global/images/web-7"
NO_METHOD: Final = {
    "addresses.create", "addresses.createInternal", "addresses.deleteInternal", "addresses.use",
    "addresses.useInternal", "disks.create", "disks.use", "images.useReadOnly", "instanceGroups.update",
    "instances.create", "instances.use", "subnetworks.use", "subnetworks.useExternalIp",
}  # fmt: skip
"""Permissions that are not called as a method is: IAM documentation, "Compute Engine roles and permissions"."""


def needed(*written: dict[str, Json], named: bool = True, image: str = OWN_IMAGE) -> Needs:
    machines = [Machine.model_validate({"machine_types": "n2-standard-2", **one}) for one in written or ({},)]
    return needs([(machine, named, of_reference(image)) for machine in machines], SETTINGS)


def role(*written: dict[str, Json], image: str = OWN_IMAGE, cluster: str = "prod") -> str:
    machines = [Machine.model_validate({"machine_types": "n2-standard-2", **one}) for one in written or ({},)]
    return least_role(cluster, [(machine, True, of_reference(image)) for machine in machines], SETTINGS)


def test_a_plain_group_needs_little() -> None:
    assert needed(named=False) == Needs(
        own=(
            "compute.addresses.list",
            "compute.disks.create",
            "compute.disks.list",
            "compute.disks.setLabels",
            "compute.images.get",
            "compute.images.useReadOnly",
            "compute.instances.create",
            "compute.instances.delete",
            "compute.instances.get",
            "compute.instances.list",
            "compute.instances.setLabels",
            "compute.instances.setMetadata",
            "compute.machineTypes.get",
            "compute.machineTypes.list",
            "compute.networks.get",
            "compute.projects.get",
            "compute.regions.get",
            "compute.subnetworks.get",
            "compute.subnetworks.use",
            "compute.zoneOperations.get",
            "compute.zoneOperations.list",
            "compute.zones.list",
        ),
        elsewhere={},
        accounts=(),
        kms_keys=(),
    )


@pytest.mark.parametrize(
    ("machine", "more"),
    [
        (
            {"data_disks": [{"name": "db", "size": "10GiB"}]},
            {"disks.delete", "disks.get", "disks.use", "instances.attachDisk"},
        ),
        (
            {"external_ip": "static"},
            {
                "addresses.create", "addresses.delete", "addresses.get", "addresses.setLabels", "addresses.use",
                "instances.addAccessConfig", "regionOperations.get", "subnetworks.useExternalIp",
            },
        ),
        (
            {"internal_ip": "static"},
            {
                "addresses.createInternal", "addresses.deleteInternal", "addresses.get", "addresses.setLabels",
                "addresses.useInternal", "regionOperations.get",
            },
        ),
        ({"external_ip": "ephemeral"}, {"subnetworks.useExternalIp"}),
        ({"ipv6": "external"}, {"subnetworks.useExternalIp"}),
        ({"network_tags": ["web"]}, {"instances.setTags"}),
        ({"deletion_protection": True}, {"instances.setDeletionProtection"}),
        ({"accelerators": [{"type": "nvidia-l4"}]}, {"acceleratorTypes.get"}),
        ({"reservation": "web"}, {"reservations.get"}),
        (
            {"backend_services": ["web"]},
            {
                "backendServices.get", "instanceGroups.get", "instanceGroups.list", "instanceGroups.update",
                "instances.use",
            },
        ),
        (
            {"backend_services": ["regions/europe-west1/web"]},
            {
                "regionBackendServices.get", "instanceGroups.get", "instanceGroups.list", "instanceGroups.update",
                "instances.use",
            },
        ),
        (
            {"target_pools": ["web"]},
            {
                "instances.use", "regionOperations.get", "targetPools.addInstance", "targetPools.get",
                "targetPools.removeInstance",
            },
        ),
        ({"provisioning": "spot"}, set()),
        ({"labels": {"team": "web"}, "metadata": {"a": "b"}}, set()),
    ],
)  # fmt: skip
def test_what_is_used_adds_its_permissions_and_no_others(machine: dict[str, Json], more: set[str]) -> None:
    assert set(needed(machine).own) - set(needed().own) == {f"compute.{one}" for one in more}


def test_only_named_members_keep_anything() -> None:
    machine: dict[str, Json] = {"data_disks": [{"name": "db", "size": "10GiB"}], "internal_ip": "static"}
    assert needed(machine, named=False) == needed(named=False)


def test_a_machine_with_an_account_acts_as_it() -> None:
    more = set(needed({"service_account": ACCOUNT}).own) - set(needed().own)
    assert more == {ACT_AS, "compute.instances.setServiceAccount"}
    assert needed({"service_account": ACCOUNT}).accounts == (ACCOUNT,)


def test_a_family_must_be_looked_up() -> None:
    more = set(needed(image="global/images/family/web").own) - set(needed().own)
    assert more == {"compute.images.getFromFamily"}


@pytest.mark.parametrize(
    ("machine", "image", "project", "permissions"),
    [
        (
            {},
            "projects/debian-cloud/global/images/family/debian-12",
            "debian-cloud",
            ("compute.images.get", "compute.images.getFromFamily", "compute.images.useReadOnly"),
        ),
        (
            {"disks": [{"image": "projects/tools-123/global/images/tools"}]},
            OWN_IMAGE,
            "tools-123",
            ("compute.images.get", "compute.images.useReadOnly"),
        ),
        (
            {"subnetwork": SUBNETWORK, "external_ip": "ephemeral"},
            OWN_IMAGE,
            "network-host",
            (
                "compute.networks.get",
                "compute.subnetworks.get",
                "compute.subnetworks.use",
                "compute.subnetworks.useExternalIp",
            ),
        ),
        ({"service_account": "web@other-123.iam.gserviceaccount.com"}, OWN_IMAGE, "other-123", (ACT_AS,)),
    ],
    ids=["image", "disk's image", "shared network", "account"],
)
def test_what_is_another_project_s_is_needed_there(
    machine: dict[str, Json], image: str, project: str, permissions: tuple[str, ...]
) -> None:
    assert needed(machine, image=image).elsewhere == {project: permissions}
    assert f"# Needed in project {project}, too" in role(machine, image=image)


def test_the_role_is_what_gcloud_takes() -> None:
    text = role(WHOLE_MACHINE, cluster="shop-eu")
    assert yaml.safe_load(text) == {
        "title": "infrakit shop-eu",
        "description": "What infrakit needs for the machines of a cluster",
        "stage": "GA",
        "includedPermissions": list(needed(WHOLE_MACHINE).own),
    }
    assert "# gcloud iam roles create infrakit.shop_eu --project shop-123 --file THIS_FILE" in text


def test_the_role_says_who_else_must_be_allowed_something() -> None:
    text = role({"service_account": ACCOUNT, "boot_disk": {"kms_key": KEY}}, {"service_account": "default"})
    assert f"add-iam-policy-binding {ACCOUNT} --project shop-123" in text
    assert "add-iam-policy-binding PROJECT_NUMBER-compute@developer.gserviceaccount.com" in text
    assert f"roles/cloudkms.cryptoKeyEncrypterDecrypter on\n#   {KEY}" in text


def test_permissions_are_sorted_whatever_the_order_of_groups() -> None:
    both = needed(WHOLE_MACHINE, {})
    assert both == needed({}, WHOLE_MACHINE)
    assert list(both.own) == sorted(set(both.own))


def test_every_permission_is_of_a_resource_and_most_are_called_as_its_method() -> None:
    resources = document()["resources"]
    own = needed(WHOLE_MACHINE, {"external_ip": "ephemeral"}, image="global/images/family/x").own
    names = {permission.removeprefix("compute.") for permission in own if permission.startswith("compute.")}
    assert {name.split(".")[0] for name in names} - set(resources) == set()
    methods = {f"{kind}.{method}" for kind, resource in resources.items() for method in resource["methods"]}
    assert names - methods == NO_METHOD
