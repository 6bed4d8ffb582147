"""Packages that the base install lacks: asked for where they are needed, and missed in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from infrakit_py.errors import PluginError


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Turn a failed import into PluginError that names the extra to install."""
    try:
        yield
    except ImportError as exc:
        package = (exc.name or "a package").partition(".")[0]
        raise PluginError(
            f"{purpose} needs {package}, which is not installed", hint=f"pip install 'infrakit-py[{name}]'"
        ) from exc
