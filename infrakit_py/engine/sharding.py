"""Which of the living controllers keeps which cluster. Pure: all of them come to the same answer by themselves."""

import hashlib
from collections.abc import Iterable


def owner_of(cluster: str, members: Iterable[str]) -> str | None:
    """Return the controller that shall keep a cluster; None where none lives.

    Rendezvous hashing: when a controller comes or goes, only the clusters move that it takes over or leaves.
    """
    return max(members, key=lambda member: (_weight(cluster, member), member), default=None)


def _weight(cluster: str, member: str) -> bytes:
    return hashlib.blake2b(f"{member}\0{cluster}".encode(), digest_size=8).digest()
