"""What several commands see of a cluster: where each group's rollout stands, and what its images are called."""

from collections.abc import Mapping

from infrakit_py.app.workbench import Workbench
from infrakit_py.model.plan import GroupPlan
from infrakit_py.model.revision import VersionRecord
from infrakit_py.render.standing import Standing
from infrakit_py.render.words import ImageNames


def standings(bench: Workbench, plans: Mapping[str, GroupPlan]) -> Mapping[str, Standing]:
    """Return where each group stands, by the plans of a look."""
    found: dict[str, Standing] = {}
    for name, plan in plans.items():
        group = bench.cluster.groups[name]
        wanted = group.version.fingerprint if group.version is not None else ""
        record = next((r for r in _records(bench, name) if r.version.fingerprint == wanted), None)
        found[name] = Standing(group, bench.versions.target(group), plan, record)
    return found


def image_names(bench: Workbench) -> ImageNames:
    """Return the names of the images that are declared, or were."""
    remembered = [record.version.image for name in bench.cluster.groups for record in _records(bench, name)]
    return ImageNames([*remembered, *bench.spec.images.values()])


def _records(bench: Workbench, group: str) -> list[VersionRecord]:
    return list(bench.store.versions(bench.spec.name, group))
