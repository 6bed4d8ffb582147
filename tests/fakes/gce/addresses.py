"""Reserved addresses: of the outside world, and of a subnetwork."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, already_exists, in_use, invalid, not_found, not_ready, required
from tests.fakes.gce.instances import check_label_fingerprint
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.links import ROOT, link, path, read_link
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.quotas import Quotas
from tests.fakes.gce.shelves import Handler, Shelf
from tests.fakes.gce.site import unhonoured
from tests.fakes.gce.tables import Address, Operation, Subnet
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import checked, fingerprint, instant, without_none

_HONOURED: Final = frozenset(
    {"name", "address", "addressType", "subnetwork", "labels", "description", "networkTier", "purpose", "ipVersion"}
    | {"kind", "region"}
)


def insert_address(world: World, asked: Asked) -> Checked:
    check_scope(world, asked.scope)
    body, region = asked.body, asked["region"]
    unhonoured("resource", body, _HONOURED)
    if "name" not in body:
        raise required("resource.name")
    where = path(asked.scope, "addresses", body["name"])
    if (asked.scope, body["name"]) in world.addresses:
        raise already_exists(where)
    labels = dict(body.get("labels", {}))
    check_labels(labels, "resource.labels")
    if labels:
        asked.permit("compute.addresses.setLabels", where)
    internal = body.get("addressType") == "INTERNAL"
    error = None if internal else Quotas(world, region).take({"STATIC_ADDRESSES": 1})
    if error and world.settings.quota_answer == "request":
        raise GceError(403, "quotaExceeded", error.message)
    subnet = _subnet(world, asked, body, region) if internal else None
    ip = _ip(world, body, subnet)
    address = Address(
        world.new_id(),
        body["name"],
        asked.scope,
        ip,
        "INTERNAL" if internal else "EXTERNAL",
        world.now(),
        subnet,
        labels,
        body.get("description", ""),
        body.get("networkTier", "PREMIUM"),
        "RESERVING",
    )
    op = _begin(world, asked, "insert", address)
    if error:
        op.errors = (error,)
    else:
        world.addresses[address.scope, address.name] = address
        world.later(op.ends_at, partial(_set_status, address, "RESERVED"))
    world.settle()
    return show_operation(world, op)


def _subnet(world: World, asked: Asked, body: Mapping[str, Any], region: str) -> Subnet:
    if "subnetwork" not in body:
        found = world.subnets[region, "default"]
    else:
        _, scope, name = read_link(body["subnetwork"], "subnetworks", "resource.subnetwork")
        known = world.subnets.get((region, name))
        if known is None or scope != f"regions/{region}":
            raise invalid("resource.subnetwork", body["subnetwork"], "The referenced resource cannot be found.")
        found = known
    where = path(f"regions/{region}", "subnetworks", found.name)
    asked.permit("compute.addresses.createInternal", where)
    asked.permit("compute.subnetworks.use", where)
    return found


def _ip(world: World, body: Mapping[str, Any], subnet: Subnet | None) -> str:
    """Return the address that is wanted or a free one, and take it."""
    wanted: str = body.get("address", "")
    if subnet is None:
        if wanted:
            raise invalid("resource.address", wanted, "An external address cannot be chosen.")
        if "subnetwork" in body:
            raise invalid("resource.subnetwork", body["subnetwork"], "It is for internal addresses only.")
        return world.public_ip()
    if not wanted:
        return world.take_ip(subnet)
    try:
        offset = world.offset(subnet, wanted)
    except ValueError as exc:
        raise invalid("resource.address", wanted, "It is no IP address.") from exc
    if offset is None:
        raise invalid("resource.address", wanted, f"It is not in the range {subnet.range} of the subnetwork.")
    if offset in subnet.taken:
        raise in_use(wanted, "another resource")
    subnet.taken.add(offset)
    return wanted


def delete_address(world: World, asked: Asked) -> Checked:
    address = _find(world, asked, asked["address"])
    where = path(asked.scope, "addresses", address.name)
    if address.user:
        raise in_use(where, world.instances[address.user].path)
    if address.kind == "INTERNAL":
        asked.permit("compute.addresses.deleteInternal", where)
    if address.status != "RESERVED":
        raise not_ready(where)

    def then() -> None:
        world.addresses.pop((address.scope, address.name), None)
        if address.subnet:
            world.give_back(address.subnet, address.ip)

    op = _begin(world, asked, "delete", address)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def set_address_labels(world: World, asked: Asked) -> Checked:
    address = _find(world, asked, asked["resource"])
    labels = dict(asked.body.get("labels", {}))
    check_labels(labels, "resource.labels")
    check_label_fingerprint(asked.body.get("labelFingerprint", ""), address.labels)

    def then() -> None:
        address.labels = labels

    op = _begin(world, asked, "setLabels", address)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def _find(world: World, asked: Asked, name: str) -> Address:
    check_scope(world, asked.scope)
    address = world.addresses.get((asked.scope, name))
    if address is None:
        raise not_found(path(asked.scope, "addresses", name))
    return address


def _begin(world: World, asked: Asked, kind: str, address: Address) -> Operation:
    return world.begin(asked, kind, path(asked.scope, "addresses", address.name), address.id)


def _set_status(address: Address, status: str) -> None:
    address.status = status


def _shown(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_address(world, one) for one in world.addresses.values() if one.scope == scope]


def _address(world: World, one: Address) -> Checked:
    internal = one.kind == "INTERNAL"
    shown: dict[str, Any] = {
        "kind": "compute#address",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "description": one.description,
        "address": one.ip,
        "addressType": one.kind,
        "ipVersion": None if internal else "IPV4",
        "networkTier": one.tier,
        "purpose": "GCE_ENDPOINT" if internal else None,
        "status": "IN_USE" if one.user else one.status,
        "region": link(one.scope),
        "subnetwork": link(one.scope, "subnetworks", one.subnet.name) if one.subnet else None,
        "labels": one.labels or None,
        "labelFingerprint": fingerprint(one.labels),
        "users": [ROOT + world.instances[one.user].path] if one.user else [],
        "selfLink": link(one.scope, "addresses", one.name),
    }
    return checked("Address", without_none(shown))


HANDLERS: Final[Mapping[str, Handler]] = {
    "addresses.insert": insert_address,
    "addresses.delete": delete_address,
    "addresses.setLabels": set_address_labels,
    **Shelf("addresses", "address", "Address", _shown, "regions", also_global=True).handlers(everywhere=True),
}
