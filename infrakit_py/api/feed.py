"""What happens, told as it happens to whoever listens: the store is asked once for all of them.

A listener is a number: the last event that it has. Who keeps up is served from the latest events, which are held
here; who fell behind, or comes back, reads the store until it has caught up. So nobody's queue grows, nobody misses
anything that the store still has, and a slow listener slows down nobody else.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from infrakit_py.api.controls import Controls
from infrakit_py.api.documents import EventDocument
from infrakit_py.api.problems import RETRY_SECONDS, Refusal
from infrakit_py.api.reading import LATEST
from infrakit_py.api.threads import Threads
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import Occurrence

MAX_LISTENERS: Final = 100
_HELD: Final = 2_000
_PAGE: Final = 500
_POLL_SECONDS: Final = 0.5
_KEEP_ALIVE_SECONDS: Final = 15.0
_RECONNECT_MILLISECONDS: Final = 2_000
_COMMENT: Final = b":\n\n"


@dataclass(frozen=True, slots=True)
class Told:
    """An event as the stream tells it."""

    number: int
    cluster: str
    text: bytes


class Feed:
    """Follows the store's events while anybody listens. All of it runs in one event loop."""

    def __init__(self, controls: Controls, threads: Threads, complain: Callable[[BaseException], None]) -> None:
        """`complain` hears why the store cannot be asked, once until it can."""
        self._controls = controls
        self._threads = threads
        self._complain = complain
        self._held: deque[Told] = deque()
        self._begin = 0
        """All events after this one are held."""
        self._end = 0
        self._news = asyncio.Event()
        self._listeners: set[Listener] = set()
        self._poller: asyncio.Task[None] | None = None

    def end(self) -> None:
        """End all that listen now: they may come back."""
        for listener in self._listeners:
            listener.over = True
        self._announce()

    async def listen(self, after: int | None, cluster: str | None) -> "Listener":
        """Begin to listen: to events after a number, or to those to come. Refusal (503) where many listen already."""
        if len(self._listeners) >= MAX_LISTENERS:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_LISTENERS} listen already", headers=headers)
        listener = Listener(self, cluster)
        self._listeners.add(listener)
        try:
            await self._begin_to_poll()
        except BaseException:
            self.leave(listener)
            raise
        listener.last = self._end if after is None else after
        return listener

    def leave(self, listener: "Listener") -> None:
        """Listen no more. Idempotent."""
        self._listeners.discard(listener)
        if not self._listeners and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def after(self, last: int, cluster: str | None) -> tuple[Sequence[Told], int]:
        """Wait some time for news; return events after the last one, and the number up to which that is all."""
        if last >= self._end:
            await self._wait_for_news()
        if last >= self._begin:
            return [t for t in self._held if t.number > last and cluster in (None, t.cluster)], max(last, self._end)
        end = self._end
        told = await self._page(last, cluster)
        return told, told[-1].number if told else end

    async def _wait_for_news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                await self._news.wait()

    async def _page(self, after: int, cluster: str | None) -> list[Told]:
        ask = partial(self._controls.occurrences, after, cluster=cluster, limit=_PAGE)
        return [_told(number, occurrence) for number, occurrence in await self._threads.call(ask)]

    async def _begin_to_poll(self) -> None:
        if self._poller is not None:
            return
        latest = await self._threads.call(partial(self._controls.occurrences, LATEST, limit=1))
        if self._poller is None:
            self._held.clear()
            self._begin = self._end = latest[-1][0] if latest else 0
            self._poller = asyncio.create_task(self._poll())
            self._poller.add_done_callback(self._note_end)

    async def _poll(self) -> None:
        complained = False
        while True:
            page: list[Told] = []
            try:
                page = await self._page(self._end, None)
                complained = False
            except Refusal:
                pass  # too many ask already: later
            except InfrakitError as exc:
                if not complained:
                    self._complain(exc)
                complained = True
            if page:
                self._hold(page)
            if len(page) < _PAGE:
                await asyncio.sleep(_POLL_SECONDS)

    def _note_end(self, poller: "asyncio.Task[None]") -> None:
        """Let nobody listen to a feed that is dead: who comes back starts it again."""
        if not poller.cancelled() and (failure := poller.exception()) is not None:
            self._complain(failure)
            self._poller = None
            self.end()

    def _hold(self, page: Sequence[Told]) -> None:
        self._held.extend(page)
        self._end = page[-1].number
        while len(self._held) > _HELD:
            self._begin = self._held.popleft().number
        self._announce()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Listener:
    """Somebody who listens. `last` is the number of the last event that it has; `over` ends it."""

    def __init__(self, feed: Feed, cluster: str | None) -> None:
        self._feed = feed
        self._cluster = cluster
        self.last = 0
        self.over = False

    async def lines(self) -> AsyncIterator[bytes]:
        """Return events as lines of a stream. Ends where the store does not answer: who comes back goes on there."""
        yield f"retry: {_RECONNECT_MILLISECONDS}\n\n".encode()
        while not self.over:
            try:
                told, self.last = await self._feed.after(self.last, self._cluster)
            except (InfrakitError, Refusal):
                return
            yield b"".join(one.text for one in told) or _COMMENT

    def leave(self) -> None:
        self._feed.leave(self)


def _told(number: int, occurrence: Occurrence) -> Told:
    document = EventDocument.of(number, occurrence).model_dump(mode="json")
    kind = " ".join(occurrence.kind.split())
    text = f"id: {number}\nevent: {kind}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"
    return Told(number, occurrence.cluster, text.encode())
