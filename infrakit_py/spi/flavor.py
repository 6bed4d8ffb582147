"""What makes the members of a group special: their user data, and how they leave service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint


@dataclass(frozen=True, slots=True)
class MemberIdentity:
    """Who a machine is going to be. `index` is its place: the slot's number, or the place among the logical ids."""

    cluster: str
    group: str
    size: int
    name: str
    logical_id: str | None
    index: int


class Flavor(Protocol):
    """An opened flavor of one group. It may talk to the outside; it decides nothing."""

    drains: bool
    """Whether `drain` has anything to do."""

    def review(self, members: Iterable[MemberIdentity]) -> Iterable[Complaint]:
        """Return mistakes that show only when user data is made for these members. Pure."""
        ...

    def material(self) -> Mapping[str, Json]:
        """Return what forces a replacement when it changes: template and group values, no member's own. Pure."""
        ...

    def user_data(self, member: MemberIdentity) -> bytes | None:
        """Make a member's user data. Pure: the same member gives the same bytes. SpecError if it cannot be made."""
        ...

    def healthy(self, instance: Instance) -> str | None:
        """Return None if the flavor takes a running machine for healthy, else why not.

        Asked only where a group's `health` says `flavor: true`. Raise ProviderError where it cannot be told.
        """
        ...

    def drain(self, instance: Instance) -> bool:
        """Take a machine out of service, or look whether that is done: True when it may be destroyed.

        Called again each tick until True or the drain timeout; idempotent. Any InfrakitError counts as False
        and is shown.
        """
        ...


class FlavorPlugin(Protocol):
    """The object behind an entry point of group `infrakit.flavors`."""

    summary: str
    """One line for `infra plugins`."""
    options: type[BaseModel]
    """Model of the group's `flavor` mapping, without `kind` and `tags`. Unknown keys must be refused.

    It is validated with the context `{"directory": Path}`, from which relative file names start, and what
    `model_dump(mode="json", exclude_unset=True)` gives is what `open` gets: no file is read after that.
    """

    def open(self, options: Mapping[str, Json], *, cluster: str, group: str) -> Flavor:
        """Make the flavor of one group. Pure."""
        ...
