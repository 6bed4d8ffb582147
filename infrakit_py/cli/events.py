"""`infra events`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from infrakit_py.cli import options, serving
from infrakit_py.model.quantities import parse_duration

if TYPE_CHECKING:
    from infrakit_py.clock import Clock
    from infrakit_py.remote.faults import ServerError
    from infrakit_py.render.server_documents import HappeningDocument

_SHOWN: Final = 100
_MOST: Final = 10_000
_LOOK_SECONDS: Final = 1.0

_Since: TypeAlias = int | float
"""The number of an event (an int), or a duration in seconds (a float)."""
_Ask: TypeAlias = "Callable[[int | None, int], Sequence[HappeningDocument]]"
"""Asks for at most so many events after a number, the oldest first; for the latest after None."""


class _SinceType(click.ParamType[_Since]):
    name = "id|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Since:
        written = str(value)
        if written.isascii() and written.isdecimal():
            return int(written)
        try:
            return float(parse_duration(written))
        except ValueError as exc:
            self.fail(f"it is neither the number of an event nor a duration: {exc}", param, ctx)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Who tells of events. `follow` yields those after a number, for ever."""

    ask: _Ask
    follow: "Callable[[int], Iterable[HappeningDocument]]"


@click.command()
@serving.cluster
@serving.server
@click.option("--since", type=_SinceType(), help="After this event, or no longer ago than that.")
@click.option("--follow", "-F", "follows", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@options.as_json
@options.debug
def events(
    cluster: str | None, server: serving.Server | None, since: _Since | None, follows: bool, as_json: bool
) -> int:
    """Show what happened to clusters, the latest last.

    Without --server: what the controller of this machine remembers. With --json an object a line.
    """
    from infrakit_py.cli.failure import INTERRUPTED
    from infrakit_py.cli.stopping import interrupted_by_signals
    from infrakit_py.cli.waiting import show_event
    from infrakit_py.clock import SystemClock

    clock = SystemClock()
    try:
        with interrupted_by_signals(), _teller(server, cluster, clock) as teller:
            last = 0
            for happened in _past(teller.ask, since, clock):
                show_event(happened, clock.now(), as_json=as_json)
                last = happened.id
            for happened in teller.follow(last) if follows else ():
                show_event(happened, clock.now(), as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _past(ask: _Ask, since: _Since | None, clock: "Clock") -> "Iterator[HappeningDocument]":
    from datetime import datetime

    if isinstance(since, int):
        while found := ask(since, _MOST):
            yield from found
            since = found[-1].id
    elif since is not None:
        begin = clock.now() - since
        yield from (one for one in ask(None, _MOST) if datetime.fromisoformat(one.at).timestamp() >= begin)
    else:
        yield from ask(None, _SHOWN)


@contextmanager
def _teller(server: serving.Server | None, cluster: str | None, clock: "Clock") -> Iterator[_Teller]:
    if server is not None:
        yield _of_server(server, cluster, clock)
        return
    from infrakit_py.app import App
    from infrakit_py.render.server_documents import happening

    with App().store() as store:

        def ask(after: int | None, limit: int) -> "Sequence[HappeningDocument]":
            found = store.occurrences(-1 if after is None else after, cluster=cluster, limit=limit)
            return [happening(number, occurrence) for number, occurrence in found]

        def follow(last: int) -> "Iterator[HappeningDocument]":
            while True:
                for happened in ask(last, _MOST):
                    last = happened.id
                    yield happened
                clock.sleep(_LOOK_SECONDS)

        yield _Teller(ask, follow)


def _of_server(server: serving.Server, cluster: str | None, clock: "Clock") -> _Teller:
    from infrakit_py.cli.served import happenings, read
    from infrakit_py.remote.happenings import follow
    from infrakit_py.render.server_documents import HappeningDocument

    client = server.client()

    def told(error: "ServerError") -> None:
        click.echo(f"{error}; trying again", err=True)

    return _Teller(
        lambda after, limit: happenings(client, after=after, cluster=cluster, limit=limit),
        lambda last: (read(HappeningDocument, one, client) for one in follow(client, clock, last, cluster, told)),
    )
