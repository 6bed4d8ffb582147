"""How the simulated cloud makes machines: one call's launches, in one transaction, each with its own end."""

from collections.abc import Sequence

from infrakit_providers.simulated import disks, images
from infrakit_providers.simulated.conditions import Conditions, worst
from infrakit_providers.simulated.machines import NEVER, Launch, Row, host_of, id_of
from infrakit_providers.simulated.placement import Room
from infrakit_providers.simulated.registry import Changes
from infrakit_providers.simulated.settings import SimSettings, draw, draw_lifetime
from infrakit_py.errors import ImageMissing, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model.tags import CLUSTER, GROUP


class Batch:
    """The launches of one call. They see one another: in zones, in what is left, in tokens."""

    def __init__(
        self,
        changes: Changes,
        settings: SimSettings,
        conditions: Conditions,
        launches: Sequence[Launch],
        *,
        cut_short: bool,
    ) -> None:
        self._changes = changes
        self._settings = settings
        self._conditions = conditions
        self._now = changes.now
        self._cut_short = cut_short
        self._room = Room(conditions.zones, conditions.quota, changes.fleet.occupied())
        self._bootable = images.bootable(changes.rows, settings, (launch.image for launch in launches))

    def launch(self, launch: Launch) -> str:
        """Make a machine, or find the one that the token stands for. Return its id."""
        if known := self._changes.of_token(launch.token):
            return self._again(launch, known)
        if launch.image.identity not in self._bootable:
            raise ImageMissing(f"{launch.name}: image {launch.image.name} ({launch.image.short}) is not published")
        cluster, group = launch.tags.get(CLUSTER, ""), launch.tags.get(GROUP, "")
        rows = self._changes.rows
        disk = disks.find_free(rows, self._changes.find, launch, cluster, group, self._now)
        if disk and launch.zones and disk.zone not in launch.zones:
            raise ProviderError(f"{launch.name}: data disk {disk.id} is in zone {disk.zone}, the machine may not be")
        zone = self._room.place(cluster, group, launch.type, (disk.zone,) if disk else launch.zones)
        disk_id = disks.attach(rows, launch, disk, cluster, group, zone)
        row = new_row(self._settings, self._conditions, launch, self._changes.number(), zone, self._now)
        if disk_id or self._cut_short:
            row = row._replace(disk=disk_id, cut_short=self._cut_short)
        self._changes.put(row)
        return row.id

    def _again(self, launch: Launch, known: Row) -> str:
        if known.gone_at <= self._now:
            raise TokenSpent(f"{launch.name}: machine {known.id} of token {launch.token} is gone")
        if known.parameters and known.parameters != launch.parameters:
            raise TokenMismatch(
                f"{launch.name}: token {launch.token} stands for {known.id}, made from other parameters"
            )
        if known.cut_short and not self._cut_short:
            boots_at, dies_at = _instants(self._settings, self._conditions, launch, known.zone, self._now)
            finished = known._replace(cut_short=False, created_at=self._now, boots_at=boots_at, dies_at=dies_at)
            self._changes.put(finished)
        return known.id


def new_row(settings: SimSettings, conditions: Conditions, launch: Launch, number: int, zone: str, now: float) -> Row:
    """Return the row of a machine that is made now."""
    boots_at, dies_at = _instants(settings, conditions, launch, zone, now)
    return Row(
        seq=number,
        id=id_of(launch.token),
        token=launch.token,
        parameters=launch.parameters,
        cluster=launch.tags.get(CLUSTER, ""),
        grp=launch.tags.get(GROUP, ""),
        name=launch.name,
        tags=dict(launch.tags),
        type=launch.type,
        zone=zone,
        host=host_of(settings.seed, zone, len(settings.zones), number),
        image=launch.image.identity,
        image_name=launch.image.name,
        reference=launch.image.reference,
        disk=None,
        created_at=now,
        listed_at=now + conditions.listing_lag,
        boots_at=boots_at,
        dies_at=dies_at,
        gone_at=NEVER,
        delisted_at=NEVER,
        cause="",
        sick_since=NEVER,
        flaps=0.0,
        impaired="",
        cut_short=False,
    )


def _instants(
    settings: SimSettings, conditions: Conditions, launch: Launch, zone: str, now: float
) -> tuple[float, float]:
    """Return when a machine runs and when it dies."""
    targets = (launch.tags.get(GROUP, ""), zone, launch.name)
    dead = worst(conditions.dead_shares, targets, otherwise=0.0)
    if dead and draw(settings.seed, "dead", launch.token) < dead:
        return NEVER, NEVER
    boot_seconds = settings.boot_time.at(draw(settings.seed, "boot", launch.token))
    boots_at = now + boot_seconds * worst(conditions.boot_factors, targets, otherwise=1.0)
    mean = settings.mean_time_between_failures
    return boots_at, boots_at + draw_lifetime(mean, draw(settings.seed, "lifetime", launch.token)) if mean else NEVER
