"""Stopping at a safe point: what SIGINT and SIGTERM do to commands that change the world."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from types import FrameType
from typing import TYPE_CHECKING

from infrakit_py.cli.failure import INTERRUPTED

if TYPE_CHECKING:
    from infrakit_py.render.progress import Progress


@contextmanager
def stopped_by_signals(stop: Flag, shown: "Progress", then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM and call `then`; end the process at the second."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            shown.__exit__(None, None, None)
            os._exit(INTERRUPTED)
        stop.set()
        then()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
