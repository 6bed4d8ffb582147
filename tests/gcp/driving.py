"""Clusters on Compute Engine's stand-in, and what they leave there.

Run as a program it is the ancestor of `infra`'s processes.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from random import randrange
from typing import Any, Final

from infrakit_providers.gcp import labels, launching
from infrakit_providers.gcp.kept import owner_in
from infrakit_providers.gcp.kept_disks import DISK
from infrakit_providers.gcp.names import name_of as name_of_machine
from infrakit_py.model import tags
from tests.driving.forks import fork_forever
from tests.driving.vendor import Document, Vendor
from tests.fakes.gce import FakeGCE
from tests.fakes.gce.tables import Disk, Instance
from tests.fakes.proxy import Call
from tests.gcp.ground import LINUX, LINUX_2, PROJECT, REGION, credentials

CLUSTER: Final = "shop"
IMAGES: Final = {"v1": LINUX, "v2": LINUX_2}
STAYING: Final = ("PROVISIONING", "STAGING", "RUNNING", "REPAIRING", "TERMINATED")
"""What an instance may be that is not on its way out."""
LAUNCHING: Final = r"^POST [^?]*/instances(/bulkInsert)?(\?|\n)"
CHANGING: Final = r"^(DELETE|PATCH|PUT|POST(?! [^?]*(getHealth|listInstances|:testIamPermissions|/token))) "


# What is declared.


def cluster(*, settings: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cluster on Compute Engine, with images v1 and v2."""
    provider = {"plugin": "gcp", "project": PROJECT, "region": REGION, "listing_lag": "0s", **(settings or {})}
    return {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER},
        "providers": {"gcp": provider},
        "images": {name: {"reference": reference} for name, reference in IMAGES.items()},
        "groups": groups,
    }


def web(size: int = 4, image: str = "v1", machine: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a group of interchangeable machines."""
    machine = {"machine_types": "e2-small", **(machine or {})}
    return {"provider": "gcp", "image": image, "size": size, "machine": machine, **changes}


def db(*names: str, image: str = "v1", **changes: Any) -> dict[str, Any]:
    """Return a group of named machines with a data disk and an address each."""
    machine = {"data_disks": [{"name": "data", "size": "10GiB"}], "external_ip": "static"}
    named = web(image=image, machine=machine, logical_ids=list(names or ("db-1", "db-2")), **changes)
    return {key: value for key, value in named.items() if key != "size"}


# What is there.


def members(fake: FakeGCE, group: str, *states: str) -> list[Instance]:
    """Return a group's instances that are not on their way out, past every lag."""
    wanted = labels.written({tags.CLUSTER: CLUSTER, tags.GROUP: group}).labels
    return fake.instances(*(states or STAYING), labels=wanted)


def tags_of(one: Instance) -> Mapping[str, str]:
    items = {item["key"]: item["value"] for item in one.metadata}
    return labels.read(one.labels, one.name, labels.read_item(items.get(labels.ITEM, "")))


def serving(fake: FakeGCE, group: str, declared: Document) -> list[Instance]:
    """Return a group's instances that run, and that take part behind the load balancer where they are to."""
    running = members(fake, group, "RUNNING")
    return [one for one in running if _is_served(fake, one)] if _is_behind(declared) else running


def faults_of(fake: FakeGCE, document: Document | None, images: Mapping[str, str] = IMAGES) -> list[str]:
    """Return in what the project differs from what is declared: missing, surplus, unlike, leaked, unlabelled.

    Without a document nothing at all may be there. `images` are the paths of those that the document names.
    """
    with fake.world.lock:
        fake.world.settle()
        return list(_faults(fake, document["groups"] if document else {}, images))


def _faults(fake: FakeGCE, groups: Mapping[str, Any], images: Mapping[str, str]) -> Iterator[str]:
    for name, group in groups.items():
        yield from _faults_of_group(fake, name, group, images)
    declared = {one.machine for name in groups for one in members(fake, name)}
    for one in fake.instances():
        if one.machine not in declared:
            yield f"{one.name} ({fake.state_of(one.id)}) is of no group"
    kept_for = sorted((name, key) for name, group in groups.items() if _keeps(group) for key in group["logical_ids"])
    disks = list(fake.world.disks.values())
    kept = [disk for disk in disks if _is_kept(disk)]
    yield from (f"disk {disk.name} leaked" for disk in disks if not _is_kept(disk) and not disk.user)
    if (owners := _owners([disk.labels for disk in kept])) != kept_for:
        yield f"disks of {owners}, not of {kept_for}"
    if (owners := _owners([address.labels for address in fake.world.addresses.values()])) != kept_for:
        yield f"addresses of {owners}, not of {kept_for}"
    behind = {one.machine for name, group in groups.items() if _is_behind(group) for one in members(fake, name)}
    if (joined := _joined(fake)) != behind:
        yield f"behind the load balancer are {sorted(joined)}, not {sorted(behind)}"


def _faults_of_group(fake: FakeGCE, name: str, group: Mapping[str, Any], images: Mapping[str, str]) -> Iterator[str]:
    there = members(fake, name)
    slots = sorted(tags_of(one).get(tags.SLOT, "?") for one in there)
    names = group.get("logical_ids")
    wanted = len(names) if names is not None else group["size"]
    if len(set(slots)) != len(slots) or len(slots) != wanted:
        yield f"{name}: slots {slots}, not {wanted} different ones"
    if names is not None and slots != sorted(names):
        yield f"{name}: members {slots}, not {names}"
    for one in there:
        if (reference := _image_of(one)) != images[group["image"]]:
            yield f"{name}: {one.name} boots from {reference}"
        if (state := fake.state_of(one.id)) != "RUNNING":
            yield f"{name}: {one.name} is {state}"
        if tags.DRAINING in tags_of(one):
            yield f"{name}: {one.name} is draining"
        if _keeps(group):
            yield from _faults_of_kept(fake, name, one)


def _faults_of_kept(fake: FakeGCE, group: str, one: Instance) -> Iterator[str]:
    """Yield in what a member is without what is its own."""
    own = (CLUSTER, group, tags_of(one).get(tags.LOGICAL_ID))
    holders = [disk.user for disk in fake.world.disks.values() if _is_kept(disk) and owner_in(disk.labels) == own]
    if holders != [one.machine]:
        yield f"{group}: the disk of {own[2]} is with {holders}"
    holders = [address.user for address in fake.world.addresses.values() if owner_in(address.labels) == own]
    if holders != [one.machine]:
        yield f"{group}: the address of {own[2]} is with {holders}"


def _owners(written: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return by group and key whose these are; things of another cluster are nobody's."""
    owners = [owner_in(one) for one in written]
    return sorted((one.group, one.key) if one and one.cluster == CLUSTER else ("", "") for one in owners)


def _image_of(one: Instance) -> str:
    image = next(attached.disk.image for attached in one.disks if attached.boot)
    return f"projects/{image.project}/global/images/{image.name}" if image else ""


def _is_kept(disk: Disk) -> bool:
    return DISK in labels.read(disk.labels)


def _keeps(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("data_disks"))


def _is_behind(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("backend_services"))


def _joined(fake: FakeGCE) -> set[str]:
    """Return the machines that are in instance groups."""
    return {machine for group in fake.world.groups.values() for machine in group.members}


def _is_served(fake: FakeGCE, one: Instance) -> bool:
    return one.machine in _joined(fake) and not one.unhealthy


# As processes.


def name_of(call: Call) -> str:
    """Return a call's method as people know it."""
    path = call.path.partition("?")[0].split("/")
    match call.method:
        case "DELETE":
            return f"{path[-2]}.delete"
        case "POST" if path[-1] in ("instances", "disks", "addresses", "images"):
            return f"{path[-1]}.insert"
        case _:
            return path[-1]


def _connect(fake: FakeGCE, url: str) -> AbstractContextManager[None]:
    return credentials(url, fake.credentials)


GCP: Final = Vendor[FakeGCE](
    credentials=_connect,
    variables=("GOOGLE_", "CLOUDSDK_", "NO_GCE_CHECK"),
    cluster=cluster,
    faults_of=faults_of,
    members=members,
    serving=serving,
    changing=CHANGING,
    launching=LAUNCHING,
    name_of=name_of,
)


def _forget_names() -> None:
    """Give a machine another name each time it is asked for."""
    named: Any = launching
    named.name_of = lambda own: name_of_machine({**own, tags.INCARNATION: str(randrange(10**6))})


if __name__ == "__main__":
    fork_forever(["google.cloud.compute_v1", "infrakit_providers.gcp.provider"], _forget_names)
