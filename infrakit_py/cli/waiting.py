"""Waiting for a controller far away to be done. It goes on there, whether anybody waits here or not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import click

from infrakit_py.cli.failure import INTERRUPTED
from infrakit_py.cli.outlook import Goal, Outlook, Trouble, follows_commits, is_at_rest, outlook
from infrakit_py.cli.served import cluster, happenings, sources, summaries
from infrakit_py.cli.stopping import interrupted_by_signals
from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import UsageError
from infrakit_py.model.spec import Json
from infrakit_py.remote.client import Client
from infrakit_py.remote.faults import ServerError
from infrakit_py.render.server_documents import ClusterDocument, HappeningDocument
from infrakit_py.render.server_status import happening_line, short
from infrakit_py.stores.codec import encoded

_LOOK_SECONDS: Final = 1.0
_FAILED: Final = 1


class WaitEnd(StrEnum):
    CONVERGED = "converged"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@dataclass(slots=True)
class _Watch:
    """What was seen so far."""

    after: int
    since: dict[str, float] = field(default_factory=dict)
    known: dict[str, ClusterDocument] = field(default_factory=dict)


def wait_until_done(client: Client, goal: Goal, after: int, *, timeout_seconds: float, as_json: bool) -> int:
    """Show events after that number until the goal is reached or cannot be, and return the exit code."""
    clock = SystemClock()
    try:
        with interrupted_by_signals():
            end, found = _wait(client, goal, _Watch(after), clock, timeout_seconds, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("nobody waits here any more; the controller goes on", err=True)
        return INTERRUPTED
    _report(goal, end, found, as_json=as_json)
    return 0 if end is WaitEnd.CONVERGED else _FAILED


def _wait(
    client: Client, goal: Goal, watch: _Watch, clock: Clock, timeout_seconds: float, *, as_json: bool
) -> tuple[WaitEnd, Outlook]:
    deadline = clock.now() + timeout_seconds
    found, is_lost = _look(client, goal, watch), False
    while True:
        now = clock.now()
        watch.since = {name: watch.since.get(name, now) for name in found.troubles}
        lasting = {name for name, trouble in found.troubles.items() if now - watch.since[name] >= trouble.seconds}
        if found.mistakes:
            return WaitEnd.REFUSED, found
        if found.has_come or lasting or now >= deadline:
            _show_events(client, goal, watch, now, as_json=as_json)
            if found.has_come:
                return WaitEnd.CONVERGED, found
            return (WaitEnd.FAILED if lasting else WaitEnd.TIMED_OUT), found
        clock.sleep(_LOOK_SECONDS)
        try:
            _show_events(client, goal, watch, clock.now(), as_json=as_json)
            found, is_lost = _look(client, goal, watch), False
        except ServerError as exc:
            if not is_lost:
                click.echo(f"{exc}; trying again", err=True)
            is_lost = True


def _look(client: Client, goal: Goal, watch: _Watch) -> Outlook:
    """Look at all that the goal concerns. A cluster that was seen at rest is asked for its groups when it changes."""
    followed = () if goal.revisions else tuple(sources(client))
    if goal.commit and not follows_commits(followed):
        raise UsageError(f"server {client.url} follows no repository: there is no commit to wait for")
    present = {summary.cluster: summary for summary in summaries(client) if goal.concerns(summary.cluster)}
    if goal.cluster is not None and not present and not goal.commit:
        raise UsageError(f"server {client.url} has no cluster {goal.cluster!r}")
    for name, summary in present.items():
        known = watch.known.get(name)
        if known is None or known.revision != summary.revision or not (summary.converged and is_at_rest(known)):
            _, watch.known[name] = cluster(client, name)
    return outlook(goal, {name: watch.known[name] for name in present}, followed)


def _show_events(client: Client, goal: Goal, watch: _Watch, now: float, *, as_json: bool) -> None:
    for happened in happenings(client, after=watch.after, cluster=None):
        watch.after = happened.id
        if goal.concerns(happened.cluster) or happened.cluster == "-":
            show_event(happened, now, as_json=as_json)


def show_event(happened: HappeningDocument, now: float, *, as_json: bool) -> None:
    """Show an event as a line."""
    click.echo(json.dumps(encoded(happened), ensure_ascii=False) if as_json else happening_line(happened, now))


def _report(goal: Goal, end: WaitEnd, found: Outlook, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_report_json(goal, end, found), ensure_ascii=False))
        return
    what = f"commit {short(goal.commit)}: " if goal.commit else ""
    if end is WaitEnd.CONVERGED:
        click.echo(click.style(f"{what}{end}", fg="green"))
        return
    for mistake in found.mistakes:
        click.echo(mistake, err=True)
    click.echo(click.style(f"{what}{end}", fg="red"), err=True)
    for name, trouble in found.troubles.items():
        click.echo(f"  {name}: {trouble.reason}", err=True)
        if trouble.hint:
            click.echo(f"    hint: {trouble.hint}", err=True)
    for name, reason in found.waits.items():
        click.echo(f"  {name}: {reason}", err=True)


def _report_json(goal: Goal, end: WaitEnd, found: Outlook) -> Mapping[str, Json]:
    return {
        "end": end.value,
        "commit": goal.commit or None,
        "revisions": dict(goal.revisions),
        "mistakes": list(found.mistakes),
        "troubles": [_trouble_json(name, trouble) for name, trouble in found.troubles.items()],
        "waits": [{"of": name, "reason": reason} for name, reason in found.waits.items()],
    }


def _trouble_json(name: str, trouble: Trouble) -> Mapping[str, Json]:
    return {"of": name, "reason": trouble.reason, "hint": trouble.hint}
