"""Settings and a machine in which everything is written, and an image that AWS can boot."""

from typing import Final

from infrakit_py.model.spec import Image, ImageForm, Json

AMI: Final = Image("web", "ab" * 32, ImageForm.REFERENCE, reference="ami-0123456789abcdef0")
KEY: Final = "arn:aws:kms:eu-central-1:123456789012:key/0fedcba9-8765-4321-0fed-cba987654321"
MULTI_REGION_KEY: Final = "arn:aws:kms:eu-central-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
TARGET_GROUP: Final = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/api/0123456789abcdef"

WHOLE_SETTINGS: Final[dict[str, Json]] = {
    "region": "eu-central-1",
    "profile": "production",
    "assume_role": {
        "role_arn": "arn:aws:iam::123456789012:role/deploy/infrakit",
        "session_name": "controller",
        "external_id": "tenant-7",
        "duration": "2h",
    },
    "listing_lag": "20s",
    "capacity_memory": "5m",
    "prices": "prices.yml",
    "limits": {
        "run_instances": {"burst": 10, "per_second": 4},
        "run_instances_machines": {"burst": 2000, "per_second": 5},
        "terminate_instances": {"burst": 100, "per_second": 5},
        "terminate_instances_machines": {"burst": 1000, "per_second": 20},
        "create_tags": {"burst": 100, "per_second": 10},
        "describe": {"burst": 100, "per_second": 20.5},
        "mutate": {"burst": 50, "per_second": 5},
        "put_snapshot_block": {"burst": 1000, "per_second": 1000},
    },
    "parallel_calls": 16,
    "publish": {
        "upload": "s3",
        "bucket": "images.example",
        "prefix": "linuxkit/",
        "role_name": "vmimport",
        "parallel": 32,
        "encrypt": True,
        "kms_key": MULTI_REGION_KEY,
        "copy_to": ["eu-west-1"],
        "share_with": ["210987654321"],
    },
}

WHOLE_MACHINE: Final[dict[str, Json]] = {
    "instance_types": ["m7i.large", "m6i.large", "m5.metal-24xl"],
    "subnets": ["subnet-0123456789abcdef0", "subnet-12345678"],
    "security_groups": ["sg-0123456789abcdef0"],
    "key_name": "ops",
    "instance_profile": "web",
    "root_disk": {
        "size": "20GiB", "type": "gp3", "iops": 4000, "throughput": 500, "encrypted": True, "kms_key": KEY,
        "device": "/dev/sda1",
    },
    "disks": [
        {"device": "/dev/sdf", "size": "100GiB", "type": "io2", "iops": 5000, "kms_key": "alias/disks"},
        {"device": "/dev/sdg", "snapshot": "snap-0123456789abcdef0", "delete_on_termination": False},
    ],
    "data_disks": [{"name": "db", "device": "/dev/sdh", "size": "500GiB", "type": "st1", "encrypted": True}],
    "elastic_ip": True,
    "keep_interface": True,
    "public_ip": False,
    "ipv6": 1,
    "metadata": {"tokens": "optional", "hop_limit": 2, "endpoint": True, "tags": True},
    "placement": {
        "group": "spread", "partition": 3, "tenancy": "host", "host_id": "h-0123456789abcdef0", "affinity": "host",
    },
    "cpu": {"cores": 2, "threads_per_core": 1},
    "monitoring": True,
    "ebs_optimized": True,
    "capacity": {
        "on_demand_base": 2, "spot_percent": 50, "max_price": "0.05", "interruption": "stop",
        "allocation": "capacity-optimized",
    },
    "target_groups": ["web", TARGET_GROUP],
    "tags": {"instance": {"team": "web"}, "volumes": {"cost": "web"}, "interfaces": {"net": "dmz"}},
    "termination_protection": True,
}  # fmt: skip
