"""A machine of the simulated cloud: what is asked for, and what its row says at a moment. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Image

NEVER: Final = inf
MACHINES_A_HOST: Final = 8
_HOSTS_A_ROW: Final = 4

# Names of their own, because to find a member in its enum takes longer than all else that is done for each machine.
_INCOMPLETE: Final = InstanceState.INCOMPLETE
_PENDING: Final = InstanceState.PENDING
_RUNNING: Final = InstanceState.RUNNING
_STOPPED: Final = InstanceState.STOPPED
_LEAVING: Final = InstanceState.LEAVING
_GONE: Final = InstanceState.GONE


@dataclass(frozen=True, slots=True)
class Launch:
    """One machine that the cloud is asked for. `parameters` is a digest of all that its token stands for."""

    token: str
    name: str
    tags: Mapping[str, str]
    image: Image
    parameters: str
    type: str = "small"
    zones: tuple[str, ...] = ()
    """Where it may be; empty means anywhere."""
    data_disk: int | None = None
    data_key: str | None = None


class Row(NamedTuple):
    """A machine as stored. Instants are Unix time in seconds, NEVER where nothing is due.

    `parameters` are empty where nobody knows them. From `sick_since` on it answers no health check; with `flaps`, it
    is sick and well by turns, each for so many seconds.
    """

    seq: int
    id: str
    token: str | None
    parameters: str
    cluster: str
    grp: str
    name: str
    tags: Mapping[str, str]
    type: str
    zone: str
    host: str
    image: str
    image_name: str
    reference: str
    disk: str | None
    created_at: float
    listed_at: float
    boots_at: float
    dies_at: float
    gone_at: float
    delisted_at: float
    cause: str
    sick_since: float
    flaps: float
    impaired: str
    cut_short: bool


class Machine(NamedTuple):
    """A machine at one moment. Built without a look at the row, because a listing is made of a hundred thousand."""

    row: Row
    state: InstanceState
    sick: bool

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def token(self) -> str | None:
        return self.row.token

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def tags(self) -> Mapping[str, str]:
        return self.row.tags

    @property
    def type(self) -> str:
        return self.row.type

    @property
    def zone(self) -> str:
        return self.row.zone

    @property
    def host(self) -> str:
        return self.row.host

    @property
    def image(self) -> str:
        return self.row.image

    @property
    def disk(self) -> str | None:
        return self.row.disk

    @property
    def created_at(self) -> float:
        return self.row.created_at

    @property
    def address(self) -> str:
        return "" if self.state is _INCOMPLETE or self.state is _GONE else address_of(self.row.seq)

    @property
    def detail(self) -> str:
        return self.row.cause or "crashed (simulated)" if self.state is _STOPPED else ""

    @property
    def impaired(self) -> str:
        """Why the cloud takes it for broken, while it runs."""
        return self.row.impaired if self.state is _RUNNING else ""


def id_of(token: str) -> str:
    """Return the id that a token's machine gets. That it is unique is what makes tokens so."""
    return "i-" + hashlib.sha256(token.encode()).hexdigest()[:17]


def address_of(seq: int) -> str:
    """Return the private address of the machine of that number: unique for the first 16 million."""
    high, last = divmod(seq - 1, 254)
    return f"10.{high >> 8 & 255}.{high & 255}.{last + 1}"


def host_of(seed: int, zone: str, zones: int, seq: int) -> str:
    """Return the host that the machine of that number runs on, one of so many zones' hosts.

    Machines made one after another in a zone are on different hosts.
    """
    row, place = divmod((seq - 1) // zones, MACHINES_A_HOST * _HOSTS_A_ROW)
    return f"{zone}-h{row * _HOSTS_A_ROW + (place + seed) % _HOSTS_A_ROW:02}"


def life(row: Row, now: float) -> tuple[InstanceState, float, float]:
    """Return the state at a moment, and the instants from which and before which it is that."""
    if now >= row.gone_at:
        return _GONE, row.gone_at, NEVER
    if row.gone_at < NEVER:
        return _LEAVING, -NEVER, row.gone_at
    if row.cut_short:
        return _INCOMPLETE, -NEVER, NEVER
    if now >= row.dies_at:
        return _STOPPED, row.dies_at, NEVER
    if now < row.boots_at:
        return _PENDING, -NEVER, min(row.boots_at, row.dies_at)
    return _RUNNING, row.boots_at, row.dies_at


def state_of(row: Row, now: float) -> InstanceState:
    return life(row, now)[0]


def is_sick(row: Row, now: float) -> bool:
    """Tell whether it fails its health checks, as far as that lies in the machine and not in its image."""
    if now < row.sick_since:
        return False
    return not row.flaps or (now - row.sick_since) // row.flaps % 2 == 0


def died(row: Row, now: float, cause: str) -> Row:
    """Return the row of a machine that dies now, or as it is if it had died before."""
    return row if row.dies_at <= now else row._replace(dies_at=now, cause=cause)


def answers(row: Row, now: float, sick_images: tuple[str, ...]) -> bool:
    """Tell whether a health check succeeds. Sick images go by name, reference or first digits of the identity."""
    if state_of(row, now) is not _RUNNING or is_sick(row, now):
        return False
    return not (row.image.startswith(sick_images) or row.image_name in sick_images or row.reference in sick_images)
