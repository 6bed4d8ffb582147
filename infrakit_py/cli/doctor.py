"""`infra doctor`."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import click

from infrakit_py.cli import options

FAILED = 1


@click.command()
@options.files
@options.as_json
@options.debug
def doctor(positional: tuple[Path, ...], named: tuple[Path, ...], as_json: bool) -> int:
    """Examine whether what the files declare would work: access, images, quotas, whatever each provider looks at.

    Providers are asked, and nothing is changed. Exits with 1 where there is a problem.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.examining import examinations
    from infrakit_py.render.findings import examinations_json, examinations_text, grades, grades_line
    from infrakit_py.spi.provider import Grade

    app = App()
    counts: Counter[Grade] = Counter()
    documents = []
    for spec in app.load(options.chosen(positional, named)):
        found = list(examinations(app, spec))
        counts += grades(found)
        if as_json:
            documents.append(examinations_json(spec, found))
        else:
            click.echo(examinations_text(spec, found, words=not _is_colourful()) + "\n")
    if as_json:
        summed = {grade.value: counts[grade] for grade in Grade}
        click.echo(json.dumps({"clusters": documents, "findings": summed}, indent=2, ensure_ascii=False))
    else:
        click.echo(grades_line(counts))
    return FAILED if counts[Grade.PROBLEM] else 0


def _is_colourful() -> bool:
    """Tell whether marks alone say enough: whoever sees no colour may not see them well, either."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
