"""Stopping at a safe point: what signals do to commands that take long or change the world."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from types import FrameType
from typing import TYPE_CHECKING

from infrakit_py.cli.failure import INTERRUPTED
from infrakit_py.errors import InfrakitError

if TYPE_CHECKING:
    from infrakit_py.render.progress import Progress


@contextmanager
def stopped_by_signals(stop: Flag, shown: "Progress", then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM and call `then`; end the process at the second."""

    def on_signal() -> None:
        if stop.is_set():
            shown.__exit__(None, None, None)
            os._exit(INTERRUPTED)
        stop.set()
        then()

    with _heeding((signal.SIGINT, signal.SIGTERM), on_signal):
        yield


@contextmanager
def builds_stopped_by_signals() -> Iterator[Flag]:
    """Yield a flag that the first SIGINT, SIGTERM or SIGHUP sets: what is built ends where that leaves nothing over.

    The command then ends as by Ctrl-C; at once at the second signal.
    """
    stop = Flag()

    def on_signal() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with _heeding((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), on_signal):
        try:
            yield stop
        except InfrakitError as exc:
            if stop.is_set():
                raise KeyboardInterrupt from exc
            raise
    if stop.is_set():
        raise KeyboardInterrupt


@contextmanager
def asked_to_reload(stop: Flag) -> Iterator[Flag]:
    """Yield a flag that SIGHUP sets. Where the terminal that shows the command goes away, it stops instead."""
    asked = Flag()

    def on_signal() -> None:
        (stop if sys.stdout.isatty() else asked).set()

    with _heeding((signal.SIGHUP,), on_signal):
        yield asked


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that its scratch files go."""

    def on_signal() -> None:
        raise KeyboardInterrupt

    with _heeding((signal.SIGTERM, signal.SIGHUP), on_signal):
        yield


@contextmanager
def _heeding(numbers: Collection[signal.Signals], on_signal: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        on_signal()

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
