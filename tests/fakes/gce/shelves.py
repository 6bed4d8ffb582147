"""What all kinds of things have in common: to be got, to be listed, and to be listed for all scopes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import not_found
from tests.fakes.gce.filters import Filter
from tests.fakes.gce.links import path
from tests.fakes.gce.operations import SCOPES, check_scope
from tests.fakes.gce.paging import aggregated, page
from tests.fakes.gce.settings import PROJECT
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply

Handler = Callable[[World, Asked], Reply | Checked]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Things of a kind, and where they are."""

    resource: str
    """As in a path: `machineTypes`."""
    item: str
    """As a path's parameter: `machineType`."""
    schema: str
    things: Callable[[World, str, str], Iterable[Checked]]
    """Of a project, in a scope."""
    scope: str = ""
    """`zones`, `regions`, `global`, or empty for what is in no scope."""
    also_global: bool = False
    """Whether aggregated listings have a scope `global`, too."""

    def handlers(self, resource: str = "", *, everywhere: bool = False) -> Mapping[str, Handler]:
        """Return what answers the methods that look at them."""
        resource = resource or self.resource
        found: dict[str, Handler] = {f"{resource}.get": self.get, f"{resource}.list": self.list}
        if everywhere:
            found[f"{resource}.aggregatedList"] = self.aggregated
        return found

    def get(self, world: World, asked: Asked) -> Checked:
        project, scope, name = asked["project"], self._scope(world, asked), asked[self.item]
        for one in self.things(world, project, scope):
            if name in (one.value["name"], one.value.get("id")):
                return one
        raise not_found(path(scope, self.resource, name, project=project))

    def list(self, world: World, asked: Asked) -> Reply:
        scope = self._scope(world, asked)
        things = self.things(world, asked["project"], scope)
        return page(asked, self.item, self.schema, things, scope)

    def aggregated(self, world: World, asked: Asked) -> Reply:
        def listed(scope: str, _: Filter) -> Iterable[Checked]:
            return self.things(world, PROJECT, scope)

        scopes = [one for one in SCOPES if one.startswith(self.scope) or (one == "global" and self.also_global)]
        return aggregated(asked, self.item, self.schema, self.resource, scopes, listed, world.lost)

    def _scope(self, world: World, asked: Asked) -> str:
        if not self.scope:
            return ""
        scope = asked.scope
        if scope == "global":
            return scope
        check_scope(world, scope)
        return scope
