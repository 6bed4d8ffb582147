"""Clusters on EC2's stand-in, and what they leave there.

Run as a program it is the ancestor of `infra`'s processes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final
from uuid import uuid4

from infrakit_providers.aws import kept
from infrakit_providers.aws.places import own_tags
from infrakit_providers.aws.tickets import Ticket
from infrakit_py.model import tags
from tests.driving import forks as driven
from tests.driving.forks import POLL_SECONDS, Forks, Order, fork_forever
from tests.driving.inline import InlineApp, apply_inline, engine_of, write
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2 import settings as seeded
from tests.fakes.ec2.tables import Instance

__all__ = [  # and what tests need besides of how `infra` is driven
    "POLL_SECONDS",
    "Forks",
    "InlineApp",
    "Order",
    "apply_inline",
    "cluster",
    "db",
    "engine_of",
    "faults_of",
    "forks",
    "members",
    "read_models_once",
    "serving",
    "tags_of",
    "web",
    "write",
]

CLUSTER: Final = "shop"
IMAGES: Final = {"v1": seeded.LINUX, "v2": seeded.LINUX_2}


# What is declared.


def cluster(*, settings: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cluster on EC2, with images v1 and v2."""
    provider = {"plugin": "aws", "region": "eu-central-1", "listing_lag": "0s", **(settings or {})}
    return {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER},
        "providers": {"aws": provider},
        "images": {name: {"reference": reference} for name, reference in IMAGES.items()},
        "groups": groups,
    }


def web(size: int = 4, image: str = "v1", machine: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a group of interchangeable machines."""
    machine = {"instance_types": "t3.micro", **(machine or {})}
    return {"provider": "aws", "image": image, "size": size, "machine": machine, **changes}


def db(*names: str, image: str = "v1", **changes: Any) -> dict[str, Any]:
    """Return a group of named machines with a data disk and an address each."""
    disk = {"name": "data", "device": "/dev/sdf", "size": "1GiB"}
    machine = {"data_disks": [disk], "elastic_ip": True}
    named = web(image=image, machine=machine, logical_ids=list(names or ("db-1", "db-2")), **changes)
    return {key: value for key, value in named.items() if key != "size"}


# What is there.


def members(fake: FakeEC2, group: str, *states: str) -> list[Instance]:
    """Return a group's instances that are not on their way out, past every lag."""
    wanted = {tags.CLUSTER: CLUSTER, tags.GROUP: group}
    return fake.instances(*(states or ("pending", "running", "stopping", "stopped")), tags=wanted)


def tags_of(fake: FakeEC2, instance: Instance) -> Mapping[str, str]:
    return own_tags(fake.tags_of(instance.id), instance.index)


def serving(fake: FakeEC2, group: str, *, behind: bool) -> list[Instance]:
    """Return a group's instances that run, and that take part behind the load balancer where they are to."""
    targets = fake.targets() if behind else {}
    return [one for one in members(fake, group, "running") if not behind or targets.get(one.id) == "healthy"]


def faults_of(fake: FakeEC2, document: Mapping[str, Any] | None) -> list[str]:
    """Return in what the account differs from what is declared: missing, surplus, unlike, leaked, untagged.

    Without a document nothing at all may be there.
    """
    groups: Mapping[str, Any] = document["groups"] if document else {}
    found = [fault for name, group in groups.items() for fault in _faults_of_group(fake, name, group)]
    there = {one.id for one in fake.instances()}
    declared = {one.id for name in groups for one in members(fake, name)}
    found += [f"{id_} ({fake.state_of(id_)}) is of no group" for id_ in there - declared]
    kept_for = {
        (name, key) for name, group in groups.items() for key in group.get("logical_ids", ()) if _keeps(group)
    }
    disks = [one for one in fake.volumes() if kept.KEY in one.tags]
    found += [f"volume {one.id} leaked" for one in fake.volumes() if one not in disks and one.instance not in there]
    found += [f"interface {one.id} leaked" for one in fake.interfaces() if one.instance not in there]
    for what, things in (("disks", disks), ("addresses", fake.addresses())):
        owners = sorted((one.tags[tags.GROUP], one.tags[kept.KEY]) for one in things)
        if owners != sorted(kept_for):
            found.append(f"{what} of {owners}, not of {sorted(kept_for)}")
    behind = {one.id for name, group in groups.items() if _is_behind(group) for one in members(fake, name)}
    targets = {id_: state for id_, state in fake.targets().items() if state != "draining"}  # those are let go
    if targets != dict.fromkeys(behind, "healthy"):
        found.append(f"targets {targets}, not {sorted(behind)}")
    tagged = [fake.tags_of(id_) for id_ in there]
    for table in (fake.volumes(), fake.interfaces(), fake.addresses()):
        tagged += [one.tags for one in table]
    found += [f"not tagged as ours: {held}" for held in tagged if held.get(tags.CLUSTER) != CLUSTER]
    return found


def _faults_of_group(fake: FakeEC2, name: str, group: Mapping[str, Any]) -> Iterator[str]:
    there = members(fake, name)
    slots = sorted(tags_of(fake, one).get(tags.SLOT, "?") for one in there)
    names = group.get("logical_ids")
    wanted = len(names) if names is not None else group["size"]
    if len(set(slots)) != len(slots) or len(slots) != wanted:
        yield f"{name}: slots {slots}, not {wanted} different ones"
    if names is not None and slots != sorted(names):
        yield f"{name}: members {slots}, not {names}"
    for one in there:
        if one.image.id != IMAGES[group["image"]]:
            yield f"{name}: {one.id} boots from {one.image.id}"
        if fake.state_of(one.id) != "running":
            yield f"{name}: {one.id} is {fake.state_of(one.id)}"
        held = tags_of(fake, one)
        if tags.DRAINING in held:
            yield f"{name}: {one.id} is draining"
        if _keeps(group):
            own = [v for v in fake.volumes() if v.tags.get(kept.KEY) == held.get(tags.LOGICAL_ID)]
            if [v.instance for v in own] != [one.id]:
                yield f"{name}: the disk of {held.get(tags.LOGICAL_ID)} is with {[v.instance for v in own]}"
            with_addresses = {a.interface for a in fake.addresses()}
            if not with_addresses & {interface.id for interface in one.interfaces}:
                yield f"{name}: {one.id} has no address"


def _keeps(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("data_disks"))


def _is_behind(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("target_groups"))


# As processes.


def forks() -> AbstractContextManager[Forks]:
    """Start an ancestor."""
    return driven.forks("tests.aws.driving")


def read_models_once() -> Callable[[object, str], Any]:
    """Return what loads botocore's models, each once in a process: they are most of the cost of a client."""
    from botocore.loaders import JSONFileLoader

    load = cache(JSONFileLoader().load_file)
    return lambda _, path: load(path)


def _warm_up() -> None:
    """Load what each client needs."""
    import boto3
    from botocore.loaders import JSONFileLoader

    setattr(JSONFileLoader, "load_file", read_models_once())  # noqa: B010  # a plain assignment has another type
    session = boto3.Session(aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-central-1")
    for service in ("ec2", "elbv2", "ebs", "s3"):
        session.client(service)


def _forget_tokens() -> None:
    """Make up a new client token for each launch."""
    Ticket.client_token = lambda *_: uuid4().hex  # type: ignore[method-assign]


if __name__ == "__main__":
    _warm_up()
    fork_forever(["infrakit_providers.aws.provider"], _forget_tokens)
