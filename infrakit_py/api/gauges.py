"""Where everything stands, as numbers: read anew, once, whenever somebody asks."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from infrakit_py.api.controls import ControllerStanding, Controls, Standing
from infrakit_py.api.reading import field, number, summary
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import SourceStatus
from infrakit_py.model.plan import Condition
from infrakit_py.model.spec import Json

_COUNTS: Final = (
    ("wanted", "Machines that there shall be"),
    ("ready", "Machines that are ready"),
    ("new", "Machines of the version that is rolled out"),
    ("new_ready", "Ready machines of the version that is rolled out"),
    ("outdated", "Machines that are still to be replaced"),
    ("failed", "Machines that failed"),
)
_PROGRESS: Final = (
    ("step", "New machines that the rollout's step allows"),
    ("failed", "New machines that failed in the rollout"),
    ("failure_limit", "Failed new machines at which the rollout stops"),
)
_GROUP: Final = ("cluster", "group")
_CLUSTER: Final = ("cluster",)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What could be read; None where the store did not answer."""

    standings: Mapping[str, Standing] | None
    sources: Mapping[str, SourceStatus] | None
    controllers: Sequence[ControllerStanding] | None


class Gauges(Collector):
    """One look at everything."""

    def __init__(self, controls: Controls, controller: str, now: float) -> None:
        self._controller = controller
        self._now = now
        self._seen = _look(controls)

    @property
    def clusters(self) -> frozenset[str] | None:
        """The clusters that are declared; None where that is not known."""
        return frozenset(self._seen.standings) if self._seen.standings is not None else None

    def collect(self) -> Iterator[Metric]:
        seen = self._seen
        answers = None not in (seen.standings, seen.sources, seen.controllers)
        yield GaugeMetricFamily("infrakit_store_answers", "Whether the store could be read just now", float(answers))
        if seen.controllers is not None:
            yield from _of_controllers(seen.controllers, self._controller)
        if seen.sources is not None:
            yield from _of_sources(seen.sources)
        if seen.standings is not None:
            yield from _of_clusters(seen.standings, self._now)
            yield from _of_groups(seen.standings)


def _look(controls: Controls) -> _Seen:
    standings, sources, controllers = None, None, None
    try:
        standings = controls.standings()
        sources = controls.sources()
        controllers = controls.controllers()
    except InfrakitError:
        pass  # infrakit_store_answers says so
    return _Seen(standings, sources, controllers)


def _of_controllers(controllers: Sequence[ControllerStanding], name: str) -> Iterator[Metric]:
    own = next((one for one in controllers if one.name == name), None)
    yield GaugeMetricFamily("infrakit_controllers", "Controllers that live", len(controllers))
    yield GaugeMetricFamily(
        "infrakit_leader", "Whether this one reads the sources", float(own is not None and own.leader)
    )
    owned = len(own.owns) if own is not None else 0
    yield GaugeMetricFamily("infrakit_clusters_owned", "Clusters that this controller keeps", owned)


def _of_sources(sources: Mapping[str, SourceStatus]) -> Iterator[Metric]:
    info = _family("infrakit_source_info", "The version in force", ("source", "kind", "version"))
    refused = _family("infrakit_source_refused", "Whether its newest version does not count", ("source",))
    silent = _family("infrakit_source_unreachable", "Whether it cannot be asked", ("source",))
    for name, source in sorted(sources.items()):
        info.add_metric([name, source.kind.value, source.in_force], 1)
        refused.add_metric([name], float(source.refusal is not None))
        silent.add_metric([name], float(bool(source.complaint)))
    yield from (info, refused, silent)


def _of_clusters(standings: Mapping[str, Standing], now: float) -> Iterator[Metric]:
    revision = _family("infrakit_revision", "Number of the revision in force", _CLUSTER)
    converged = _family("infrakit_cluster_converged", "Whether all is as declared", _CLUSTER)
    age = _family("infrakit_standing_age_seconds", "How long ago the cluster was last seen", _CLUSTER)
    owned = _family("infrakit_cluster_owned", "Whether a controller keeps it", _CLUSTER)
    for name, standing in sorted(standings.items()):
        revision.add_metric([name], standing.declared.revision)
        converged.add_metric([name], float(summary(standing).converged))
        owned.add_metric([name], float(bool(standing.owner)))
        if standing.at:
            age.add_metric([name], max(0.0, now - standing.at))
    yield from (revision, converged, age, owned)


def _of_groups(standings: Mapping[str, Standing]) -> Iterator[Metric]:
    machines = _family("infrakit_machines", "Machines by what they are good for", (*_GROUP, "condition"))
    counts = {key: _family(f"infrakit_group_{key}", help_text, _GROUP) for key, help_text in _COUNTS}
    progress = {key: _family(f"infrakit_rollout_{key}", help_text, _GROUP) for key, help_text in _PROGRESS}
    phases = _family("infrakit_groups", "Groups by where the engine stands with them", ("cluster", "phase"))
    rollouts = _family("infrakit_rollouts", "Groups by where their rollouts stand", ("cluster", "phase"))
    for cluster, standing in sorted(standings.items()):
        for phase, count in sorted(Counter(standing.phases.values()).items()):
            phases.add_metric([cluster, phase], count)
        stands = Counter(str(field(document, "phase")) for document in standing.groups.values())
        for phase, count in sorted(stands.items()):
            rollouts.add_metric([cluster, phase], count)
        for group, document in sorted(standing.groups.items()):
            labels = [cluster, group]
            for condition, count in _conditions(document).items():
                machines.add_metric([*labels, condition], count)
            for key, family in counts.items():
                family.add_metric(labels, number(document, key))
            for key, family in progress.items():
                family.add_metric(labels, number(field(document, "progress"), key))
    yield from (machines, *counts.values(), *progress.values(), phases, rollouts)


def _conditions(document: Json) -> Mapping[str, int]:
    """Count machines by condition, also where there are none."""
    machines = field(document, "machines")
    known = {condition.value: 0 for condition in Condition}
    if not isinstance(machines, Sequence):
        return known
    found = Counter(str(field(machine, "condition")) for machine in machines)
    return {**known, **found}


def _family(name: str, help_text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)
