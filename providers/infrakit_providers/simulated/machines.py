"""A machine of the simulated cloud: what is asked for, and what its row says at a moment. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Image

NEVER: Final = inf


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
    """A machine as stored. Instants are Unix time in seconds, NEVER where nothing is due."""

    seq: int
    id: str
    token: str | None
    parameters: str
    cluster: str
    grp: str
    name: str
    tags: str
    type: str
    zone: str
    image: str
    reference: str
    disk: str | None
    created_at: float
    listed_at: float
    boots_at: float
    dies_at: float
    gone_at: float
    delisted_at: float
    cause: str
    sick: bool
    cut_short: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine at one moment."""

    id: str
    name: str
    tags: Mapping[str, str]
    type: str
    zone: str
    address: str
    image: str
    created_at: float
    state: InstanceState
    detail: str = ""
    disk: str | None = None
    token: str | None = None
    sick: bool = False


def id_of(token: str) -> str:
    """Return the id that a token's machine gets. That it is unique is what makes tokens so."""
    return "i-" + hashlib.sha256(token.encode()).hexdigest()[:17]


def address_of(seq: int) -> str:
    """Return the private address of the machine of that number: unique for the first 16 million."""
    high, last = divmod(seq - 1, 254)
    return f"10.{high >> 8 & 255}.{high & 255}.{last + 1}"


def state_of(row: Row, now: float) -> InstanceState:
    if now >= row.gone_at:
        return InstanceState.GONE
    if row.gone_at < NEVER:
        return InstanceState.LEAVING
    if row.cut_short:
        return InstanceState.INCOMPLETE
    if now >= row.dies_at:
        return InstanceState.STOPPED
    return InstanceState.PENDING if now < row.boots_at else InstanceState.RUNNING


def machine_at(row: Row, now: float) -> Machine:
    """Tell what there is of a row at a moment."""
    state = state_of(row, now)
    return Machine(
        id=row.id,
        name=row.name,
        tags=json.loads(row.tags),
        type=row.type,
        zone=row.zone,
        address=address_of(row.seq) if state not in _WITHOUT_ADDRESS else "",
        image=row.image,
        created_at=row.created_at,
        state=state,
        detail=row.cause or "crashed (simulated)" if state is InstanceState.STOPPED else "",
        disk=row.disk,
        token=row.token,
        sick=bool(row.sick),
    )


def answers(row: Row, now: float, sick_images: tuple[str, ...]) -> bool:
    """Tell whether a health check of the machine succeeds."""
    never = row.reference in sick_images or row.image.startswith(sick_images)
    return state_of(row, now) is InstanceState.RUNNING and not row.sick and not never


_WITHOUT_ADDRESS: Final = frozenset({InstanceState.INCOMPLETE, InstanceState.GONE})
