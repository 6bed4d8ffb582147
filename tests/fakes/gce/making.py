"""How an instance comes to be, with its disks and interfaces, once it is known that it can."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.gce.launching import Wish
from tests.fakes.gce.tables import Attachment, Disk, Instance, Interface
from tests.fakes.gce.wished_disks import DiskWish
from tests.fakes.gce.wished_interfaces import InterfaceWish
from tests.fakes.gce.world import World


def make_instance(
    world: World, wish: Wish, name: str, id_: str, machine: str, visible_at: float, own: Mapping[str, Any]
) -> Instance:
    """Make an instance of a machine; without one, it is doomed to vanish."""
    now = world.now()
    key = machine or f"none-{world.number()}"
    instance = Instance(
        machine=key,
        id=id_,
        zone=wish.zone,
        name=name,
        type=wish.type,
        asked={**wish.asked, **{name: own[name] for name in ("hostname",) if name in own}},
        labels=dict(wish.labels),
        metadata=wish.metadata,
        disks=[_attach(world, wish, name, key, number, one) for number, one in enumerate(wish.disks)],
        interfaces=[_connect(world, key, number, one) for number, one in enumerate(wish.interfaces)],
        created_at=now,
        visible_at=visible_at,
        started_at=now,
        doomed=not machine,
        protected=wish.protected,
        spot=wish.spot,
    )
    world.add(instance)
    return instance


def _attach(world: World, wish: Wish, instance: str, key: str, number: int, one: DiskWish) -> Attachment:
    disk = one.source
    if disk is None:
        name = one.name or (instance if one.boot else free_disk_name(world, wish.zone, f"{instance}-{number}"))
        disk = Disk(
            world.new_id(),
            wish.zone,
            name,
            one.size_gb,
            one.type,
            world.now(),
            dict(one.labels),
            one.description,
            one.image,
            iops=one.iops,
            throughput=one.throughput,
        )
        world.disks[wish.zone, name] = disk
    disk.user, disk.attached_at = key, world.now()
    made = one.source is None
    return Attachment(disk, one.device, one.boot, one.auto_delete, one.mode, one.interface, made)


def free_disk_name(world: World, zone: str, wanted: str) -> str:
    name, number = wanted, 0
    while (zone, name) in world.disks:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _connect(world: World, key: str, number: int, one: InterfaceWish) -> Interface:
    if one.internal:
        one.internal.user = key
    elif one.ip:
        one.subnet.taken.add(world.offset(one.subnet, one.ip) or 0)
    if one.address:
        one.address.user = key
    return Interface(
        name=f"nic{number}",
        subnet=one.subnet,
        ip=one.ip or world.take_ip(one.subnet),
        external=one.external,
        nat_ip=one.address.ip if one.address else world.public_ip() if one.external else "",
        address=one.address,
        internal=one.internal,
        access_name=one.access_name,
        tier=one.tier,
        asked=one.asked,
    )
