"""What a user may write for GCP, and what is said of mistakes."""

import json
import subprocess
import sys

import jsonschema
import pytest
from pydantic import ValidationError

from infrakit_providers.gcp import plugin
from infrakit_providers.gcp.disks import GIB
from infrakit_providers.gcp.fields import image_path, project_of, region_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.publish_settings import PublishSettings
from infrakit_providers.gcp.settings import Settings, complaints
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import MachineReview, Permitting, Pointing
from tests.gcp.material import IMAGE, KEY, PLAIN_SETTINGS, REFERENCE, WHOLE_MACHINE, WHOLE_SETTINGS

SDK = ("google.cloud.compute_v1", "google.cloud.storage", "google.api_core", "google.auth", "google.protobuf")
SPOT: dict[str, Json] = {"provisioning": "spot"}


def said(
    machine: dict[str, Json], image: Image | None = None, *, named: bool = False, zones: list[str] | None = None
) -> list[str]:
    settings: dict[str, Json] = {**PLAIN_SETTINGS, **({} if zones is None else {"zones": zones})}
    written = {"machine_types": "n2-standard-2", **machine}
    review = MachineReview(settings=settings, machine=written, image=image, named=named)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in complaints(review)]


def mistakes(machine: dict[str, Json]) -> list[tuple[str, str]]:
    """Return places and messages of what the model refuses."""
    with pytest.raises(ValidationError) as caught:
        Machine.model_validate({"machine_types": ["n2-standard-2"], **machine})
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in caught.value.errors()]


def refused(**settings: Json) -> list[tuple[str, str]]:
    """Return places and messages of what the settings' model refuses."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"project": "shop-123", **settings})
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in caught.value.errors()]


def disk(**written: Json) -> dict[str, Json]:
    return {"disks": [written]}


def test_everything_that_may_be_written_is_accepted() -> None:
    machine = Machine.model_validate(WHOLE_MACHINE)
    settings = Settings.model_validate(WHOLE_SETTINGS)

    missing = set(Machine.model_fields) - set(WHOLE_MACHINE)
    assert missing == {"confidential", "interruption"}, "a field is missing in the material"
    assert set(WHOLE_SETTINGS) == set(Settings.model_fields), "a field is missing in the material"
    written = WHOLE_SETTINGS["publish"]
    assert isinstance(written, dict) and set(written) == set(PublishSettings.model_fields)
    assert machine.boot_disk.size == 20 * GIB
    assert settings.home == "europe-west1"


def test_nothing_is_said_of_what_fits_together() -> None:
    review = MachineReview(settings=WHOLE_SETTINGS, machine=WHOLE_MACHINE, image=IMAGE, named=True)
    assert list(complaints(review)) == []
    assert said({}, IMAGE) == []


@pytest.mark.parametrize(("model", "written"), [(Machine, WHOLE_MACHINE), (Settings, WHOLE_SETTINGS)])
def test_the_json_schema_accepts_what_the_model_accepts(
    model: type[Machine | Settings], written: dict[str, Json]
) -> None:
    schema = model.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json.dumps(written)), schema)


def test_defaults_are_compute_engine_s_own_or_the_safe_ones() -> None:
    machine = Machine.model_validate({"machine_types": "e2-small"})
    settings = Settings.model_validate(PLAIN_SETTINGS)
    assert machine.machine_types == ("e2-small",)
    assert (machine.external_ip, machine.service_account, machine.user_data_keys) == ("none", None, ("user-data",))
    assert (settings.listing_lag, settings.capacity_memory, settings.parallel_calls) == (10, 180, 16)
    assert settings.limits.mutations_per_minute == settings.limits.reads_per_minute == 1500


@pytest.mark.parametrize(
    ("written", "home"),
    [
        ({"region": "europe-west1"}, "europe-west1"),
        ({"zones": ["us-central1-a", "us-central1-f"]}, "us-central1"),
        ({"region": "northamerica-northeast1", "zones": ["northamerica-northeast1-a"]}, "northamerica-northeast1"),
    ],
    ids=["region", "zones", "both"],
)
def test_a_region_or_zones_say_where(written: dict[str, Json], home: str) -> None:
    assert Settings.model_validate({"project": "shop-123", **written}).home == home


def test_an_account_is_what_google_counts_calls_by() -> None:
    accounts = [
        Settings.model_validate({"project": project, **more}).account
        for project, more in (
            ("shop-123", {"region": "europe-west1"}),
            ("shop-123", {"zones": ["europe-west1-b"], "credentials": "other.json", "parallel_calls": 4}),
            ("shop-124", {"region": "europe-west1"}),
            ("shop-123", {"region": "europe-west2"}),
            ("shop-123", {"region": "europe-west1", "endpoint": "http://127.0.0.1:5556"}),
        )
    ]
    assert accounts[0] == accounts[1]
    assert len(set(accounts)) == 4


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({}, "", "write region, such as region: europe-west1, or zones"),
        ({"region": "europe-west1-b"}, "region", "must look like europe-west1"),
        ({"zones": []}, "zones", "at least 1 item"),
        ({"zones": "europe-west1-b"}, "zones", "must be a list, such as [europe-west1-b]"),
        ({"zones": ["europe-west1"]}, "zones.0", "must look like europe-west1-b"),
        ({"zones": ["europe-west1-b", "europe-west1-b"]}, "zones", "europe-west1-b is there twice"),
        ({"zones": ["europe-west1-b", "us-east1-b"]}, "zones", "us-east1-b does not lie in europe-west1"),
        ({"region": "us-east1", "zones": ["europe-west1-b"]}, "zones", "europe-west1-b does not lie in us-east1"),
        ({"region": "us-east1", "project": "Shop"}, "project", "must be a project's id, such as my-project-123"),
        ({"region": "us-east1", "project": "shop"}, "project", "(6 to 30 characters)"),
        ({"region": "us-east1", "project": "a" * 31}, "project", "(6 to 30 characters)"),
        ({"region": "us-east1", "endpoint": "compute.internal"}, "endpoint", "must look like https://"),
        ({"region": "us-east1", "endpoint": "https://x/compute/v1"}, "endpoint", "without a path"),
        ({"region": "us-east1", "credentials": ""}, "credentials", "at least 1 character"),
        ({"region": "us-east1", "listing_lag": 10}, "listing_lag", "write it with its unit"),
        ({"region": "us-east1", "parallel_calls": 65}, "parallel_calls", "less than or equal to 64"),
        ({"region": "us-east1", "limits": {"reads_per_minute": 0}}, "limits.reads_per_minute", "greater than 0"),
        ({"region": "us-east1", "profile": "x"}, "profile", "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_with_what_to_write(settings: dict[str, Json], place: str, message: str) -> None:
    [(where, what)] = refused(**settings)
    assert where == place and message in what


@pytest.mark.parametrize(
    "machine_type",
    [
        "e2-micro", "n2-standard-2", "n2-custom-4-8192", "custom-4-8192-ext", "e2-custom-micro-2048", "a3-megagpu-8g",
        "c3-standard-4-lssd", "x4-megamem-960-metal", "f1-micro",
    ],
)  # fmt: skip
def test_machine_types_of_every_family_are_accepted(machine_type: str) -> None:
    assert Machine.model_validate({"machine_types": machine_type}).machine_types == (machine_type,)


@pytest.mark.parametrize(
    "written",
    [
        {"machine_types": []}, {"machine_types": "n2"}, {"machine_types": "m5.large"}, {"type": "n2-standard-2"},
        {"zones": []}, {"zones": ["b"]}, {"boot_disk": "20GiB"}, {"boot_disk": {"size": 20}},
        {"boot_disk": {"type": "hyperdisk-ml"}}, {"boot_disk": {"type": "local-ssd"}},
        {"boot_disk": {"kms_key": "k"}},
        {"disks": [{"type": "pd-fast", "size": "10GiB"}]}, {"data_disks": [{"name": "db"}]},
        {"data_disks": [{"name": "DB", "size": "10GiB"}]}, {"data_disks": [{"name": "db", "type": "local-ssd"}]},
        {"external_ip": True}, {"internal_ip": "none"}, {"ipv6": True}, {"network": "Default"},
        {"network": "regions/europe-west1/networks/x"}, {"subnetwork": "global/subnetworks/x"},
        {"network_tags": ["Web"]}, {"network_tier": "PREMIUM"}, {"service_account": "web"}, {"scopes": []},
        {"user_data_keys": []}, {"user_data_keys": ["userdata"]}, {"confidential": True}, {"provisioning": "flex"},
        {"interruption": "hibernate"}, {"maintenance": "move"}, {"threads_per_core": 4}, {"reservation": "My own"},
        {"accelerators": [{"type": "t4", "count": 1}]}, {"accelerators": [{"type": "nvidia-l4", "count": 0}]},
        {"backend_services": ["global/web"]}, {"target_pools": ["regions/europe-west1/web"]},
        {"metadata": {"serial-port-enable": True}}, {"labels": {"team": 7}}, {"shielded_vm": True},
    ],
)  # fmt: skip
def test_wrong_machines_are_refused(written: dict[str, Json]) -> None:
    assert mistakes(written)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("pd-standard", "10GiB"), ("pd-balanced", "64TiB"), ("pd-extreme", "500GiB"), ("hyperdisk-balanced", "4GiB"),
        ("hyperdisk-throughput", "2TiB"), ("local-ssd", "375GiB"), (None, "10GiB"),
    ],
)  # fmt: skip
def test_sizes_that_compute_engine_has_are_accepted(kind: str | None, size: str) -> None:
    assert Machine.model_validate({"machine_types": "n2-standard-2", **disk(type=kind, size=size)})


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        (disk(size="1500MiB"), "size", "GCE's disks have whole GiB; write 2GiB"),
        (disk(size="9GiB"), "size", "disks have 10GiB to 65536GiB, not 9GiB"),
        (disk(size="100GiB", type="pd-extreme"), "size", "pd-extreme disks have 500GiB to 65536GiB, not 100GiB"),
        (disk(size="100GiB", type="local-ssd"), "size", "local SSDs have 375GiB each; leave size out"),
        (disk(size="10GiB", type="pd-ssd", iops=3000), "iops", "pd-ssd disks have no iops to choose"),
        (disk(size="10GiB", iops=3000), "iops", "have a choice of iops; write the type, too"),
        (disk(size="1TiB", type="pd-extreme", iops=100), "iops", "have iops of 10000 to 120000"),
        (disk(size="1TiB", type="pd-extreme", throughput=200), "throughput", "have no throughput to choose"),
        (
            disk(size="8GiB", type="hyperdisk-balanced", iops=5000),
            "",
            "hyperdisk-balanced disks have at most 500 iops a GiB; 5000 need 10GiB",
        ),
        (
            disk(size="8GiB", type="hyperdisk-balanced", iops=3000, throughput=1000),
            "",
            "a throughput of 1000 MiB/s needs iops: 4000 or more",
        ),
        (disk(type="pd-ssd"), "", "a disk needs a size, such as size: 100GiB, or an image"),
        (disk(size="10GiB", interface="nvme"), "", "interface is for local SSDs; leave it out"),
        (disk(type="local-ssd", device_name="x"), "", "local SSDs have no device_name; leave it out"),
        (disk(type="local-ssd", kms_key=KEY), "", "local SSDs have no kms_key; leave it out"),
        (disk(image="debian-12"), "image", "must look like projects/PROJECT/global/images/NAME"),
        (disk(image="global/images/family/web"), "image", "a family's newest image differs from day to day"),
    ],
)
def test_a_wrong_disk_is_told_what_compute_engine_allows(written: dict[str, Json], place: str, message: str) -> None:
    [(where, what)] = mistakes(written)
    assert where == f"disks.0.{place}".removesuffix(".") and message in what


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        (
            {"boot_disk": {"size": "5GiB", "type": "hyperdisk-balanced"}},
            "boot_disk.size",
            "boot disks have 10GiB or more, not 5GiB",
        ),
        ({"labels": {"infrakit-team": "x"}}, "labels", "labels that start with infrakit are not the user's"),
        ({"labels": {"goog-x": "x"}}, "labels", "labels that start with goog are not the user's"),
        ({"labels": {"Team": "x"}}, "labels", "a label's key has 1 to 63 lowercase letters, digits, _ and -"),
        ({"labels": {"7": "x"}}, "labels", "a letter first"),
        ({"labels": {"team": "Web"}}, "labels", "team: a label's value has at most 63 lowercase letters"),
        ({"labels": {f"k{n}": "" for n in range(41)}}, "labels", "41 labels: at most 40 (GCE allows 64"),
        ({"metadata": {"user-data": "x"}}, "metadata", "this metadata is not the user's; user data is the flavor's"),
        ({"metadata": {"infrakit-tags": "x"}}, "metadata", "not the user's; choose another key"),
        ({"metadata": {"a.b": "x"}}, "metadata", "a metadata key has 1 to 128 letters, digits, _ and -"),
        ({"metadata": {"a": "é" * 131_073}}, "metadata", "at most 256KiB, not 262146 bytes"),
        ({"metadata": {"a": "x" * 262_144, "b": "x" * 262_144}}, "metadata", "must have less than 512KiB"),
        ({"machine_types": ["e2-small", "e2-micro", "e2-small"]}, "machine_types", "e2-small is there twice"),
        ({"shielded_vm": {"vtpm": False}}, "shielded_vm", "write integrity_monitoring: false, too"),
        ({"subnetwork": "Web"}, "subnetwork", "must be a subnetwork's name, or projects/PROJECT/regions/"),
        ({"network_tags": "web"}, "network_tags", "must be a list, such as [web]"),
        (
            {"data_disks": [{"name": "db", "size": "10GiB"}, {"name": "db", "size": "20GiB"}]},
            "data_disks",
            "two data disks are named db; each needs a name of its own",
        ),
    ],
)
def test_mistakes_say_what_to_write(written: dict[str, Json], place: str, message: str) -> None:
    [(where, what)] = mistakes(written)
    assert where == place and message in what


def test_scopes_become_urls() -> None:
    machine = Machine.model_validate({
        "machine_types": "e2-small", "service_account": "default",
        "scopes": ["devstorage.read_only", "https://mail.google.com/"],
    })  # fmt: skip
    assert machine.scopes == (
        "https://www.googleapis.com/auth/devstorage.read_only",
        "https://mail.google.com/",
    )


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            {"data_disks": [{"name": "data", "size": "10GiB"}]},
            "data_disks: only members with logical_ids keep data disks; a group with a size has none",
        ),
        ({"external_ip": "static"}, "external_ip: only members with logical_ids keep an address"),
        ({"internal_ip": "static"}, "internal_ip: only members with logical_ids keep an address"),
    ],
)
def test_what_outlives_a_machine_needs_a_name(machine: dict[str, Json], message: str) -> None:
    assert [line[: len(message)] for line in said(machine)] == [message]
    assert said(machine, named=True) == []


@pytest.mark.parametrize(
    ("machine", "place", "message"),
    [
        ({"zones": ["europe-west1-b", "us-east1-b"]}, "zones.1", "not a zone of the provider's region europe-west1"),
        ({"subnetwork": "regions/us-east1/subnetworks/web"}, "subnetwork", "not a subnetwork of"),
        ({"backend_services": ["web", "regions/us-east1/web"]}, "backend_services.1", "not a backend service of"),
        (
            {"boot_disk": {"kms_key": KEY.replace("europe-west1", "us-east1")}},
            "boot_disk.kms_key",
            "a key of us-east1 is not to be had in the provider's region europe-west1",
        ),
        (
            {"network_tier": "standard"},
            "network_tier",
            "a network tier is an external address's; write external_ip, too",
        ),
        ({"ipv6": "internal"}, "ipv6", "write subnetwork, too"),
        ({"scopes": ["compute"]}, "scopes", "scopes are a service account's; write service_account, too"),
        (
            {"user_data_keys": ["startup-script"], "metadata": {"startup-script": "reboot"}},
            "metadata.startup-script",
            "user data goes there",
        ),
        (
            {"disks": [{"device_name": "db", "size": "10GiB"}], "data_disks": [{"name": "db", "size": "10GiB"}]},
            "disks.0.device_name",
            "two disks want the device db",
        ),
        (
            {"disks": [{"device_name": name, "size": "10GiB"} for name in ("a", "b", "a")]},
            "disks.2.device_name",
            "two disks want the device a",
        ),
        ({"interruption": "stop"}, "interruption", "write provisioning: spot, too"),
        ({**SPOT, "maintenance": "migrate"}, "maintenance", "spot machines are never migrated"),
        ({**SPOT, "automatic_restart": True}, "automatic_restart", "spot machines are never restarted"),
        ({**SPOT, "reservation": "web"}, "reservation", "spot machines come from no reservation"),
        ({**SPOT, "node_group": "web"}, "node_group", "spot machines run on no sole-tenant nodes"),
        (
            {"machine_types": "n1-standard-1", "accelerators": [{"type": "nvidia-l4"}], "maintenance": "migrate"},
            "maintenance",
            "machines with accelerators do not migrate",
        ),
        ({"machine_types": "a2-highgpu-1g", "maintenance": "migrate"}, "maintenance", "such a2 machines do not"),
        ({"machine_types": "c3-standard-192-metal", "maintenance": "migrate"}, "maintenance", "such c3 machines do"),
        ({"confidential": "tdx", "maintenance": "migrate"}, "maintenance", "such n2 machines do not migrate"),
        ({"accelerators": [{"type": "nvidia-tesla-t4"}]}, "machine_types.0", "n2 machines get no accelerators"),
        (
            {"machine_types": ["n2d-standard-2", "e2-small"], "confidential": "sev"},
            "machine_types.1",
            "e2 machines have no SEV",
        ),
        ({"confidential": "sev_snp"}, "machine_types.0", "n2 machines have no SEV-SNP"),
        ({"machine_types": "n2d-standard-2", "confidential": "tdx"}, "machine_types.0", "n2d machines have no TDX"),
        (
            {
                "machine_types": "n2d-standard-2",
                "confidential": "sev",
                "disks": [{"type": "local-ssd", "interface": "scsi"}],
            },
            "disks.0.interface",
            "confidential machines have disks by NVMe only",
        ),
        (
            {"machine_types": "n4-standard-2", "boot_disk": {"type": "pd-ssd"}},
            "boot_disk.type",
            "n4 machines have no pd-ssd disks",
        ),
        (
            {"machine_types": "e2-small", "disks": [{"type": "local-ssd"}]},
            "disks.0.type",
            "e2 machines have no local-ssd disks",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_complained_of_where_it_stands(
    machine: dict[str, Json], place: str, message: str
) -> None:
    [line] = said(machine, named=True)
    assert line.startswith(f"{place}: ") and message in line


def test_zones_must_be_the_provider_s() -> None:
    zones = ["europe-west1-b", "europe-west1-c"]
    assert said({"zones": zones}, zones=zones) == []
    assert said({"zones": ["europe-west1-d"]}, zones=zones) == [
        "zones.0: not one of the provider's zones: europe-west1-b, europe-west1-c"
    ]


@pytest.mark.parametrize(
    "machine",
    [
        {**SPOT, "interruption": "stop"},
        {"machine_types": "n2d-standard-2", "confidential": "sev", "maintenance": "migrate"},
        {"machine_types": "x9-standard-2", "confidential": "sev", "maintenance": "terminate"},
        {"boot_disk": {"kms_key": KEY.replace("europe-west1", "global")}},
        {"machine_types": "a2-highgpu-1g", "accelerators": [{"type": "nvidia-tesla-a100"}]},
        {"subnetwork": "web", "ipv6": "internal"},
        {"metadata": {"startup-script": "reboot"}},
    ],
    ids=["spot", "sev moves on n2d", "a family nobody knows", "global key", "built in", "dual stack", "own script"],
)
def test_what_may_well_work_is_not_complained_of(machine: dict[str, Json]) -> None:
    assert said(machine, IMAGE) == []


FAMILIES = [
    "projects/debian-cloud/global/images/family/debian-12",
    "global/images/family/web",
    "https://compute.googleapis.com/compute/v1/projects/shop-123/global/images/family/web",
]


@pytest.mark.parametrize(
    "reference",
    [
        REFERENCE,
        "global/images/web-7",
        "https://www.googleapis.com/compute/v1/projects/shop-123/global/images/web-7",
        "projects/example.com:images-1/global/images/web-7",
        *FAMILIES,
    ],
)
def test_images_and_families_boot(reference: str) -> None:
    assert said({}, Image("web", "ab" * 32, ImageForm.REFERENCE, reference=reference)) == []
    assert isinstance(plugin, Pointing)
    assert plugin.points(reference) == (reference in FAMILIES)


@pytest.mark.parametrize(
    "reference",
    ["", "debian-12", "family/debian-12", "projects/x/global/images/web", "https://example.com/global/images/web"],
)
def test_other_references_do_not_boot(reference: str) -> None:
    [line] = said({}, Image("web", "ab" * 32, ImageForm.REFERENCE, reference=reference))
    assert "image web: a reference is projects/PROJECT/global/images/NAME or .../images/family/FAMILY" in line
    assert isinstance(plugin, Pointing) and not plugin.points(reference)


def test_paths_are_taken_apart() -> None:
    assert str(image_path("global/images/family/web", "shop-123")) == "projects/shop-123/global/images/family/web"
    url = "https://www.googleapis.com/compute/v1/projects/example.com:x-12345/global/images/web"
    assert str(image_path(url, "shop-123")) == "projects/example.com:x-12345/global/images/web"
    assert region_of("europe-west1-b") == "europe-west1"
    assert project_of("projects/host-1/regions/europe-west1/subnetworks/web") == "host-1"
    assert project_of("regions/europe-west1/subnetworks/web") is None


def test_the_plugin_tells_permissions() -> None:
    assert isinstance(plugin, Permitting)
    assert "includedPermissions:" in plugin.permissions("prod", PLAIN_SETTINGS, [])


def test_nothing_of_it_imports_the_sdk() -> None:
    modules = ", ".join(f"infrakit_providers.gcp.{name}" for name in ("settings", "instance_body", "permissions"))
    code = f"import sys, {modules}; sys.exit(any(name in sys.modules for name in {SDK}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
