"""Who acts on a cluster where several controllers run: one lease a controller, one owner a cluster, fenced.

A claim hangs on its controller's lease and is lost with it, whatever happens to the controller. What a controller
knows of its own lease is a deadline, taken before each renewal was asked for: as long as it has not passed, nobody
else can own what this controller owns.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NewType, Protocol

ONLOOKER: Final = "-"
"""What a member announces that keeps no cluster: it only writes to the store for a while."""

SOURCE_READER: Final = ".sources"
"""What the controller that reads the source claims. No cluster can be called so."""

Token = NewType("Token", int)
"""Grows with every change of owner."""


class Claims(Protocol):
    """One controller's lease and claims. Safe for threads. Raise StoreError where the store cannot be asked."""

    @property
    def member(self) -> str:
        """The controller's name. No two that live at the same time share one."""
        ...

    @property
    def ttl_seconds(self) -> float:
        """How long a lease outlives its last renewal."""
        ...

    def beat(self) -> bool:
        """Renew the lease; call it every third of its life. False: it had run out, all claims are lost, it is new."""
        ...

    def members(self) -> Mapping[str, str]:
        """Return the controllers that live, each with what it says of itself (`announce`)."""
        ...

    def announce(self, text: str) -> None:
        """Say something of this controller to all others, as long as it lives."""
        ...

    def owners(self) -> Mapping[str, str]:
        """Return who owns what."""
        ...

    def claim(self, name: str) -> Token | None:
        """Own something from now on, where nobody else does. Idempotent. None: somebody else does."""
        ...

    def release(self, name: str) -> None:
        """Own it no more. Idempotent; nothing happens to what somebody else owns."""
        ...

    def held(self) -> Sequence[str]:
        """Return what this controller owns, as far as it knows without asking anybody."""
        ...

    def left_seconds(self, name: str) -> float:
        """Return how long nobody else can own `name`, by what is known here; 0 or less: it may be lost. No call."""
        ...

    def prove(self, name: str) -> None:
        """Ask the store whether this controller owns `name`, now. Fenced where it does not, or cannot prove it."""
        ...

    def resign(self) -> None:
        """Give up the lease and all claims, so that others need not wait for it to run out. Idempotent."""
        ...
