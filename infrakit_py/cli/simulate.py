"""`infra simulate`."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from infrakit_py.cli import options
from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.model.quantities import parse_duration

if TYPE_CHECKING:
    from infrakit_py.app import App, Stage
    from infrakit_py.engine.rehearse import Fault, Script
    from infrakit_py.engine.stage import Scene
    from infrakit_py.model.spec import ClusterSpec
    from infrakit_py.render.timeline import Timeline
    from infrakit_py.spi.store import Store
    from infrakit_py.stores.past import Remembered

_HELP: Final = "help"
_FILE: Final = "file"
_FAULT: Final = re.compile(
    r"(?P<kind>[\w-]+)(=(?P<amount>[^@+]*))?(@(?P<target>.*?))?(\+(?P<after>[^+]*))?", re.DOTALL
)
_SETTLED_SECONDS: Final = 600.0
"""How long ago what a rehearsal begins with has converged: its calls leave no trace in a provider's limits."""


class FaultType(click.ParamType["Fault"]):
    """A fault as it is written on the command line: KIND[=AMOUNT][@TARGET][+AFTER]."""

    name = "fault"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Fault":
        from infrakit_py.engine.rehearse import Fault

        if isinstance(value, Fault):
            return value
        text = str(value)
        parts = _FAULT.fullmatch(text)
        if parts is None:
            self.fail(f"not a fault: {text!r} (write KIND[=AMOUNT][@TARGET][+AFTER], as kill=2@web+30s)", param, ctx)
        try:
            after = parse_duration(parts["after"]) if parts["after"] is not None else 0.0
            amount = _amount(parts["amount"]) if parts["amount"] is not None else 1.0
        except ValueError as exc:
            self.fail(f"{text!r}: {exc}", param, ctx)
        return Fault(parts["kind"], amount, parts["target"] or "", after, text)


@click.command()
@options.files
@options.groups
@click.option(
    "--from",
    "origin",
    type=click.Choice(["observed", "nothing", "converged"]),
    help="Begin with the machines that are there now (the default), with none, or with all as declared.",
)
@click.option(
    "--from-file",
    "old",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="OLD",
    help="Begin with all as this file declares. No provider is asked.",
)
@click.option(
    "--fault",
    "faults",
    type=FaultType(),
    multiple=True,
    metavar="KIND[=AMOUNT][@TARGET][+AFTER]",
    help="Let something go wrong, AFTER so long; may be repeated. `--fault help` lists the kinds.",
)
@click.option("--seed", type=click.IntRange(min=0), help="What is left to chance; the same seed, the same course.")
@options.as_json
@click.option("--full", is_flag=True, help="Show every event, and when to the millisecond.")
@click.option("--html", "html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with pictures.")
@click.option("--svg", "svg", type=click.Path(path_type=Path), metavar="FILE", help="Write a picture.")
@click.option(
    "--timeout", type=options.Duration(), default="24h", show_default=True, help="End after so much virtual time."
)
@click.option(
    "--interval",
    type=options.Duration(),
    default="1s",
    show_default=True,
    help="How often the rehearsed program looks at what it waits for.",
)
@click.option(
    "--boot-time", type=options.Duration(), help="How long machines take to boot, whatever the provider's pace."
)
@options.allow_mass_destroy
@options.debug
def simulate(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    origin: str | None,
    old: Path | None,
    faults: "tuple[Fault, ...]",
    seed: int | None,
    as_json: bool,
    full: bool,
    html: Path | None,
    svg: Path | None,
    timeout: float,
    interval: float,
    boot_time: float | None,
    allow_mass_destroy: bool,
) -> int:
    """Rehearse a change before anybody makes it, and show its course as a timeline.

    The real engine runs in virtual time on simulated providers, which fail as you say. Nothing is changed;
    real providers are only asked for what is there, and only where the rehearsal begins with that.
    Exits with 0 if all converges.
    """
    from infrakit_py.app import App
    from infrakit_py.engine.rehearse import Origin, Script
    from infrakit_py.render.timeline import timeline_json, timeline_text

    app = App()
    if any(fault.kind == _HELP for fault in faults):
        click.echo(_help(app.mishaps()))
        return 0
    if old is not None and origin is not None:
        raise click.UsageError("--from and --from-file both say what to begin with; use one of them")
    if interval <= 0:
        raise click.BadParameter("must be longer than nothing", param_hint="'--interval'")
    _check(faults, app.mishaps())
    begins = Origin.FILE if old is not None else Origin(origin or Origin.OBSERVED.value)
    specs = app.load(options.chosen(positional, named))
    before = _befores(app, specs, begins, old)
    script = Script(faults, seed, timeout, interval, boot_time)
    timelines = []
    for number, spec in enumerate(specs):
        timeline = _rehearsed(app, spec, before.get(spec.name), begins, script, only, allow=allow_mass_destroy)
        timelines.append(timeline)
        if not as_json:
            click.echo(("\n" if number else "") + timeline_text(timeline, full=full))
    if as_json:
        documents = [timeline_json(timeline) for timeline in timelines]
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))
    _draw(timelines, html, svg)
    return 0 if all(timeline.converged for timeline in timelines) else 1


def _rehearsed(
    app: "App",
    spec: "ClusterSpec",
    before: "ClusterSpec | None",
    origin: str,
    script: "Script",
    only: Sequence[str],
    *,
    allow: bool,
) -> "Timeline":
    """Rehearse one cluster from its beginning to its end."""
    from infrakit_py.engine.rehearse import Origin, rehearse, strangers
    from infrakit_py.engine.stage import Scene, is_limited, rehearsable
    from infrakit_py.render.timeline import Timeline
    from infrakit_py.stores.past import Remembered

    scene, remembered = Scene(), Remembered()
    if origin is Origin.OBSERVED:
        spec, scene, remembered = _seen(app, spec, only)
    declared = [*([before] if before is not None else []), spec]
    with app.stage(declared, scene, script) as stage:
        kept = stage.memory(spec.name, remembered)
        if before is not None:
            _settle(stage, before, kept, script)
        opened = stage.workbench(rehearsable(spec), kept, only=only, allow_mass_destroy=allow)
        with opened as bench:
            cluster = bench.cluster
            known = [r.version.image for name in cluster.groups for r in kept.versions(spec.name, name)]
            images = (*known, *spec.images.values())
            notes = tuple(strangers(cluster, images, script.faults))
            rehearsal = rehearse(
                cluster,
                bench.look(),
                lambda listener: bench.engine(
                    listener, cluster.groups, endless=True, poll_seconds=script.poll_seconds
                ),
                stage.clock,
                images,
                script,
            )
            return Timeline(
                spec=spec,
                origin=before.source if before is not None and origin is Origin.FILE else origin,
                seed=stage.seed,
                script=script,
                paces={name: provider.pace for name, provider in cluster.providers.items()},
                limited=frozenset(name for name, p in cluster.providers.items() if is_limited(p.limits)),
                began=scene.at,
                notes=notes,
                images=images,
                rehearsal=rehearsal,
            )


def _seen(app: "App", spec: "ClusterSpec", only: Sequence[str]) -> "tuple[ClusterSpec, Scene, Remembered]":
    """Look at the real cluster, and at the images that its spec points to.

    ProviderError where one of its groups cannot be seen.
    """
    from infrakit_py.engine.stage import rehearsable, rehearsable_version, scene
    from infrakit_py.model.fingerprint import spec_digest

    with app.workbench(spec, only=only) as bench:
        spec = bench.spec
        plans = bench.look()
        bench.require_sight()
        remembered = bench.remembered()
        images = [*(record.version.image for record in remembered.versions), *spec.images.values()]
        # A whole second, so that the sums that virtual time is made of come out alike in every rehearsal.
        found = scene(bench.cluster, plans, images, at=float(ceil(app.clock.now())))
    versions = [rehearsable_version(record) for record in remembered.versions]
    return spec, found, replace(remembered, spec_digest=spec_digest(rehearsable(spec)), versions=versions)


def _settle(stage: "Stage", before: "ClusterSpec", store: "Store", script: "Script") -> None:
    """Let all become as it is when the rehearsal begins. UsageError where that does not come about by itself."""
    from threading import Event as Flag

    from infrakit_py.engine.converge import End
    from infrakit_py.engine.engine import Phase
    from infrakit_py.engine.stage import rehearsable

    with stage.workbench(rehearsable(before), store) as bench:
        engine = bench.engine(lambda _: None, bench.cluster.groups, poll_seconds=script.poll_seconds)
        settlement = bench.converge(engine, timeout_seconds=script.timeout_seconds, stop=Flag())
    if settlement.end is not End.CONVERGED:
        stuck = {name: status for name, status in settlement.groups.items() if status.phase is not Phase.CONVERGED}
        name, status = next(iter(stuck.items()))
        text = f"{before.source}: cannot begin with what does not converge: group {name}: {status.reason}"
        raise UsageError(text, hint=status.hint)
    stage.clock.sleep(_SETTLED_SECONDS)


def _befores(
    app: "App", specs: "Sequence[ClusterSpec]", origin: str, old: Path | None
) -> "Mapping[str, ClusterSpec]":
    """Return by the cluster's name what has converged before the rehearsal."""
    if origin == "converged":
        return {spec.name: spec for spec in specs}
    if old is None:
        return {}
    before = {spec.name: spec for spec in app.load([old])}
    for spec in specs:
        if spec.name not in before:
            raise UsageError(f"{old}: declares no cluster {spec.name!r} (there is {', '.join(before)})")
    return before


def _check(faults: "Sequence[Fault]", mishaps: Mapping[str, str]) -> None:
    for fault in faults:
        if fault.kind not in mishaps:
            near = difflib.get_close_matches(fault.kind, mishaps, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"--fault {fault.written}: no fault {fault.kind!r}{meant}", hint="--fault help lists them"
            )


def _help(mishaps: Mapping[str, str]) -> str:
    """List what may go wrong."""
    from infrakit_py.render.tables import table

    return "--fault KIND[=AMOUNT][@TARGET][+AFTER], as kill=2@web+30s; AMOUNT is 1 unless said, AFTER 0s\n\n" + table(
        ("KIND", "WHAT IT DOES"), list(mishaps.items())
    )


def _amount(text: str) -> float:
    """Read `3`, `0.5`, `50%` or, as seconds, `10s`. ValueError for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?%", text):
        return float(text[:-1]) / 100
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"not an amount: {text!r} (write 3, 0.5, 50% or 10s)") from None


def _draw(timelines: "Sequence[Timeline]", html: Path | None, svg: Path | None) -> None:
    if html is not None:
        from infrakit_py.render.timeline_html import page

        _write(html, page(timelines))
    if svg is not None:
        from infrakit_py.render.timeline_svg import picture

        _write(svg, picture(timelines))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InfrakitError(f"cannot write {path}: {exc.strerror or exc}") from exc
