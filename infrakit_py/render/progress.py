"""Progress of a long operation: live on a terminal, a line an event elsewhere, JSON lines on request."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

from infrakit_py.engine.engine import GroupStatus, Phase
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.render.plan import left_to_do

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS: Final = {
    EventKind.CREATED: "green",
    EventKind.READY: "green",
    EventKind.CONVERGED: "green",
    EventKind.DESTROYED: "yellow",
    EventKind.RETRY: "yellow",
    EventKind.ROLLBACK: "yellow",
    EventKind.BLOCKED: "red",
    EventKind.STOPPED: "red",
    EventKind.FAILED: "red",
}
_PHASES: Final = {
    Phase.CONVERGED: "green",
    Phase.FAILED: "red",
    Phase.BLOCKED: "red",
    Phase.STOPPED: "red",
    Phase.ROLLED_BACK: "red",
}
_REFRESHES_A_SECOND: Final = 4
_ROWS: Final = 40
_WIDE_COLUMNS: Final = 80
_NARROW_COLUMNS: Final = 50
_REASON_CHARACTERS: Final = 100

Statuses = Callable[[], Mapping[str, GroupStatus]]


class Progress(AbstractContextManager["Progress"], Protocol):
    """Shows events as they come. `tell` may be called from any thread."""

    def tell(self, event: Event) -> None: ...

    def follow(self, statuses: Statuses) -> None:
        """Show these statuses as long as the context is open, where that is possible."""
        ...


class LineProgress:
    """One line an event. Where nobody reads them any more (a closed pipe, a full disk) the work goes on unseen."""

    def __init__(self) -> None:
        self._lock = Lock()

    def tell(self, event: Event) -> None:
        with self._lock, suppress(OSError):
            click.echo(line(event))

    def follow(self, statuses: Statuses) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        pass


class JsonProgress(LineProgress):
    """One JSON object a line."""

    def tell(self, event: Event) -> None:
        at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
        fields = {"at": at, "event": event.kind.value, "group": event.group, "text": event.text, **event.fields}
        with self._lock, suppress(OSError):
            click.echo(json.dumps(fields, ensure_ascii=False))


class LiveProgress:
    """Events scroll by; below them stands a table of the groups, refreshed a few times a second."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._statuses: Statuses = dict
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            refresh_per_second=_REFRESHES_A_SECOND,
            get_renderable=self._table,
            transient=True,
        )

    def tell(self, event: Event) -> None:
        from rich.text import Text

        with suppress(OSError):
            self._console.print(Text.from_ansi(line(event)))

    def follow(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        statuses = self._statuses()
        width = self._console.width
        for name, status in list(statuses.items())[:_ROWS]:
            cells = [Text(name), Text(status.phase.value, style=_PHASES.get(status.phase, "yellow"))]
            if width >= _NARROW_COLUMNS:
                cells.append(Text(left_to_do(status.plan) if status.plan is not None else ""))
            if width >= _WIDE_COLUMNS:
                cells.append(Text(status.reason[:_REASON_CHARACTERS]))
            table.add_row(*cells)
        if len(statuses) > _ROWS:
            table.add_row(f"… {len(statuses) - _ROWS} more groups")
        return table


def line(event: Event) -> str:
    """Write an event as one line."""
    at = datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S")
    return event_line(at, event.group, event.kind, event.text)


def event_line(at: str, whose: str, kind: str, text: str) -> str:
    """Write as one line what happened to whom."""
    colour = {word.value: colour for word, colour in _COLOURS.items()}.get(kind)
    padded = kind.ljust(10)
    return f"{at}  {whose:<12} {click.style(padded, fg=colour) if colour else padded} {text}"
