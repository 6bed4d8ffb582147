"""Runs seeds on all cores, replays one, and makes a failing story short. See docs/simulation.md."""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from infrakit_py.cli.options import configure_logging
from tests.simulation.day import simulate_day
from tests.simulation.simulation import Report, Simulation, simulate
from tests.simulation.story import Story, draw_story

_SEEDS: Final = 1000
_DAYS: Final = 8


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Deterministic simulation of the engine.")
    parser.add_argument("--hours", type=float, help="run a controller for so many hours instead, in each seed")
    parser.add_argument("--seeds", type=int, help=f"how many seeds to run: {_SEEDS}, or with --hours {_DAYS}")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--verbose", action="store_true", help="show the timeline of a replay also if all is well")
    parser.add_argument("--shrink", action="store_true", help="leave out of a replay what its failure does not need")
    parser.add_argument("--stop", action="store_true", help="end at the first failing seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    configure_logging(logging.CRITICAL)
    run: Callable[[int], Report] = simulate
    asked = ""
    if options.hours is not None:
        run, asked = partial(simulate_day, hours=options.hours), f"--hours {options.hours:g} "
        if options.shrink:
            parser.error("--shrink leaves out acts of a story; a day has none that is written down before")
    if options.seed is not None:
        return _replay(run, options.seed, verbose=options.verbose, shrink=options.shrink)
    seeds = options.seeds or (_SEEDS if options.hours is None else _DAYS)
    return _run_many(run, asked, range(options.first, options.first + seeds), options.jobs, stop=options.stop)


def _replay(run: Callable[[int], Report], seed: int, *, verbose: bool, shrink: bool) -> int:
    report = run(seed)
    if shrink and report.violation:
        _, report = _shrunk(draw_story(seed), report)
    if verbose or report.violation:
        print("\n".join(report.lines))
    print(_told(report))
    return 1 if report.violation else 0


def _run_many(run: Callable[[int], Report], asked: str, seeds: range, jobs: int, *, stop: bool) -> int:
    began, last_told = time.monotonic(), time.monotonic()
    failed: list[int] = []
    machines, hours = 0, 0.0
    done = 0
    with multiprocessing.Pool(jobs, initializer=configure_logging, initargs=(logging.CRITICAL,)) as pool:
        for report in pool.imap_unordered(partial(_quietly, run), seeds, chunksize=1 if asked else 8):
            done += 1
            machines += report.machines
            hours += report.virtual_seconds / 3600
            if report.violation:
                failed.append(report.seed)
                again = f"scripts/simulate {asked}--seed {report.seed} --verbose"
                print(f"FAILED {_told(report)}\n       {again}", flush=True)
                if stop:
                    break
            if time.monotonic() - last_told >= 10:
                last_told = time.monotonic()
                print(f"{done} of {len(seeds)} seeds, {len(failed)} failed", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{done} seeds in {seconds:.1f}s ({1000 * seconds / max(1, done):.0f} ms each): {hours:.0f} virtual hours, "
        f"{machines} machines made, {len(failed)} seeds failed"
    )
    return 1 if failed else 0


def _quietly(run: Callable[[int], Report], seed: int) -> Report:
    return replace(run(seed), lines=())


def _shrunk(story: Story, report: Report) -> tuple[Story, Report]:
    """Leave out one act after another as long as the same invariant breaks."""
    invariant = report.violation.split(":")[0]
    left = list(story.steps)
    for step in reversed(story.steps):
        without = replace(story, steps=[s for s in left if s is not step])
        tried = Simulation(without).run()
        if tried.violation.startswith(invariant):
            story, report = without, tried
            left.remove(step)
    return story, report


def _told(report: Report) -> str:
    end = report.violation or "all is well"
    size = f"{report.steps} steps, {report.virtual_seconds:.0f}s"
    return f"seed {report.seed}: {end} ({size}, digest {report.digest[:12]})"


if __name__ == "__main__":
    sys.exit(main())
