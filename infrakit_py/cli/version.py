"""`infra version`."""

import platform

import click

from infrakit_py import __version__


@click.command()
def version() -> None:
    """Print the version of infrakit-py and of Python."""
    click.echo(f"infrakit-py {__version__} (Python {platform.python_version()})")
