"""What apply and destroy share: asking first, showing progress, stopping at a safe point, saying what is left."""

import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Flag
from types import FrameType

import click

from infrakit_py.app import Workbench
from infrakit_py.cli.failure import INTERRUPTED
from infrakit_py.engine.cluster import Cluster
from infrakit_py.engine.converge import End, Settlement
from infrakit_py.engine.engine import Engine, GroupStatus, Phase
from infrakit_py.engine.forecast import Forecast
from infrakit_py.errors import UsageError
from infrakit_py.render.plan import left_to_do
from infrakit_py.render.progress import JsonProgress, LineProgress, LiveProgress, Progress

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


def carry_out(bench: Workbench, shown: Progress, groups: Collection[str], *, timeout_seconds: float) -> Settlement:
    """Run the engine on these groups until they are settled.

    SIGINT and SIGTERM stop it at a safe point, a second one at once.
    """
    engine = bench.engine(shown.tell, groups)
    shown.follow(engine.statuses)
    stop = Flag()
    with _stopped_by_signals(engine, stop, shown):
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


def _standing(forecast: Forecast) -> GroupStatus:
    block = forecast.first.block
    if block is not None:
        phase = Phase.FAILED if forecast.unseen else Phase.BLOCKED
        return GroupStatus(phase, block.reason, block.hint, None if forecast.unseen else forecast.first)
    reason = "; ".join(wait.reason for wait in forecast.first.waits)
    return GroupStatus(Phase.CONVERGED if forecast.first.converged else Phase.WORKING, reason, plan=forecast.first)


def report(cluster: str, settlement: Settlement, *, as_json: bool) -> int:
    """Say how it ended and what is left, and return the exit code."""
    if as_json:
        groups = {
            name: {"phase": status.phase.value, "reason": status.reason, "hint": status.hint}
            for name, status in settlement.groups.items()
        }
        click.echo(json.dumps({"cluster": cluster, "end": settlement.end.value, "groups": groups}))
        return _exit_code(settlement)
    if settlement.end is End.CONVERGED:
        click.echo(click.style(f"{cluster}: converged", fg="green"))
        return 0
    click.echo(click.style(f"{cluster}: {settlement.end.value}", fg="red"), err=True)
    for name, status in settlement.groups.items():
        if status.phase is Phase.CONVERGED:
            continue
        state = f" ({left_to_do(status.plan)})" if status.plan is not None else ""
        click.echo(f"  {name}: {status.reason or 'not done'}{state}", err=True)
        if status.hint:
            click.echo(f"    hint: {status.hint}", err=True)
    if settlement.end in (End.INTERRUPTED, End.TIMED_OUT):
        click.echo("  run the same command again to go on from here", err=True)
    return _exit_code(settlement)


def _exit_code(settlement: Settlement) -> int:
    match settlement.end:
        case End.CONVERGED:
            return 0
        case End.INTERRUPTED:
            return INTERRUPTED
        case End.FAILED | End.TIMED_OUT:
            return FAILED


@contextmanager
def _stopped_by_signals(engine: Engine, stop: Flag, shown: Progress) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            shown.__exit__(None, None, None)
            os._exit(INTERRUPTED)
        stop.set()
        click.echo("stopping at the next safe point; again to stop at once", err=True)
        engine.interrupt()

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
