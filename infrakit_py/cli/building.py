"""Building what is not built yet, and showing that it goes on. A long silence looks like a hang."""

import json
import sys
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from infrakit_py.cli.stopping import builds_stopped_by_signals
from infrakit_py.model.spec import ClusterSpec

if TYPE_CHECKING:
    from rich.status import Status

    from infrakit_py.app import App
    from infrakit_py.images.builds import Progress

_SHOWN: int = 100


def with_images(
    app: "App",
    specs: Sequence[ClusterSpec],
    *,
    as_events: bool = False,
    only: Collection[str] | None = None,
    again: bool = False,
    tell: "Progress | None" = None,
) -> tuple[ClusterSpec, ...]:
    """Build the images that these specs boot, or those that `only` names, and show the progress.

    `again`: also what was built before. `as_events`: as JSON lines on standard output; else for people on standard
    error; or by `tell`.
    """
    from infrakit_py.app.images import unbuilt_images

    if only is None and not unbuilt_images(specs):
        return tuple(specs)
    with ExitStack() as stack:
        stop = stack.enter_context(builds_stopped_by_signals())
        if tell is None:
            tell = stack.enter_context(BuildProgress(as_events=as_events)).tell
        done = app.build(specs, tell, only=only, again=again, stop=stop)
    warn_unpinned(done, only)
    return done


def warn_unpinned(specs: Sequence[ClusterSpec], only: Collection[str] | None = None) -> None:
    """Say which components of images may be something else when they are built the next time."""
    for spec in specs:
        for name, image in spec.images.items():
            if image.recipe is not None and image.recipe.unpinned and (only is None or name in only):
                loose = ", ".join(image.recipe.unpinned)
                warning = click.style("warning", fg="yellow")
                click.echo(f"{warning}: image {name}: not pinned, so another build may differ: {loose}", err=True)


class BuildProgress(AbstractContextManager["BuildProgress"]):
    """Shows builds: on a terminal the last line that the program wrote, elsewhere a line when one begins and ends."""

    def __init__(self, *, as_events: bool) -> None:
        self._as_events = as_events
        self._status: Status | None = None
        self._lock = Lock()

    def tell(self, image: str, text: str, *, milestone: bool = False) -> None:
        with self._lock, suppress(OSError):
            if self._as_events:
                at = datetime.now(UTC).isoformat(timespec="milliseconds")
                event = {"at": at, "event": "building", "image": image, "text": text}
                click.echo(json.dumps(event, ensure_ascii=False))
            elif milestone:
                click.echo(f"image {image}: {text}", err=True)
            elif self._status is not None:
                self._status.update(f"image {image}: {text.strip()[:_SHOWN]}")

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self._as_events:
            from rich.console import Console

            self._status = Console(stderr=True, highlight=False).status("building images", refresh_per_second=4)
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()
