"""Images: found by name, or the newest of a family."""

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.errors import invalid, not_ready
from tests.fakes.gce.links import path, read_link
from tests.fakes.gce.tables import Image
from tests.fakes.gce.world import World


def find_image(world: World, asked: Asked, written: str, field_: str) -> Image:
    """Return the image that a link names, or the newest of the family that it names."""
    project, _, name = read_link(written, "images", field_)
    if name.startswith("family/"):
        found = newest_of_family(world, project, name.removeprefix("family/"))
    else:
        found = world.images.get((project, name))
    if found is None or found.deprecated in ("OBSOLETE", "DELETED"):
        raise invalid(field_, written, "The referenced image resource cannot be found.")
    if found.status != "READY":
        raise not_ready(path("global", "images", found.name, project=project))
    asked.permit("compute.images.useReadOnly", path("global", "images", found.name, project=project))
    return found


def newest_of_family(world: World, project: str, family: str) -> Image | None:
    alive = [one for one in world.images.values() if (one.project, one.family) == (project, family)]
    return max((one for one in alive if not one.deprecated), key=lambda one: one.created_at, default=None)
