"""What Compute Engine is asked to make, checked against its SDK's messages and its discovery document."""

import json
from typing import Any, Final

import pytest
from google.cloud import compute_v1

from infrakit_providers.gcp.disks import DataDisk
from infrakit_providers.gcp.instance_body import (
    KEPT_FOR_OURS,
    Attachment,
    Body,
    Choice,
    access_config,
    instance,
    made_alone,
    properties,
    subnetwork_path,
    user_metadata,
)
from infrakit_providers.gcp.machine import Machine
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Json
from tests.fakes.gce.checking import check_of
from tests.gcp.material import ACCOUNT, KEY, REFERENCE, SUBNETWORK, WHOLE_MACHINE

OURS: Final = {"infrakit-cluster": "prod", "infrakit-group": "web"}
ZONE: Final = "europe-west1-b"
DATA: Final = DataDisk.model_validate({"name": "db", "size": "100GiB", "type": "pd-ssd", "kms_key": KEY})
DISK_PATH: Final = "projects/shop-123/zones/europe-west1-b/disks/prod-db-a"
AUTH: Final = "https://www.googleapis.com/auth"
NUMBERS_AS_TEXT: Final = ("disk_size_gb", "provisioned_iops", "provisioned_throughput")
"""64 bits do not fit into JSON's numbers."""


def machine(written: dict[str, Json] | None = None) -> Machine:
    return Machine.model_validate({"machine_types": "n2-standard-2", **(written or {})})


def choice(**chosen: Any) -> Choice:
    return Choice(**{"zone": ZONE, "machine_type": "n2-standard-2", "image": REFERENCE, "labels": OURS, **chosen})


def body(written: dict[str, Json] | None = None, **chosen: Any) -> dict[str, Any]:
    return dict(properties(machine(written), choice(**chosen)))


def one(written: dict[str, Json] | None = None, **chosen: Any) -> dict[str, Any]:
    return dict(instance("web-0", machine(written), choice(**chosen)))


def interface(written: dict[str, Json], **chosen: Any) -> dict[str, Any]:
    [found] = body(written, **chosen)["network_interfaces"]
    return dict(found)


def as_read(value: Any, key: str = "") -> Any:
    """Return a body as the SDK reads it back."""
    if isinstance(value, dict):
        return {name: as_read(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_read(inner) for inner in value]
    return str(value) if key in NUMBERS_AS_TEXT else value


EVERYTHING: Final = {
    "attachments": (Attachment(DATA, "prod-db-a", DISK_PATH), Attachment(DATA, "prod-db-b", labels=OURS)),
    "external_address": "203.0.113.7",
    "internal_address": "10.10.0.7",
    "metadata": {"user-data": "x", "infrakit-tags": "{}"},
}
CASES: Final[list[tuple[dict[str, Json], dict[str, Any]]]] = [
    ({}, {}),
    (WHOLE_MACHINE, EVERYTHING),
    ({"provisioning": "spot", "interruption": "stop", "external_ip": "ephemeral"}, {}),
    ({"confidential": "sev_snp", "ipv6": "internal", "subnetwork": "web"}, {}),
]
IDS: Final = ["least", "everything", "spot", "confidential"]


@pytest.mark.parametrize(("written", "chosen"), CASES, ids=IDS)
def test_the_sdk_and_the_discovery_document_take_a_machine_as_it_is(
    written: dict[str, Json], chosen: dict[str, Any]
) -> None:
    asked = one(written, **chosen)
    message = compute_v1.Instance(asked)
    assert compute_v1.Instance.to_dict(message, always_print_fields_with_no_presence=False) == as_read(asked)
    sent = json.loads(compute_v1.Instance.to_json(message, always_print_fields_with_no_presence=False))
    check_of("Instance", "compute.instances.insert")(sent, "resource")


@pytest.mark.parametrize(("written", "chosen"), CASES, ids=IDS)
def test_the_sdk_and_the_discovery_document_take_the_properties_of_many_as_they_are(
    written: dict[str, Json], chosen: dict[str, Any]
) -> None:
    asked = body(written, **chosen)
    message = compute_v1.BulkInsertInstanceResource({"instance_properties": asked})
    read = compute_v1.BulkInsertInstanceResource.to_dict(message, always_print_fields_with_no_presence=False)
    assert read == {"instance_properties": as_read(asked)}
    sent = compute_v1.BulkInsertInstanceResource.to_json(message, always_print_fields_with_no_presence=False)
    check_of("BulkInsertInstanceResource", "compute.instances.bulkInsert")(json.loads(sent), "resource")


def test_a_plain_machine_asks_for_no_more_than_it_needs() -> None:
    assert body() == {
        "machine_type": "n2-standard-2",
        "labels": OURS,
        "disks": [
            {
                "boot": True,
                "auto_delete": True,
                "initialize_params": {"disk_type": "pd-balanced", "labels": OURS, "source_image": REFERENCE},
            }
        ],
        "network_interfaces": [{"network": "global/networks/default"}],
    }


def test_one_machine_has_paths_where_many_have_names() -> None:
    written: dict[str, Json] = {"accelerators": [{"type": "nvidia-l4"}], "disks": [{"type": "local-ssd"}]}
    alone = one(written)
    assert alone.pop("name") == "web-0"
    assert alone["machine_type"] == f"zones/{ZONE}/machineTypes/n2-standard-2"
    assert [disk["initialize_params"]["disk_type"] for disk in alone["disks"]] == [
        f"zones/{ZONE}/diskTypes/pd-balanced",
        f"zones/{ZONE}/diskTypes/local-ssd",
    ]
    assert alone["guest_accelerators"][0]["accelerator_type"] == f"zones/{ZONE}/acceleratorTypes/nvidia-l4"
    for kind in ("machineTypes", "diskTypes", "acceleratorTypes"):
        alone = json.loads(json.dumps(alone).replace(f"zones/{ZONE}/{kind}/", ""))
    assert alone == body(written)


def test_our_labels_win_over_the_user_s_on_the_machine_and_its_disks() -> None:
    asked = body({"labels": {"team": "web", "infra": "mine"}, "disks": [{"size": "10GiB"}]}, labels={"infra": "ours"})
    expected = {"team": "web", "infra": "ours"}
    assert asked["labels"] == expected
    assert [disk["initialize_params"]["labels"] for disk in asked["disks"]] == [expected, expected]


def test_more_labels_than_a_machine_can_have_are_refused_before_any_call() -> None:
    written: dict[str, Json] = {"labels": {f"mine-{number}": "" for number in range(40)}}
    with pytest.raises(ProviderError, match="65 labels"):
        body(written, labels={f"ours-{number}": "" for number in range(25)})


@pytest.mark.parametrize(
    ("types", "chosen", "kind"),
    [
        (["n2-standard-2", "n4-standard-2"], "n2-standard-2", "pd-balanced"),
        (["n2-standard-2", "n4-standard-2"], "n4-standard-2", "hyperdisk-balanced"),
        (["x9-standard-2"], "x9-standard-2", "pd-balanced"),
    ],
)
def test_a_disk_without_a_type_is_of_one_that_the_chosen_machine_type_has(
    types: list[Json], chosen: str, kind: str
) -> None:
    [disk] = body({"machine_types": types}, machine_type=chosen)["disks"]
    assert disk["initialize_params"]["disk_type"] == kind


def test_disks_are_made_as_written() -> None:
    written: dict[str, Json] = {
        "boot_disk": {"size": "20GiB", "type": "pd-ssd", "kms_key": KEY},
        "disks": [
            {"device_name": "c", "size": "1TiB", "type": "hyperdisk-balanced", "iops": 6000, "throughput": 500},
            {"image": "global/images/tools"},
            {"type": "local-ssd", "interface": "scsi"},
        ],
    }
    boot, cache, tools, scratch = body(written)["disks"]
    assert boot["disk_encryption_key"] == {"kms_key_name": KEY}
    assert (boot["initialize_params"]["disk_type"], boot["initialize_params"]["disk_size_gb"]) == ("pd-ssd", 20)
    assert cache == {
        "auto_delete": True,
        "device_name": "c",
        "initialize_params": {
            "disk_type": "hyperdisk-balanced",
            "labels": OURS,
            "disk_size_gb": 1024,
            "provisioned_iops": 6000,
            "provisioned_throughput": 500,
        },
    }
    assert tools["initialize_params"]["source_image"] == "global/images/tools"
    assert scratch == {
        "type_": "SCRATCH",
        "auto_delete": True,
        "interface": "SCSI",
        "initialize_params": {"disk_type": "local-ssd"},
    }


def test_data_disks_are_attached_or_made_and_stay_when_the_machine_goes() -> None:
    labels = {"infrakit-gcp-disk": "db"}
    attachments = (Attachment(DATA, "prod-db-a", DISK_PATH), Attachment(DATA, "prod-db-b", labels=labels))
    _, there, made = body({"labels": {"team": "web"}}, attachments=attachments)["disks"]
    assert there == {"auto_delete": False, "device_name": "db", "source": DISK_PATH}
    assert made == {
        "auto_delete": False,
        "device_name": "db",
        "initialize_params": {
            "disk_name": "prod-db-b",
            "disk_type": "pd-ssd",
            "disk_size_gb": 100,
            "labels": labels,
        },
        "disk_encryption_key": {"kms_key_name": KEY},
    }


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ({}, {"network": "global/networks/default"}),
        ({"network": "web"}, {"network": "global/networks/web"}),
        ({"network": "projects/host-1/global/networks/web"}, {"network": "projects/host-1/global/networks/web"}),
        ({"subnetwork": "web"}, {"subnetwork": "regions/europe-west1/subnetworks/web"}),
        (
            {"network": "web", "subnetwork": SUBNETWORK},
            {"network": "global/networks/web", "subnetwork": SUBNETWORK},
        ),
    ],
    ids=["default", "name", "path", "subnetwork", "both"],
)
def test_networks_are_named_by_paths(written: dict[str, Json], network: dict[str, str]) -> None:
    assert interface(written) == network


@pytest.mark.parametrize(
    ("written", "address", "configs"),
    [
        ({}, "", None),
        ({"external_ip": "ephemeral"}, "", [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT"}]),
        (
            {"external_ip": "ephemeral", "network_tier": "standard"},
            "",
            [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT", "network_tier": "STANDARD"}],
        ),
        (
            {"external_ip": "static"},
            "203.0.113.7",
            [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT", "nat_i_p": "203.0.113.7"}],
        ),
        ({"external_ip": "static"}, "", None),
    ],
    ids=["none", "ephemeral", "tier", "static", "static, and none is free yet"],
)
def test_an_external_address_is_given_as_written(
    written: dict[str, Json], address: str, configs: list[dict[str, str]] | None
) -> None:
    assert interface(written, external_address=address).get("access_configs") == configs


def test_an_address_given_later_is_like_one_given_at_once() -> None:
    written: dict[str, Json] = {"external_ip": "static", "network_tier": "premium"}
    [at_once] = interface(written, external_address="203.0.113.7")["access_configs"]
    assert access_config(machine(written), "203.0.113.7") == at_once
    assert compute_v1.AccessConfig(at_once).nat_i_p == "203.0.113.7"


def test_an_internal_address_is_asked_for() -> None:
    assert interface({"internal_ip": "static"}, internal_address="10.10.0.7")["network_i_p"] == "10.10.0.7"


@pytest.mark.parametrize(
    ("ipv6", "outside"),
    [
        ("internal", None),
        ("external", [{"name": "External IPv6", "type_": "DIRECT_IPV6", "network_tier": "PREMIUM"}]),
    ],
)
def test_ipv6_makes_a_dual_stack(ipv6: str, outside: Any) -> None:
    found = interface({"ipv6": ipv6, "subnetwork": "web"})
    assert (found["stack_type"], found.get("ipv6_access_configs")) == ("IPV4_IPV6", outside)


def test_a_subnetwork_s_name_is_completed_by_its_region() -> None:
    assert subnetwork_path("web", "europe-west1") == "regions/europe-west1/subnetworks/web"
    assert subnetwork_path(SUBNETWORK, "europe-west1") == SUBNETWORK


TERMINATE: Final = {"on_host_maintenance": "TERMINATE"}


@pytest.mark.parametrize(
    ("written", "machine_type", "scheduling"),
    [
        ({}, "n2-standard-2", None),
        ({"maintenance": "terminate"}, "n2-standard-2", TERMINATE),
        ({"maintenance": "migrate"}, "n2-standard-2", {"on_host_maintenance": "MIGRATE"}),
        ({"automatic_restart": False}, "n2-standard-2", {"automatic_restart": False}),
        ({"accelerators": [{"type": "nvidia-tesla-t4"}]}, "n1-standard-2", TERMINATE),
        ({"confidential": "sev"}, "n2d-standard-2", TERMINATE),
        ({"confidential": "sev", "maintenance": "migrate"}, "n2d-standard-2", {"on_host_maintenance": "MIGRATE"}),
        ({}, "a2-highgpu-1g", TERMINATE),
        ({}, "c3-standard-192-metal", TERMINATE),
        ({}, "ct5lp-hightpu-4t", TERMINATE),
        (
            {"provisioning": "spot"},
            "n2-standard-2",
            {
                "provisioning_model": "SPOT",
                "instance_termination_action": "DELETE",
                "automatic_restart": False,
                **TERMINATE,
            },
        ),
        (
            {"provisioning": "spot", "interruption": "stop"},
            "n2-standard-2",
            {
                "provisioning_model": "SPOT",
                "instance_termination_action": "STOP",
                "automatic_restart": False,
                **TERMINATE,
            },
        ),
        (
            {"node_group": "mine"},
            "n2-standard-2",
            {
                "node_affinities": [
                    {"key": "compute.googleapis.com/node-group-name", "operator": "IN", "values": ["mine"]}
                ]
            },
        ),
    ],
)
def test_scheduling_says_what_compute_engine_would_not_choose_by_itself(
    written: dict[str, Json], machine_type: str, scheduling: dict[str, Any] | None
) -> None:
    assert body(written, machine_type=machine_type).get("scheduling") == scheduling


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ({"network_tags": ["web"]}, "tags", {"items": ["web"]}),
        ({"can_ip_forward": True}, "can_ip_forward", True),
        ({"min_cpu_platform": "Intel Ice Lake"}, "min_cpu_platform", "Intel Ice Lake"),
        ({"threads_per_core": 1}, "advanced_machine_features", {"threads_per_core": 1}),
        ({"nested_virtualization": True}, "advanced_machine_features", {"enable_nested_virtualization": True}),
        (
            {"service_account": ACCOUNT},
            "service_accounts",
            [{"email": ACCOUNT, "scopes": [f"{AUTH}/cloud-platform"]}],
        ),
        (
            {"service_account": "default", "scopes": ["logging.write"]},
            "service_accounts",
            [{"email": "default", "scopes": [f"{AUTH}/logging.write"]}],
        ),
        (
            {"shielded_vm": {"secure_boot": True}},
            "shielded_instance_config",
            {"enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True},
        ),
        (
            {"confidential": "sev_snp"},
            "confidential_instance_config",
            {"enable_confidential_compute": True, "confidential_instance_type": "SEV_SNP"},
        ),
        (
            {"accelerators": [{"type": "nvidia-tesla-t4", "count": 2}]},
            "guest_accelerators",
            [{"accelerator_type": "nvidia-tesla-t4", "accelerator_count": 2}],
        ),
        (
            {"reservation": "web"},
            "reservation_affinity",
            {
                "consume_reservation_type": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": ["web"],
            },
        ),
    ],
)
def test_what_is_written_is_asked_for(written: dict[str, Json], key: str, value: Any) -> None:
    assert body(written)[key] == value
    assert key not in body()


def test_a_network_card_is_of_the_kind_that_is_written() -> None:
    assert interface({"nic_type": "gvnic"})["nic_type"] == "GVNIC"


def test_protected_machines_are_made_alone_because_many_are_made_without_protection() -> None:
    written: dict[str, Json] = {"deletion_protection": True}
    assert made_alone(machine(written)) and not made_alone(machine())
    assert one(written)["deletion_protection"] is True
    assert "deletion_protection" not in body(written)


def test_metadata_is_asked_for_in_one_order() -> None:
    asked: Body = body(metadata={"user-data": "x", "infrakit-tags": "{}"})
    assert asked["metadata"] == {
        "items": [{"key": "infrakit-tags", "value": "{}"}, {"key": "user-data", "value": "x"}]
    }


def test_the_same_input_gives_the_same_body() -> None:
    assert one(WHOLE_MACHINE, **EVERYTHING) == one(WHOLE_MACHINE, **EVERYTHING)


def test_user_data_stays_out_of_what_is_printed() -> None:
    assert "s3cret" not in repr(choice(metadata={"user-data": "s3cret"}))


@pytest.mark.parametrize(
    ("written", "user_data", "metadata"),
    [
        ({}, None, {}),
        ({}, b"hello", {"user-data": "hello"}),
        ({"metadata": {"a": "b"}}, None, {"a": "b"}),
        ({"metadata": {"a": "b"}}, "größer".encode(), {"a": "b", "user-data": "größer"}),
        ({"user_data_keys": ["startup-script"]}, b"#!/bin/sh", {"startup-script": "#!/bin/sh"}),
        (
            {"user_data_keys": ["user-data", "startup-script"]},
            b"#!/bin/sh",
            {"user-data": "#!/bin/sh", "startup-script": "#!/bin/sh"},
        ),
    ],
    ids=["none", "where LinuxKit reads it", "the user's", "beside the user's", "a script", "both"],
)
def test_user_data_goes_where_it_is_wanted(
    written: dict[str, Json], user_data: bytes | None, metadata: dict[str, str]
) -> None:
    assert user_metadata(machine(written), user_data) == metadata


@pytest.mark.parametrize(
    ("written", "user_data", "message"),
    [
        ({}, b"\x1f\x8b\x00", "the user data is not UTF-8 text"),
        ({}, b"x" * 262_145, "the user data has 262145 bytes, and metadata takes 262144"),
        (
            {"user_data_keys": ["user-data", "startup-script"]},
            b"x" * 240_000,
            f"with the other metadata 480023 bytes, and metadata takes {524_288 - KEPT_FOR_OURS}",
        ),
    ],
    ids=["no text", "too long", "too long with the rest"],
)
def test_user_data_that_does_not_fit_is_refused_before_any_call(
    written: dict[str, Json], user_data: bytes, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        user_metadata(machine(written), user_data)
    assert caught.value.hint


def test_user_data_as_long_as_it_may_be_fits() -> None:
    assert len(user_metadata(machine(), b"x" * 262_144)["user-data"]) == 262_144
