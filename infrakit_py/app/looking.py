"""What several commands see of a cluster: where rollouts stand, the names of its images, what machines cost."""

from collections.abc import Iterable, Mapping, Sequence

from infrakit_py.app.workbench import Workbench
from infrakit_py.engine.forecast import Forecast
from infrakit_py.model.plan import GroupPlan
from infrakit_py.model.revision import VersionRecord
from infrakit_py.model.spec import Json
from infrakit_py.render.costs import Cost, costs
from infrakit_py.render.standing import Standing
from infrakit_py.render.status import status_json
from infrakit_py.render.words import ImageNames


def standings(bench: Workbench, plans: Mapping[str, GroupPlan]) -> Mapping[str, Standing]:
    """Return where each group stands, by the plans of a look."""
    return {name: _standing(bench, name, plan, _records(bench, name)) for name, plan in plans.items()}


def group_document(bench: Workbench, name: str, plan: GroupPlan) -> Json:
    """Return where one group stands, for programs, as `infra status --json` does."""
    records = _records(bench, name)
    names = ImageNames([*(record.version.image for record in records), *bench.spec.images.values()])
    groups = status_json(bench.spec, [_standing(bench, name, plan, records)], names)["groups"]
    return groups[0] if isinstance(groups, list) else None


def image_names(bench: Workbench) -> ImageNames:
    """Return the names of the images that are declared, or were."""
    remembered = [record.version.image for name in bench.cluster.groups for record in _records(bench, name)]
    return ImageNames([*remembered, *bench.spec.images.values()])


def planned_costs(bench: Workbench, forecasts: Sequence[Forecast]) -> tuple[Cost, ...]:
    """Return what the machines of the groups that are worked on cost, now and once all is as planned."""
    goals = [bench.versions.target(group).group for group in bench.cluster.groups.values()]
    return costs(
        bench.cluster.providers,
        [assessed.member for forecast in forecasts for assessed in forecast.first.members],
        [group.spec for group in goals if group.spec is not None],
        _unseen_providers(bench, (forecast.group for forecast in forecasts if forecast.unseen)),
    )


def present_costs(bench: Workbench, plans: Mapping[str, GroupPlan]) -> tuple[Cost, ...]:
    """Return what the machines of the groups that are worked on cost now, by the plans of a look."""
    members = [assessed.member for plan in plans.values() for assessed in plan.members]
    return costs(bench.cluster.providers, members, unseen=_unseen_providers(bench, bench.unseen))


def _unseen_providers(bench: Workbench, groups: Iterable[str]) -> set[str]:
    """Return the providers whose machines are not all seen. A group that nobody declares may be at any of them."""
    homes = {bench.cluster.groups[name].desired.provider for name in groups}
    return set(bench.cluster.providers) if "" in homes else homes


def _standing(bench: Workbench, name: str, plan: GroupPlan, records: Sequence[VersionRecord]) -> Standing:
    group = bench.cluster.groups[name]
    wanted = group.version.fingerprint if group.version is not None else ""
    record = next((r for r in records if r.version.fingerprint == wanted), None)
    return Standing(group, bench.versions.target(group), plan, record)


def _records(bench: Workbench, group: str) -> list[VersionRecord]:
    return list(bench.store.versions(bench.spec.name, group))
