"""Where everything lies in etcd: `prefix/part/names`, with names written so that "/" only ever separates. Pure."""

from typing import Final
from urllib.parse import quote, unquote

_DIGITS: Final = 16
"""Of numbers in keys, so that their order is that of the keys."""
HIGHEST: Final = 10**_DIGITS - 1
"""The highest number that a key can have."""

IN_FORCE: Final = "in-force"
"""What counts of each cluster."""
REVISIONS: Final = "revisions"
SPECS: Final = "specs"
INTENTS: Final = "intents"
VERSIONS: Final = "versions"
HISTORY: Final = "history"
PAUSES: Final = "pauses"
HEALTHY: Final = "healthy"
STANDINGS: Final = "standings"
SOURCES: Final = "sources"
EVENTS: Final = "events"
LAST: Final = "last"
"""The last number of what is numbered."""
TURNS: Final = "turns"
"""Written with everything that one of a kind writes: whose number is known, nobody else has written since."""
OF_CLUSTER: Final = (INTENTS, REVISIONS, SPECS, VERSIONS, HISTORY, PAUSES, HEALTHY)
"""Parts that hold what is remembered of a cluster under its name, besides what is in force."""


class Keys:
    """The keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.rstrip("/")

    def key(self, part: str, *names: str) -> str:
        return "/".join((self._prefix, part, *map(_written, names)))

    def under(self, part: str, *names: str) -> str:
        """Return what all keys of a part begin with, or those of it under these names."""
        return self.key(part, *names) + "/"

    def names(self, key: str) -> tuple[str, ...]:
        """Return the names in a key, after its part."""
        return tuple(unquote(name, errors="surrogateescape") for name in key[len(self._prefix) :].split("/")[2:])

    def member(self, name: str) -> str:
        return self.key("members", name)

    def owner(self, name: str) -> str:
        return self.key("owners", name)

    def last_owner(self, name: str) -> str:
        """Who claimed something and has not given it back: it outlives the lease."""
        return self.key("last-owners", name)

    def sign(self, member: str) -> str:
        """Written with each renewal of a lease, and outlives it."""
        return self.key("signs", member)

    @property
    def last_owners(self) -> str:
        return self.under("last-owners")

    @property
    def signs(self) -> str:
        return self.under("signs")

    @property
    def members(self) -> str:
        return self.under("members")

    @property
    def owners(self) -> str:
        return self.under("owners")

    @property
    def mark(self) -> str:
        """Written whenever something else may be in force."""
        return self.key("mark")


def numbered(number: int) -> str:
    """Return a number as a name in keys."""
    return f"{number:0{_DIGITS}d}"


def _written(name: str) -> str:
    # An argument that is no UTF-8 arrives as surrogates.
    return quote(name, safe="", errors="surrogateescape")
