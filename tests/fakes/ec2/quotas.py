"""How many vCPUs an account may run, of On-Demand and of Spot instances."""

from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.tables import Type
from tests.fakes.ec2.world import World

_COUNTED = (InstanceState.PENDING, InstanceState.RUNNING)


def vcpus_used(world: World, *, spot: bool) -> int:
    used = 0
    for machine in world.cloud.everything():
        instance = world.instances.get(machine.id)
        if instance and (instance.spot is not None) is spot and machine.state in _COUNTED:
            used += instance.type.vcpus
    return used


def check_vcpus(world: World, type_: Type, least: int, most: int, *, spot: bool) -> int:
    """Return how many instances the quota allows. AwsError where that is fewer than the least."""
    quota = world.settings.spot_vcpu_quota if spot else world.settings.vcpu_quota
    if quota is None:
        return most
    allowed = (quota - vcpus_used(world, spot=spot)) // type_.vcpus
    if allowed >= least:
        return allowed
    if spot:
        raise AwsError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    raise AwsError(
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {quota} allows for the instance "
        "bucket that the specified instance type belongs to.",
    )
