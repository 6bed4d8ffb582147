"""How machines that exist elsewhere come into the simulated cloud: the same to all who look at their tags."""

from infrakit_providers.simulated.machines import NEVER, Row, host_of
from infrakit_providers.simulated.settings import SimSettings, draw, draw_lifetime
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.tags import CLUSTER, GROUP, IMAGE, LOGICAL_ID, SLOT, TOKEN


def adopted_row(settings: SimSettings, instance: Instance, number: int, now: float, *, healthy: bool) -> Row:
    """Return the row of a machine that was made elsewhere. Nobody knows its parameters, so its token minds none.

    It has the state that is reported, if that can last here: in a cloud where destroying takes no time, what leaves
    is gone at once.
    """
    state, token = instance.state, instance.tags.get(TOKEN, instance.id)
    boots_at, dies_at, gone_at = instance.launched_at, NEVER, NEVER
    match state:
        case InstanceState.PENDING | InstanceState.INCOMPLETE:
            boots_at = now + settings.boot_time.at(draw(settings.seed, "boot", token))
        case InstanceState.STOPPED:
            dies_at = now
        case InstanceState.LEAVING:
            gone_at = now + settings.destroy_time
        case InstanceState.GONE:
            gone_at = now
        case InstanceState.RUNNING:
            boots_at = min(boots_at, now)
    if settings.mean_time_between_failures and dies_at == NEVER:
        lifetime = draw_lifetime(settings.mean_time_between_failures, draw(settings.seed, "lifetime", token))
        dies_at = max(now, boots_at) + lifetime
    return Row(
        seq=number,
        id=instance.id,
        token=instance.tags.get(TOKEN),
        parameters="",
        cluster=instance.tags.get(CLUSTER, ""),
        grp=instance.tags.get(GROUP, ""),
        name=instance.facts.get("name") or _name(instance),
        tags=dict(instance.tags),
        type=instance.facts.get("type", "small"),
        zone=instance.zone,
        host=instance.host or host_of(settings.seed, instance.zone, len(settings.zones), number),
        image=instance.tags.get(IMAGE, ""),
        image_name="",
        reference="",
        disk=None,
        created_at=instance.launched_at,
        listed_at=now,
        boots_at=boots_at,
        dies_at=dies_at,
        gone_at=gone_at,
        delisted_at=gone_at + settings.gone_listed_for,
        cause=instance.detail,
        sick_since=NEVER if healthy else now,
        flaps=0.0,
        impaired=instance.impaired,
        cut_short=state is InstanceState.INCOMPLETE,
    )


def _name(instance: Instance) -> str:
    tags = instance.tags
    return tags.get(LOGICAL_ID) or f"{tags.get(GROUP, '')}-{tags.get(SLOT, instance.id)}"
