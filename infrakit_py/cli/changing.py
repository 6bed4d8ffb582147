"""What apply and destroy share: asking first, showing progress, stopping at a safe point, saying what is left."""

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from threading import Event as Flag

import click

from infrakit_py.app.workbench import Workbench
from infrakit_py.cli.failure import INTERRUPTED
from infrakit_py.cli.stopping import stopped_by_signals
from infrakit_py.engine.cluster import Cluster
from infrakit_py.engine.converge import End, Settlement
from infrakit_py.engine.engine import GroupStatus, Phase
from infrakit_py.engine.forecast import Forecast
from infrakit_py.errors import UsageError
from infrakit_py.render.plan import left_to_do
from infrakit_py.render.progress import JsonProgress, LineProgress, LiveProgress, Progress
from infrakit_py.render.standing import LEFT_HINT, STOPPED_HINT
from infrakit_py.render.words import NO_NAMES, ImageNames

FAILED = 1


def approve(question: str, *, auto_approve: bool) -> bool:
    """Ask on a terminal. UsageError without one: a change that nobody approved is not made."""
    if auto_approve:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            "refusing to change anything: standard input is no terminal to ask on",
            hint="review the plan, then run again with --auto-approve",
        )
    return click.confirm(question, default=False)


def progress(*, as_json: bool) -> Progress:
    """Choose how progress is shown."""
    if as_json:
        return JsonProgress()
    return LiveProgress() if sys.stdout.isatty() else LineProgress()


def carry_out(
    bench: Workbench,
    shown: Progress,
    groups: Collection[str],
    *,
    timeout_seconds: float,
    names: ImageNames = NO_NAMES,
) -> Settlement:
    """Run the engine on these groups until they are settled.

    SIGINT and SIGTERM stop it at a safe point, a second one at once.
    """
    engine = bench.engine(lambda event: shown.tell(replace(event, text=names.in_text(event.text))), groups)
    shown.follow(engine.statuses)
    stop = Flag()

    def interrupt() -> None:
        click.echo("stopping at the next safe point; again to stop at once", err=True)
        engine.interrupt()

    with stopped_by_signals(stop, shown, interrupt):
        return bench.converge(engine, timeout_seconds=timeout_seconds, stop=stop)


def planned(forecasts: Sequence[Forecast]) -> Settlement:
    """Return how things stand if nothing is done."""
    groups = {forecast.group: _standing(forecast) for forecast in forecasts}
    good = all(status.phase is Phase.CONVERGED for status in groups.values())
    return Settlement(End.CONVERGED if good else End.FAILED, groups)


def workable(cluster: Cluster, forecasts: Sequence[Forecast]) -> set[str]:
    """Return the groups that may be acted upon: those that were seen, and wait for none that was not."""
    names = {forecast.group for forecast in forecasts if not forecast.unseen}
    while held := {name for name in names if set(cluster.after.get(name, ())) & (cluster.groups.keys() - names)}:
        names -= held
    return names


def joined(before: Settlement, done: Settlement) -> Settlement:
    """Return how things stand after some of the groups were worked on."""
    groups = {**before.groups, **done.groups}
    good = all(status.phase is Phase.CONVERGED for status in groups.values())
    return Settlement(End.FAILED if done.end is End.CONVERGED and not good else done.end, groups)


def is_settled(forecast: Forecast) -> bool:
    """Tell whether nothing is to be done or waited for, or nothing may be until a person decides."""
    first = forecast.first
    # What failed by what is seen now, and is not known to have failed yet, is first noted, and maybe gone back from.
    stopped = first.stopped and not first.failure and not first.actions and not first.waits
    return forecast.settled or stopped


def _standing(forecast: Forecast) -> GroupStatus:
    first = forecast.first
    if (block := first.block) is not None:
        phase = Phase.FAILED if forecast.unseen else Phase.BLOCKED
        return GroupStatus(phase, block.reason, block.hint, None if forecast.unseen else first)
    if forecast.goes_to and first.converged:
        return GroupStatus(Phase.ROLLED_BACK, f"stays at {forecast.goes_to}", LEFT_HINT, first)
    if is_settled(forecast) and first.stopped:
        return GroupStatus(Phase.STOPPED, f"the rollout is stopped: {first.progress.reason}", STOPPED_HINT, first)
    reason = "; ".join(wait.reason for wait in first.waits)
    return GroupStatus(Phase.CONVERGED if first.converged else Phase.WORKING, reason, plan=first)


def report(
    cluster: str,
    settlement: Settlement,
    *,
    as_json: bool,
    done: str = End.CONVERGED.value,
    names: ImageNames = NO_NAMES,
) -> int:
    """Say how it ended and what is left, and return the exit code. `done`: what to call it when all is well."""
    good = settlement.end is End.CONVERGED
    if as_json:
        groups = {
            name: {"phase": status.phase.value, "reason": names.in_text(status.reason), "hint": status.hint}
            for name, status in settlement.groups.items()
        }
        end = done if good else settlement.end.value
        click.echo(json.dumps({"cluster": cluster, "end": end, "groups": groups}, ensure_ascii=False))
        return _exit_code(settlement)
    if good:
        click.echo(click.style(f"{cluster}: {done}", fg="green"))
        return 0
    click.echo(click.style(f"{cluster}: {_headline(settlement)}", fg="red"), err=True)
    for name, status in settlement.groups.items():
        if status.phase is Phase.CONVERGED:
            continue
        plan = status.plan if status.phase is not Phase.ROLLED_BACK else None
        state = f" ({left_to_do(plan)})" if plan is not None else ""
        click.echo(f"  {name}: {names.in_text(status.reason) or 'not done'}{state}", err=True)
        if status.hint:
            click.echo(f"    hint: {status.hint}", err=True)
    if settlement.end in (End.INTERRUPTED, End.TIMED_OUT):
        click.echo("  run the same command again to go on from here", err=True)
    return _exit_code(settlement)


def _headline(settlement: Settlement) -> str:
    """Say `stopped` or `rolled back` where that is all that went wrong."""
    phases = {status.phase for status in settlement.groups.values()} - {Phase.CONVERGED}
    if settlement.end is End.FAILED and len(phases) == 1 and phases <= {Phase.STOPPED, Phase.ROLLED_BACK}:
        return phases.pop().value
    return settlement.end.value


def _exit_code(settlement: Settlement) -> int:
    match settlement.end:
        case End.CONVERGED:
            return 0
        case End.INTERRUPTED:
            return INTERRUPTED
        case End.FAILED | End.TIMED_OUT:
            return FAILED
