"""Whether what somebody waits for has come, judged by one look at a controller. It makes no call and has no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from infrakit_py.model.declared import SourceKind
from infrakit_py.render.documents import ROLLED_BACK, GroupDocument
from infrakit_py.render.server_documents import ClusterDocument, SourceDocument
from infrakit_py.render.server_status import short

_FAILED: Final = "failed"
_SOON_SECONDS: Final = 5.0
"""How long a group may seem stopped or blocked: it may be about to go back, or to be seen for the first time."""
_RETRIED_SECONDS: Final = 30.0
"""How long a group may fail: the controller tries again by itself."""
_LEAST_DIGITS: Final = 7


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for.

    `revisions`: these of these clusters. Without them: what sources declare, or `commit` alone, and all clusters, or
    the one named `cluster`.
    """

    revisions: Mapping[str, int] = field(default_factory=dict)
    commit: str = ""
    cluster: str | None = None

    def concerns(self, cluster: str) -> bool:
        if self.revisions:
            return cluster in self.revisions
        return self.cluster in (None, cluster)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why it will not come by itself, if that lasts for so long."""

    reason: str
    seconds: float = 0.0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there is to say of clusters, groups and sources, by name. `mistakes`: why it is refused."""

    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    waits: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()

    @property
    def has_come(self) -> bool:
        return not self.troubles and not self.waits and not self.mistakes


def outlook(goal: Goal, clusters: Mapping[str, ClusterDocument], sources: tuple[SourceDocument, ...]) -> Outlook:
    """Judge where things stand. `clusters` are those that the goal concerns, with their groups."""
    told = [] if goal.revisions else [_of_source(goal, source) for source in sources]
    told += [_of_cluster(goal, cluster) for cluster in clusters.values()]
    gone = {
        name: Trouble("nobody declares it any more", hint="somebody withdrew it meanwhile")
        for name in goal.revisions
        if name not in clusters
    }
    return Outlook(
        {**gone, **{name: trouble for one in told for name, trouble in one.troubles.items()}},
        {name: reason for one in told for name, reason in one.waits.items()},
        tuple(mistake for one in told for mistake in one.mistakes),
    )


def is_at_rest(cluster: ClusterDocument) -> bool:
    """Tell whether all groups are as the revision in force declares them, by a look that was about that revision."""
    return cluster.converged and all(group.declared_revision in (0, cluster.revision) for group in cluster.groups)


def follows_commits(sources: tuple[SourceDocument, ...]) -> bool:
    return any(source.kind == SourceKind.GIT for source in sources)


def is_commit(version: str | None, commit: str) -> bool:
    """Tell whether a version is the commit that somebody names; either may be the beginning of the whole hash."""
    known = version or ""
    if min(len(known), len(commit)) < _LEAST_DIGITS:
        return False
    return known.startswith(commit) or commit.startswith(known)


def _of_source(goal: Goal, source: SourceDocument) -> Outlook:
    if goal.commit and source.kind != SourceKind.GIT:
        return Outlook()
    refusal = source.refusal
    if refusal is not None and (not goal.commit or is_commit(refusal.version, goal.commit)):
        return Outlook(mistakes=tuple(refusal.reason.splitlines()) or ("it is refused without a reason",))
    if goal.commit:
        settled = is_commit(source.in_force, goal.commit)
        reason = f"{short(source.in_force or 'nothing')} is in force, not {short(goal.commit)}"
    else:
        settled = source.counts and not source.in_progress
        reason = (
            f"{short(source.in_progress)} is in progress" if source.in_progress else "nothing of it is in force yet"
        )
    if settled:
        return Outlook()
    return Outlook(waits={source.name: f"{reason}; {source.complaint}" if source.complaint else reason})


def _of_cluster(goal: Goal, cluster: ClusterDocument) -> Outlook:
    name, wanted = cluster.cluster, goal.revisions.get(cluster.cluster, cluster.revision)
    if cluster.revision > wanted:
        return Outlook({name: Trouble(f"revision {cluster.revision} has taken the place of {wanted}")})
    if cluster.withdrawn:
        return Outlook(waits={name: "its machines are destroyed"} if cluster.prune else {})
    if cluster.revision < wanted:
        return Outlook(waits={name: f"revision {cluster.revision} is in force, not yet {wanted}"})
    troubles = {f"{name}/{group.group}": found for group in cluster.groups for found in _troubles(group, wanted)}
    if cluster.phase == _FAILED:
        troubles.setdefault(name, Trouble("it fails again and again", _RETRIED_SECONDS, "infra events says why"))
    waits = {f"{name}/{group.group}": reason for group in cluster.groups for reason in _waits(group, wanted)}
    if not cluster.converged and not troubles and not waits:
        waits[name] = "not all of it has been looked at yet"
    return Outlook(troubles, waits)


def _troubles(group: GroupDocument, revision: int) -> Iterator[Trouble]:
    if group.declared_revision not in (0, revision):
        return
    if group.block is not None:
        yield Trouble(group.block, _SOON_SECONDS, group.hint)
    elif group.phase == ROLLED_BACK:
        yield Trouble(f"rolled back to {group.goes_to}, because {group.because}", _SOON_SECONDS, group.hint)
    elif group.is_stopped:
        yield Trouble(f"the rollout is stopped: {group.progress.reason}", _SOON_SECONDS, group.hint)


def _waits(group: GroupDocument, revision: int) -> Iterator[str]:
    if group.declared_revision not in (0, revision):
        yield f"it is not known yet how it stands as of revision {revision}"
    elif not group.converged:
        waits = "; ".join(wait.reason for wait in group.waits)
        yield waits or f"{group.ready} of {group.wanted} ready"
