"""`infra destroy`."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from infrakit_py.cli import options
from infrakit_py.errors import ProviderError, UsageError
from infrakit_py.model.instance import Member
from infrakit_py.model.plan import GroupPlan
from infrakit_py.render.status import place
from infrakit_py.render.words import counted
from infrakit_py.spi.provider import Leftover


@click.command()
@options.files
@options.groups
@options.as_json
@click.option("--keep-data", is_flag=True, help="Keep the data disks of named members.")
@options.changing
@options.debug
def destroy(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    as_json: bool,
    keep_data: bool,
    auto_approve: bool,
    timeout: float,
    parallelism: int,
) -> int:
    """Destroy clusters, or some of their groups, with their data disks and the images that nobody uses any more."""
    from infrakit_py.app import App
    from infrakit_py.cli.changing import approve, carry_out, progress, report
    from infrakit_py.engine.converge import End

    app = App()
    worst = 0
    specs = app.load(options.chosen(positional, named), unsigned=True)
    for spec in specs:
        kept = [g.name for g in spec.groups.values() if g.prevent_destroy and (not only or g.name in only)]
        if kept:
            raise UsageError(
                f"cluster {spec.name}: {', '.join(kept)} must not be destroyed",
                hint="set prevent_destroy: false in the file first",
            )
    with ExitStack() as stack:
        store = stack.enter_context(app.store())
        benches = []
        for spec in specs:  # all of them first: what cannot be done shows before anything is touched
            stack.enter_context(store.exclusive(spec.name))
            opened = app.workbench(spec, store, only=only, parallelism=parallelism, destroy=True)
            benches.append(stack.enter_context(opened))
        for bench in benches:
            name = bench.spec.name
            plans = bench.look()
            for plan in plans.values():
                if plan.block is not None:
                    raise ProviderError(f"cluster {name}: {plan.block.reason}", hint=plan.block.hint)
            leftovers = bench.leftovers(only, keep_data=keep_data)
            if not as_json:
                click.echo(_what_goes(name, plans, leftovers))
            anything = _anything(plans, leftovers)
            if anything and not approve("Destroy all of this?", auto_approve=auto_approve):
                raise click.Abort
            with progress(as_json=as_json) as shown:
                groups = plans if anything or auto_approve else ()
                settlement = carry_out(bench, shown, groups, timeout_seconds=timeout)
                errors: tuple[ProviderError, ...] = ()
                if settlement.end is End.CONVERGED and anything:
                    errors = bench.sweep(only, keep_data=keep_data, listener=shown.tell)
            done = "not all of it could be deleted" if errors else " ".join(["destroyed", *only])
            code = report(name, settlement, as_json=as_json, done=done)
            for error in errors:
                click.echo(f"could not be deleted: {error}", err=True)
                code = max(code, 1)
            if code > 1:
                return code
            worst = max(worst, code)
    return worst


def _anything(plans: Mapping[str, GroupPlan], leftovers: Mapping[str, Sequence[Leftover]]) -> bool:
    return any(plan.members or not plan.converged for plan in plans.values()) or any(leftovers.values())


def _what_goes(cluster: str, plans: Mapping[str, GroupPlan], leftovers: Mapping[str, Sequence[Leftover]]) -> str:
    lines = [click.style(f"Cluster {cluster}", bold=True)]
    for name, plan in plans.items():
        lines.append(f"  group {name}: {counted(len(plan.members), 'machine')}")
        lines += [f"    {_what_becomes_of(assessed.member)}" for assessed in sorted(plan.members, key=place)]
    for provider, found in leftovers.items():
        for leftover in found:
            data = click.style("  its data is lost", fg="red") if leftover.holds_data else ""
            lines.append(f"    - delete   {leftover.kind} {leftover.name} on {provider}{data}")
    if not _anything(plans, leftovers):
        lines.append("  nothing there")
    return "\n".join(lines)


def _what_becomes_of(member: Member) -> str:
    if member.protected:
        return click.style(f"= keep     {member.name}", fg="green") + f"  {member.id}  it is protected"
    return click.style(f"- destroy  {member.name}", fg="red") + f"  {member.id}"
