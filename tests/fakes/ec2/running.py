"""RunInstances: from what is asked for to instances, all that must be there or none."""

from collections.abc import Mapping
from typing import Any, Final

from infrakit_providers.simulated.machines import Launch, id_of
from infrakit_py.errors import NoCapacity, ProviderError, Transient
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Image, ImageForm
from tests.fakes.ec2.errors import AwsError, bad_combination, refusal
from tests.fakes.ec2.interfaces import make_interface, new_ipv6
from tests.fakes.ec2.launching import Wish, check_unused, read_wish
from tests.fakes.ec2.quotas import check_vcpus
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.shown import show_reservation
from tests.fakes.ec2.tables import Instance, Interface, Reservation, SpotRequest
from tests.fakes.ec2.tokens import check_token, digest, mismatch
from tests.fakes.ec2.volumes import attach, make_volume
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

MOST_PER_CALL: Final = 1000
_ON_ITS_WAY: Final = ("pending", "Pending")


def run_instances(world: World, asked: Asked) -> Reply:
    least, most = asked["MinCount"], asked["MaxCount"]
    if not 1 <= least <= most:
        raise AwsError(
            "InvalidParameterValue", f"Value ({least}) for parameter minCount is invalid: from 1 to maxCount ({most})"
        )
    wish = read_wish(world, with_template(world, asked))
    if asked.get("DryRun"):
        raise dry_run()
    reservation = launch(world, wish, least, most, digest(asked), asked.get("ClientToken", ""))
    return show_reservation(world, [world.instances[one] for one in reservation.instances])


def dry_run() -> AwsError:
    return AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def with_template(world: World, asked: Asked) -> Asked:
    """Return the request with what its launch template says where it says nothing itself."""
    named = asked.get("LaunchTemplate")
    if named is None:
        return asked
    from tests.fakes.ec2.templates import find_template

    own = {name: value for name, value in asked.items() if name != "LaunchTemplate"}
    return {**find_template(world, named).data, **own}


def launch(world: World, wish: Wish, least: int, most: int, digest_: str, token: str) -> Reservation:
    """Make a wish's instances, `least` to `most` of them or none; or find those that the token stands for."""
    check_token(token)
    scope = wish.subnet.zone if wish.zonal else world.settings.region
    if token and (known := world.reservations.get((scope, token))):
        if known.digest != digest_:
            raise mismatch()
        if all(world.state(one) is InstanceState.GONE for one in known.instances):
            raise AwsError(
                "IdempotentInstanceTerminated",
                f"The client token '{token}' is that of instances that have been terminated",
            )
        return known
    check_unused(wish.given)
    _check_wanted_addresses(world, wish, most)
    most = min(most, check_vcpus(world, wish.type, least, most, spot=wish.spot is not None))
    if not wish.given:
        world.check_free_addresses(wish.subnet, least)
        most = min(most, wish.subnet.free)
    reservation_id = world.new_id("r")
    ids, lost = _make_machines(world, wish, least, most, f"{scope}/{token}" if token else reservation_id)
    reservation = Reservation(reservation_id, digest_, token, tuple(ids))
    for index, one in enumerate(ids):
        world.instances[one] = _instance(world, wish, reservation, one, index)
    if token and ids:
        world.reservations[scope, token] = reservation
    if lost:
        raise lost
    return reservation


def _check_wanted_addresses(world: World, wish: Wish, most: int) -> None:
    for one in (wish.asked, *wish.made):
        if (wanted := one.get("PrivateIpAddress")) is None:
            continue
        if most > 1:
            raise bad_combination("A private address can be given to one instance only: MaxCount must be 1")
        world.check_address(world.subnets[one["SubnetId"]] if "SubnetId" in one else wish.subnet, wanted)


def _make_machines(world: World, wish: Wish, least: int, most: int, token: str) -> tuple[list[str], AwsError | None]:
    """Begin the machines. Return their ids, and the error that the caller gets though they were begun."""
    tags = wish.tags["instance"]
    image = Image(wish.image.name, wish.image.id, ImageForm.REFERENCE, reference=wish.image.id)
    names = [f"{token}/{index}" for index in range(most)]
    zones = (wish.subnet.zone,)
    launches = [Launch(one, tags.get("Name", ""), tags, image, "", wish.type.name, zones) for one in names]
    try:
        answers = world.cloud.launch(launches, at_least=least)
    except Transient as exc:
        made = [id_ for one in names if world.machine(id_ := id_of(one))]
        if not made:
            raise _refusal(exc, wish) from exc
        return made, _refusal(exc, wish)
    except ProviderError as exc:
        raise _refusal(exc, wish) from exc
    made = [answer for answer in answers if isinstance(answer, str)]
    if len(made) < least:
        raise _refusal(next(answer for answer in answers if isinstance(answer, ProviderError)), wish)
    return made, None


def _refusal(error: ProviderError, wish: Wish) -> AwsError:
    if isinstance(error, NoCapacity):
        return AwsError(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {wish.type.name} capacity in the Availability Zone you requested "
            f"({wish.subnet.zone}).",
            500,
        )
    return refusal(error)


def _instance(world: World, wish: Wish, reservation: Reservation, id_: str, index: int) -> Instance:
    asked = wish.asked
    instance = Instance(
        id=id_,
        reservation=reservation,
        index=index,
        image=wish.image,
        type=wish.type,
        asked=asked,
        subnet=wish.subnet,
        interfaces=[],
        volumes=[],
        profile=wish.profile,
        user_data=wish.user_data,
        protected=asked.get("DisableApiTermination", False),
        stop_protected=asked.get("DisableApiStop", False),
        reason=_ON_ITS_WAY,
        spot=_spot_request(world, wish, id_) if wish.spot is not None else None,
    )
    for device_index, interface in wish.given:
        _plug(world, instance, interface, device_index, doomed=False)
    for one in wish.made or (() if wish.given else (_plain(asked),)):
        _plug(world, instance, _interface(world, wish, one), one.get("DeviceIndex", 0), doomed=_doomed(one))
    instance.interfaces.sort(key=lambda one: one.device_index)
    for disk in wish.disks:
        volume = make_volume(world, disk, wish.subnet.zone, wish.tags["volume"])
        attach(world, volume, instance, disk.device, doomed=disk.delete_on_termination)
    return instance


def _plain(asked: Asked) -> Mapping[str, Any]:
    names = ("PrivateIpAddress", "Ipv6AddressCount")
    return {name: asked[name] for name in names if name in asked}


def _doomed(specification: Mapping[str, Any]) -> bool:
    return bool(specification.get("DeleteOnTermination", True))


def _interface(world: World, wish: Wish, asked: Mapping[str, Any]) -> Interface:
    subnet = world.subnets[asked["SubnetId"]] if "SubnetId" in asked else wish.subnet
    interface = make_interface(
        world,
        subnet,
        groups=tuple(asked.get("Groups", ())) or wish.groups,
        wanted=asked.get("PrivateIpAddress"),
        description=asked.get("Description", ""),
        tags=wish.tags["network-interface"],
        ipv6=tuple(new_ipv6(world) for _ in range(asked.get("Ipv6AddressCount", 0))),
    )
    if asked.get("AssociatePublicIpAddress", False):
        interface.public_ip = new_public_ip(world)
    return interface


def new_public_ip(world: World) -> str:
    high, low = divmod(world.number(), 65536)
    return f"52.{28 + high % 200}.{low >> 8}.{low & 255}"


def _plug(world: World, instance: Instance, interface: Interface, index: int, *, doomed: bool) -> None:
    interface.instance, interface.attachment = instance.id, "eni-attach-" + interface.id[4:]
    interface.device_index, interface.attached_at = index, world.now()
    interface.delete_on_termination = doomed
    instance.interfaces.append(interface)


def _spot_request(world: World, wish: Wish, instance_id: str) -> SpotRequest:
    assert wish.spot is not None
    now = world.now()
    request = SpotRequest(
        id=f"sir-{world.new_id('x')[2:10]}",
        instance=instance_id,
        created_at=now,
        max_price=wish.spot["MaxPrice"] or "0.100000",
        kind=wish.spot["Kind"],
        behavior=wish.spot["Behavior"],
        updated_at=now,
        tags=dict(wish.tags["spot-instances-request"]),
    )
    world.spot_requests[request.id] = request
    return request
