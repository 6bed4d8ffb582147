"""One cluster as it is declared at each provider. All that differs is the provider, the images and the machines."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from tests.fakes.ec2.settings import LINUX, LINUX_2
from tests.gcp.ground import LINUX as GCP_LINUX
from tests.gcp.ground import LINUX_2 as GCP_LINUX_2
from tests.gcp.ground import PROJECT, REGION

GROUPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "web": {
        "size": 4,
        "image": "v1",
        "flavor": {"user_data": "hello from {{ instance.name }}", "tags": {"tier": "web"}},
        "rollout": {"max_surge": 1, "max_unavailable": 0},
        "depends_on": ["db"],
    },
    "db": {"logical_ids": ["db-1", "db-2"], "image": "v1"},
}
STEPS: Final[Sequence[Mapping[str, Mapping[str, Any]]]] = (
    {},
    {"web": {"image": "v2"}},
    {"web": {"image": "v2", "size": 6}},
    {"web": {"image": "v2", "size": 6}, "db": {"image": "v2"}},
)
"""Made, another version of the one group, more of it, another version of the other."""
PROVIDERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "simulated": {"plugin": "simulated", "boot_time": "100ms", "destroy_time": "100ms"},
    "aws": {"plugin": "aws", "region": "eu-central-1", "listing_lag": "0s"},
    "gcp": {"plugin": "gcp", "project": PROJECT, "region": REGION, "listing_lag": "0s"},
}
MACHINES: Final[Mapping[str, Mapping[str, Any]]] = {
    "simulated": {},
    "aws": {"instance_types": "t3.micro"},
    "gcp": {"machine_types": "e2-small"},
    "libvirt": {"memory": "160MiB", "vcpus": 1, "network": "default"},
}
DISKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "simulated": {"data_disk": "1GiB"},
    "aws": {"data_disks": [{"name": "data", "device": "/dev/sdf", "size": "10GiB"}]},
    "gcp": {"data_disks": [{"name": "data", "size": "10GiB"}]},
    "libvirt": {"data_disk": "16MiB"},
}
IMAGES: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "simulated": {"v1": {"reference": "v1"}, "v2": {"reference": "v2"}},
    "aws": {"v1": {"reference": LINUX}, "v2": {"reference": LINUX_2}},
    "gcp": {"v1": {"reference": GCP_LINUX}, "v2": {"reference": GCP_LINUX_2}},
}


def document(name: str, providers: Mapping[str, Any], images: Mapping[str, Any], groups: Mapping[str, Any]) -> Any:
    return {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "providers": deepcopy(dict(providers)),
        "images": deepcopy(dict(images)),
        "groups": deepcopy(dict(groups)),
    }


def machine(kind: str, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's machine at a provider; members with names keep a disk."""
    return {**MACHINES[kind], **(DISKS[kind] if "logical_ids" in group else {})}


def at(kind: str, provider: Mapping[str, Any] | None = None, images: Any = None, **changes: Mapping[str, Any]) -> Any:
    """Return the cluster at one provider, with some of its groups changed."""
    groups = {
        name: {**group, "provider": "there", "machine": machine(kind, group), **changes.get(name, {})}
        for name, group in GROUPS.items()
    }
    return document("shop", {"there": provider or PROVIDERS[kind]}, images or IMAGES[kind], groups)


def told(plan: Any) -> list[tuple[str, str]]:
    """Return what a plan says it will do. Which of a group's machines go first depends on their age and zones."""
    [cluster] = plan["clusters"]
    return sorted(
        (group["group"], action["action"])
        for group in cluster["groups"]
        for wave in group["waves"]
        for action in wave["actions"]
        if "machine" in action
    )
