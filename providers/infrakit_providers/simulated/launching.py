"""How the simulated cloud makes machines: one call's launches, in one transaction, each with its own end."""

import json
from collections import Counter
from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

from infrakit_providers.simulated import disks, images, tally
from infrakit_providers.simulated.database import as_list
from infrakit_providers.simulated.machines import NEVER, Launch, Row, id_of
from infrakit_providers.simulated.placement import Room
from infrakit_providers.simulated.settings import SimSettings, draw, draw_lifetime
from infrakit_py.errors import ImageMissing, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model.tags import CLUSTER, GROUP


class _Known(NamedTuple):
    """What a token already stands for."""

    id: str
    parameters: str
    gone_at: float
    cut_short: int


class Batch:
    """The launches of one call. They see one another: in zones, in what is left, in tokens."""

    def __init__(
        self, rows: Connection, settings: SimSettings, launches: Sequence[Launch], now: float, *, cut_short: bool
    ) -> None:
        self._rows = rows
        self._settings = settings
        self._now = now
        self._cut_short = cut_short
        self._room = Room(settings.zones, settings.quota, tally.occupied(rows, now))
        self._bootable = images.bootable(rows, settings, (launch.image for launch in launches))
        self._known = _known(rows, launches)
        self._next = next_number(rows)
        self._made: Counter[tally.Kind] = Counter()

    def launch(self, launch: Launch) -> str:
        """Make a machine, or find the one that the token stands for. Return its id."""
        machine_id = id_of(launch.token)
        if known := self._known.get(machine_id):
            self._again(launch, known)
            return machine_id
        if launch.image.identity not in self._bootable:
            raise ImageMissing(f"{launch.name}: image {launch.image.name} ({launch.image.short}) is not published")
        cluster, group = launch.tags.get(CLUSTER, ""), launch.tags.get(GROUP, "")
        disk = disks.find_free(self._rows, launch, cluster, group, self._now)
        if disk and launch.zones and disk.zone not in launch.zones:
            raise ProviderError(f"{launch.name}: data disk {disk.id} is in zone {disk.zone}, the machine may not be")
        zone = self._room.place(cluster, group, launch.type, (disk.zone,) if disk else launch.zones)
        disk_id = disks.attach(self._rows, launch, disk, cluster, group, zone, machine_id)
        row = new_row(self._settings, launch, self._next, zone, self._now, disk=disk_id, cut_short=self._cut_short)
        insert(self._rows, row)
        self._next += 1
        self._made[tally.kind_of(row)] += 1
        self._known[machine_id] = _Known(row.id, row.parameters, row.gone_at, row.cut_short)
        return machine_id

    def finish(self) -> None:
        """Write what is written once for all."""
        tally.add(self._rows, self._made)

    def _again(self, launch: Launch, known: _Known) -> None:
        if known.gone_at <= self._now:
            raise TokenSpent(f"{launch.name}: machine {known.id} of token {launch.token} is gone")
        if known.parameters != launch.parameters:
            raise TokenMismatch(
                f"{launch.name}: token {launch.token} stands for {known.id}, made from other parameters"
            )
        if known.cut_short and not self._cut_short:
            boots_at, dies_at = _instants(self._settings, launch.token, self._now)
            self._rows.execute(
                "UPDATE machines SET cut_short = 0, created_at = ?, boots_at = ?, dies_at = ? WHERE id = ?",
                (self._now, boots_at, dies_at, known.id),
            )


def new_row(
    settings: SimSettings,
    launch: Launch,
    number: int,
    zone: str,
    now: float,
    *,
    disk: str | None = None,
    cut_short: bool = False,
) -> Row:
    """Return the row of a machine that is made now."""
    boots_at, dies_at = _instants(settings, launch.token, now)
    return Row(
        seq=number,
        id=id_of(launch.token),
        token=launch.token,
        parameters=launch.parameters,
        cluster=launch.tags.get(CLUSTER, ""),
        grp=launch.tags.get(GROUP, ""),
        name=launch.name,
        tags=json.dumps(dict(launch.tags)),
        type=launch.type,
        zone=zone,
        image=launch.image.identity,
        reference=launch.image.reference,
        disk=disk,
        created_at=now,
        listed_at=now + settings.listing_lag,
        boots_at=boots_at,
        dies_at=dies_at,
        gone_at=NEVER,
        delisted_at=NEVER,
        cause="",
        sick=False,
        cut_short=cut_short,
    )


def insert(rows: Connection, row: Row) -> None:
    rows.execute(_INSERT, row)


def next_number(rows: Connection) -> int:
    """Return the number of the next machine; no row is ever deleted, so none comes twice."""
    (last,) = rows.execute("SELECT COALESCE(MAX(seq), 0) FROM machines").fetchone()
    return int(last) + 1


_INSERT = f"INSERT INTO machines VALUES ({', '.join('?' * len(Row._fields))})"


def _instants(settings: SimSettings, token: str, now: float) -> tuple[float, float]:
    boots_at = now + settings.boot_time.at(draw(settings.seed, "boot", token))
    mean = settings.mean_time_between_failures
    return boots_at, boots_at + draw_lifetime(mean, draw(settings.seed, "lifetime", token)) if mean else NEVER


def _known(rows: Connection, launches: Sequence[Launch]) -> dict[str, _Known]:
    query = "SELECT id, parameters, gone_at, cut_short FROM machines WHERE id IN (SELECT value FROM json_each(?))"
    found = rows.execute(query, (as_list(id_of(launch.token) for launch in launches),))
    return {known[0]: _Known(*known) for known in found}
