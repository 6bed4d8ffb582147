"""Data disks of the simulated cloud: they outlive their machines, and one machine at a time may hold one."""

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from infrakit_providers.simulated.machines import Launch, Row, id_of
from infrakit_py.errors import NotOurs, ProviderError, Transient


@dataclass(frozen=True, slots=True)
class Disk:
    """A data disk. `holder` is the machine that has it, or had it last."""

    id: str
    cluster: str
    group: str
    key: str
    zone: str
    size: int
    holder: str | None


_COLUMNS = "id, cluster, grp, key, zone, size, holder"


def of_cluster(rows: sqlite3.Connection, cluster: str) -> list[Disk]:
    found = rows.execute(f"SELECT {_COLUMNS} FROM disks WHERE cluster = ? ORDER BY grp, key", (cluster,))
    return [Disk(*row) for row in found]


Find = Callable[[str], Row | None]
"""Returns a machine by its id."""


def find_free(
    rows: sqlite3.Connection, find: Find, launch: Launch, cluster: str, group: str, now: float
) -> Disk | None:
    """Return the disk that a machine-to-be finds, None where there is none yet. Transient while another has it."""
    if launch.data_disk is None:
        return None
    if launch.data_key is None:
        raise ProviderError(f"{launch.name}: a data disk needs a named machine", hint="use logical_ids, not size")
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM disks WHERE (cluster, grp, key) = (?, ?, ?)", (cluster, group, launch.data_key)
    ).fetchone()
    if found is None:
        return None
    disk = Disk(*found)
    if _is_held(find, disk, now):
        raise Transient(f"{launch.name}: data disk {disk.id} is still held by {disk.holder}")
    return disk


def attach(
    rows: sqlite3.Connection, launch: Launch, disk: Disk | None, cluster: str, group: str, zone: str
) -> str | None:
    """Give a new machine its data disk, made if need be, and grown but never shrunk. Return the disk's id."""
    if launch.data_disk is None or launch.data_key is None:
        return None
    machine_id = id_of(launch.token)
    if disk:
        size = max(disk.size, launch.data_disk)
        rows.execute("UPDATE disks SET holder = ?, size = ? WHERE id = ?", (machine_id, size, disk.id))
        return disk.id
    disk_id = "vol-" + hashlib.sha256(f"{machine_id}/{launch.data_key}".encode()).hexdigest()[:17]
    row = (disk_id, cluster, group, launch.data_key, zone, launch.data_disk, machine_id)
    rows.execute(f"INSERT INTO disks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return disk_id


def delete(rows: sqlite3.Connection, find: Find, disk_id: str, cluster: str, now: float) -> None:
    """Delete a disk that nobody holds. One that is gone already is fine."""
    found = rows.execute(f"SELECT {_COLUMNS} FROM disks WHERE id = ?", (disk_id,)).fetchone()
    if found is None:
        return
    disk = Disk(*found)
    if disk.cluster != cluster:
        raise NotOurs(f"data disk {disk_id} is not of cluster {cluster}")
    if _is_held(find, disk, now):
        raise ProviderError(f"data disk {disk_id} is in use by {disk.holder}")
    rows.execute("DELETE FROM disks WHERE id = ?", (disk_id,))


def _is_held(find: Find, disk: Disk, now: float) -> bool:
    holder = find(disk.holder) if disk.holder else None
    return holder is not None and holder.gone_at > now
