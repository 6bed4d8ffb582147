"""CreateFleet of type instant: as many instances as the overrides' zones and types together have."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.fakes.ec2.errors import AwsError, missing
from tests.fakes.ec2.launching import read_wish
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.running import launch
from tests.fakes.ec2.tags import tags_for
from tests.fakes.ec2.templates import find_template
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

FLEET_TAG: Final = "aws:ec2:fleet-id"


def create_fleet(world: World, asked: Asked) -> Reply:
    """Make the instances at once. A place that has too few gives what it has, and the next one gives the rest."""
    if asked.get("Type", "maintain") != "instant":
        raise AwsError("InvalidParameterValue", "The fake makes fleets of type instant only")
    tags_for(asked, "fleet", "instance", "volume", "network-interface")
    fleet_id = once(world, "CreateFleet", asked, lambda: _make(world, asked))
    return world.fleets[fleet_id]


def _make(world: World, asked: Asked) -> str:
    fleet_id = f"fleet-{world.new_id('fleet')[6:]}"
    capacity = asked["TargetCapacitySpecification"]
    total = capacity["TotalTargetCapacity"]
    spot = capacity.get("DefaultTargetCapacityType", "on-demand") == "spot"
    options = asked.get("SpotOptions" if spot else "OnDemandOptions", {})
    places = _places(asked, options)
    made: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    left = total
    for specification, override in places:
        if left == 0:
            break
        about = {"LaunchTemplateSpecification": _named(specification), "Overrides": override}
        lifecycle = "spot" if spot else "on-demand"
        try:
            ids = _launch(world, asked, fleet_id, specification, override, left, spot=spot)
        except AwsError as exc:
            error = {"Lifecycle": lifecycle, "ErrorCode": exc.code, "ErrorMessage": exc.message}
            errors.append({"LaunchTemplateAndOverrides": about, **error})
            continue
        left -= len(ids)
        type_ = world.instances[ids[0]].type.name
        made.append(
            {"LaunchTemplateAndOverrides": about, "Lifecycle": lifecycle, "InstanceIds": ids, "InstanceType": type_}
        )
    if total - left < options.get("MinTargetCapacity", 0):
        ids = [one for group in made for one in group["InstanceIds"]]
        world.terminate(ids, ("Server.InternalError", "Server.InternalError: fleet below its least capacity"))
        made = []
    world.fleets[fleet_id] = {"FleetId": fleet_id, "Errors": errors, "Instances": made}
    return fleet_id


def _places(asked: Asked, options: Mapping[str, Any]) -> Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return templates with overrides in the order in which they are tried."""
    places = []
    for one in asked["LaunchTemplateConfigs"]:
        if "LaunchTemplateSpecification" not in one:
            raise missing("LaunchTemplateConfigs.LaunchTemplateSpecification")
        places += [(one["LaunchTemplateSpecification"], override) for override in one.get("Overrides", ({},))]
    if "prioritized" in options.get("AllocationStrategy", "lowest-price"):
        places.sort(key=lambda place: place[1].get("Priority", float("inf")))
    return places


def _launch(
    world: World,
    asked: Asked,
    fleet_id: str,
    specification: Mapping[str, Any],
    override: Mapping[str, Any],
    most: int,
    *,
    spot: bool,
) -> list[str]:
    wanted = {**find_template(world, specification).data, "MinCount": 1, "MaxCount": most}
    wanted |= {name: override[name] for name in ("InstanceType", "SubnetId", "ImageId") if name in override}
    if "AvailabilityZone" in override:
        wanted["Placement"] = {"AvailabilityZone": override["AvailabilityZone"]}
    if spot:
        price = {"MaxPrice": override["MaxPrice"]} if "MaxPrice" in override else {}
        wanted["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": price}
    ours = [one for one in asked.get("TagSpecifications", ()) if one.get("ResourceType") != "fleet"]
    given = {one.get("ResourceType") for one in ours}
    others = [one for one in wanted.get("TagSpecifications", ()) if one.get("ResourceType") not in given]
    wanted["TagSpecifications"] = [*ours, *others]
    wish = read_wish(world, wanted)
    wish.tags["instance"][FLEET_TAG] = fleet_id
    return list(launch(world, wish, 1, most, "", "").instances)


def _named(specification: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "1", **specification}
