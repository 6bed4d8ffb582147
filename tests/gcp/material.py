"""Settings and a machine in which everything is written, and an image that Compute Engine can boot."""

from typing import Final

from infrakit_py.model.spec import Image, ImageForm, Json

REFERENCE: Final = "projects/images-1/global/images/web-2024"
IMAGE: Final = Image("web", "ab" * 32, ImageForm.REFERENCE, reference=REFERENCE)
KEY: Final = "projects/keys-1/locations/europe-west1/keyRings/disks/cryptoKeys/web"
ACCOUNT: Final = "web@shop-123.iam.gserviceaccount.com"
SUBNETWORK: Final = "projects/network-host/regions/europe-west1/subnetworks/web"

PLAIN_SETTINGS: Final[dict[str, Json]] = {"project": "shop-123", "region": "europe-west1"}

WHOLE_SETTINGS: Final[dict[str, Json]] = {
    "project": "example.com:shop-123",
    "region": "europe-west1",
    "zones": ["europe-west1-b", "europe-west1-c"],
    "credentials": "key.json",
    "endpoint": "https://compute.internal.example.com:8443",
    "storage_endpoint": "https://storage.internal.example.com",
    "publish": {
        "bucket": "shop-images",
        "prefix": "images/infrakit/",
        "family": "web",
        "guest_os_features": ["GVNIC", "UEFI_COMPATIBLE"],
        "storage_locations": ["eu"],
        "kms_key": KEY,
        "labels": {"team": "web"},
        "share_with": ["serviceAccount:ci@other-1.iam.gserviceaccount.com", "domain:example.com"],
    },
    "listing_lag": "20s",
    "capacity_memory": "5m",
    "prices": "prices.yml",
    "limits": {
        "mutations_per_minute": 3000,
        "reads_per_minute": 2000,
        "lists_per_minute": 900,
        "operation_reads_per_minute": 4000,
    },
    "parallel_calls": 32,
}

WHOLE_MACHINE: Final[dict[str, Json]] = {
    "machine_types": ["n1-standard-4", "custom-4-8192"],
    "zones": ["europe-west1-b", "europe-west1-c"],
    "boot_disk": {"size": "20GiB", "type": "pd-ssd", "kms_key": KEY},
    "disks": [
        {"device_name": "cache", "size": "100GiB", "type": "hyperdisk-balanced", "iops": 5000, "throughput": 500},
        {"image": REFERENCE},
        {"type": "local-ssd", "interface": "scsi"},
        {"type": "local-ssd"},
    ],
    "data_disks": [{"name": "db", "size": "1TiB", "type": "pd-extreme", "iops": 20000, "kms_key": KEY}],
    "network": "projects/network-host/global/networks/shared",
    "subnetwork": SUBNETWORK,
    "external_ip": "static",
    "internal_ip": "static",
    "ipv6": "external",
    "network_tier": "premium",
    "network_tags": ["web", "ssh"],
    "nic_type": "gvnic",
    "can_ip_forward": True,
    "service_account": ACCOUNT,
    "scopes": ["cloud-platform", "https://www.googleapis.com/auth/logging.write"],
    "labels": {"team": "web"},
    "metadata": {"serial-port-enable": "TRUE"},
    "user_data_keys": ["user-data", "startup-script"],
    "shielded_vm": {"secure_boot": True, "vtpm": True, "integrity_monitoring": False},
    "provisioning": "standard",
    "maintenance": "terminate",
    "automatic_restart": False,
    "min_cpu_platform": "Intel Skylake",
    "accelerators": [{"type": "nvidia-tesla-t4", "count": 2}],
    "threads_per_core": 1,
    "nested_virtualization": True,
    "reservation": "web",
    "node_group": "mine",
    "backend_services": ["web", "regions/europe-west1/internal"],
    "target_pools": ["old"],
    "deletion_protection": True,
}
"""All but what is for confidential and for spot machines."""
