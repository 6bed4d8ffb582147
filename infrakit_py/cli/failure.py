"""How errors reach people: one line each, a hint, an exit code; a traceback only with --debug."""

import io
import json
import os
import sys
import traceback
from typing import Final

import click

from infrakit_py.errors import InfrakitError, SpecError

USAGE: Final = 64
INTERRUPTED: Final = 130
_DEBUG_VARIABLE: Final = "INFRAKIT_DEBUG"


def run(command: click.Command) -> int:
    """Run a command and return its exit code."""
    _show_what_the_terminal_can()
    try:
        result = command.main(prog_name="infra", standalone_mode=False)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        if _wants_json():
            click.echo(json.dumps({"errors": [{"message": exc.format_message(), "hint": None}]}, ensure_ascii=False))
        else:
            exc.show()
        return USAGE
    except click.Abort:
        click.echo("aborted; nothing more is done", err=True)
        return INTERRUPTED
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            click.echo(f"error: {exc}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except InfrakitError as exc:
        if _wants_traceback():
            traceback.print_exception(exc)
        show(exc, as_json=_wants_json())
        return exc.exit_code
    return result if isinstance(result, int) else 0


def show(error: InfrakitError, *, as_json: bool = False) -> None:
    """Print an error for people to standard error, or as JSON to standard output for programs."""
    if as_json:
        click.echo(json.dumps(_as_json(error), ensure_ascii=False))
        return
    if isinstance(error, SpecError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
        count = len(error.problems)
        click.echo(click.style(f"{count} mistake{'s' * (count != 1)}; nothing was touched", fg="red"), err=True)
        return
    click.echo(f"{click.style('error', fg='red')}: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _as_json(error: InfrakitError) -> dict[str, object]:
    if isinstance(error, SpecError):
        return {
            "errors": [
                {"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in error.problems
            ]
        }
    return {"errors": [{"message": str(error), "hint": error.hint}]}


def _show_what_the_terminal_can() -> None:
    """Let a character that the output's encoding lacks be shown as `?` rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _wants_json() -> bool:
    return "--json" in sys.argv


def _wants_traceback() -> bool:
    return "--debug" in sys.argv or bool(os.environ.get(_DEBUG_VARIABLE))
