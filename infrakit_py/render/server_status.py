"""What a controller far away says of its clusters, of what it follows and of its like, for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from infrakit_py.model.declared import SourceKind
from infrakit_py.render.progress import event_line
from infrakit_py.render.server_documents import (
    ClusterDocument,
    ControllerDocument,
    HappeningDocument,
    OriginDocument,
    SourceDocument,
)
from infrakit_py.render.standing import standing_text
from infrakit_py.render.status import age_since, group_lines
from infrakit_py.render.tables import table

_SHORT: Final = 12
_RECENT_SECONDS: Final = 43_200


def cluster_text(cluster: ClusterDocument, now: float) -> str:
    """Write a cluster's groups and machines, what is in force and who keeps it."""
    lines = [_heading(cluster), *(f"  {line}" for line in _about(cluster, now))]
    for group in cluster.groups:
        lines += ["", *group_lines(group, now)]
    return "\n".join(lines)


def rollouts_text(cluster: ClusterDocument, now: float) -> str:
    """Write where the rollouts of a cluster's groups stand."""
    return "\n\n".join([_heading(cluster), *(standing_text(group, now) for group in cluster.groups)])


def sources_text(sources: Sequence[SourceDocument], now: float) -> str:
    """Write where sources stand: what is in force, in progress and refused, with every mistake."""
    lines = [click.style("Sources", bold=True)]
    for source in sources:
        lines.append(f"  {source.name} ({source.kind}): {_in_force(source, now)}")
        if source.in_progress:
            lines.append(f"    in progress: {short(source.in_progress)}")
        if (refusal := source.refusal) is not None:
            what = f" {short(refusal.version)}" if refusal.version else ""
            lines.append(f"    {click.style('refused', fg='red')}{what}, {_ago(refusal.at, now)}:")
            lines += [f"      {mistake}" for mistake in refusal.reason.splitlines()]
        if source.complaint:
            lines.append(f"    {click.style('cannot be read now', fg='yellow')}: {source.complaint}")
    return "\n".join(lines if sources else [*lines, "  none: what is declared by the API is all there is"])


def controllers_text(controllers: Sequence[ControllerDocument]) -> str:
    """Write which controllers live, which one reads the sources, and who keeps what."""
    header = ("CONTROLLER", "", "API", "CLUSTERS")
    rows = [(one.name, "leads" if one.leader else "", one.address or "-", _owned(one.owns)) for one in controllers]
    return table(header, rows)


def happening_line(happened: HappeningDocument, now: float) -> str:
    """Write an event as one line, with its day where that is not clear."""
    at = datetime.fromisoformat(happened.at)
    recent = abs(now - at.timestamp()) < _RECENT_SECONDS
    shown = at.astimezone().strftime("%H:%M:%S" if recent else "%Y-%m-%d %H:%M:%S")
    whose = happened.cluster if happened.group == "-" else f"{happened.cluster}/{happened.group}"
    return event_line(shown, whose, happened.event, happened.text)


def short(version: str) -> str:
    """Write a version as briefly as people do."""
    return version[:_SHORT]


def _heading(cluster: ClusterDocument) -> str:
    origin = _origin(cluster.origin)
    of = f" of {origin}" if origin else ""
    return f"{click.style(f'Cluster {cluster.cluster}', bold=True)}: revision {cluster.revision}{of}"


def _origin(origin: OriginDocument) -> str:
    if origin.kind == SourceKind.API:
        return "the API"
    version = f", {'commit ' * (origin.kind == SourceKind.GIT)}{short(origin.version)}" if origin.version else ""
    return f"{origin.place}{version}"


def _about(cluster: ClusterDocument, now: float) -> list[str]:
    by = f" by {cluster.origin.actor}" if cluster.origin.actor else ""
    keeper = f"kept by {cluster.owner}" if cluster.owner else click.style("kept by nobody now", fg="yellow")
    lines = [f"declared {_ago(cluster.declared_at, now)}{by}; {keeper}; as of {_ago(cluster.as_of, now)}"]
    if cluster.withdrawn:
        then = "its machines are destroyed" if cluster.prune else "its machines stay as they are"
        lines.append(click.style(f"withdrawn: nobody declares it any more; {then}", fg="yellow"))
    if cluster.phase == "failed":
        lines.append(click.style("failed, and tried again: infra events says why", fg="red"))
    return lines


def _in_force(source: SourceDocument, now: float) -> str:
    if not source.counts:
        return "nothing is in force yet"
    what = f"{short(source.in_force)} is " if source.in_force else ""
    return f"{what}in force; changed {_ago(source.at, now)}"


def _ago(at: str | None, now: float) -> str:
    since = age_since(at, now)
    return "never" if since == "-" else f"{since} ago"


def _owned(clusters: Sequence[str]) -> str:
    return ", ".join(clusters) or "-"
