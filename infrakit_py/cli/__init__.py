"""The command line. Every command is imported only when it runs, so that help and completion are instant."""

import difflib
import importlib
import sys
from typing import Final

import click

_COMMANDS: Final = {
    "apply": ("infrakit_py.cli.apply:apply", "Bring clusters to what their files declare."),
    "completion": ("infrakit_py.cli.completion:completion", "Print a shell's completion script."),
    "controller": ("infrakit_py.cli.controller:controller", "Keep clusters as their files declare."),
    "destroy": ("infrakit_py.cli.destroy:destroy", "Destroy clusters, or some of their groups."),
    "doctor": ("infrakit_py.cli.doctor:doctor", "Examine whether what files declare would work."),
    "events": ("infrakit_py.cli.events:events", "Show what happened to clusters, and go on with it."),
    "iam": ("infrakit_py.cli.iam:iam", "Print the least permissions that a provider needs."),
    "image": ("infrakit_py.cli.image:image", "Build, publish, compare and delete images."),
    "plan": ("infrakit_py.cli.plan:plan", "Show what apply would do, and touch nothing."),
    "plugins": ("infrakit_py.cli.plugins:plugins", "List the installed providers, flavors and policies."),
    "protect": ("infrakit_py.cli.marking:protect", "Keep machines as they are, whatever happens."),
    "replace": ("infrakit_py.cli.marking:replace", "Mark machines for replacement."),
    "rollout": ("infrakit_py.cli.rollout:rollout", "Show how rollouts stand; pause, resume or undo them."),
    "scale": ("infrakit_py.cli.scale:scale", "Change how many machines groups of a controller have."),
    "schema": ("infrakit_py.cli.schema:schema", "Print the JSON Schema of cluster files, for editors."),
    "simulate": ("infrakit_py.cli.simulate:simulate", "Rehearse a change in virtual time, with faults."),
    "sources": ("infrakit_py.cli.sources:sources", "Show what a controller follows, and what it refused."),
    "status": ("infrakit_py.cli.status:status", "Show the machines that exist and how they are."),
    "store": ("infrakit_py.cli.store:store", "Export what is remembered, or import it."),
    "unprotect": ("infrakit_py.cli.marking:unprotect", "Lift the protection of machines."),
    "validate": ("infrakit_py.cli.validate:validate", "Check cluster files and report every mistake."),
    "version": ("infrakit_py.cli.version:version", "Print the version."),
    "wait": ("infrakit_py.cli.wait:wait", "Wait until a controller has made what is declared so."),
    "withdraw": ("infrakit_py.cli.withdraw:withdraw", "Let a controller keep a cluster no more."),
}
"""Where each command lives, and its line in the help: neither help nor completion imports anything else."""


class LazyGroup(click.Group):
    """A group whose commands are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, 1)
            ctx.fail(f"no such command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="infrakit-py", prog_name="infra")
def infra() -> None:
    """Provision clusters of immutable machines and keep them as declared.

    Exit codes: 0 done, or nothing to do; 1 failed; 2 changes (plan --detailed-exitcode);
    64 wrong usage or an invalid file; 130 interrupted.
    """


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    from infrakit_py.cli.failure import run

    sys.exit(run(infra))
