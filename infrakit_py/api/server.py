"""The API's server: an event loop in a thread of its own, beside the controller's work."""

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Final

from infrakit_py import __version__
from infrakit_py.api.extras import extra
from infrakit_py.api.listening import BACKLOG, listen, load_certificate, new_tls, server_tls, url_of
from infrakit_py.api.tokens import read_tokens
from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.loading.controller_file import checked_api
from infrakit_py.model.controller import ApiAddress

if TYPE_CHECKING:
    import asyncio

    import uvicorn

    from infrakit_py.api.application import Doors
    from infrakit_py.api.audit import AuditLog
    from infrakit_py.api.controls import Controls
    from infrakit_py.api.feed import Feed
    from infrakit_py.api.metrics import Metrics
    from infrakit_py.api.operations import AnyOperation
    from infrakit_py.clock import Clock

_GRACE_SECONDS: Final = 3
_STOP_SECONDS: Final = 10.0
_START_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.01


class RunningServer:
    """A server that listens. Its methods are called from any thread."""

    def __init__(
        self,
        settings: ApiAddress,
        url: str,
        server: "uvicorn.Server",
        listening: socket.socket,
        doors: "Doors",
        feed: "Feed",
        tls: ssl.SSLContext | None,
    ) -> None:
        self.url = url
        self._settings = settings
        self._server = server
        self._socket = listening
        self._doors = doors
        self._feed = feed
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = Flag()
        self._thread = Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Return once requests are answered."""
        self._thread.start()
        if not self._begun.wait(_START_SECONDS) or not self._server.started:
            raise InfrakitError(f"API {self.url}: the server did not start", hint="the log tells more")

    def reload(self) -> None:
        """Read tokens and certificates anew, and end all streams: who may still listen comes back.

        InfrakitError where they are wrong; then those from before count on.
        """
        tokens = read_tokens(self._settings.tokens)
        if self._tls is not None:
            load_certificate(new_tls(), self._settings)  # both files are right, or neither is taken
            load_certificate(self._tls, self._settings)
        self._doors.tokens = tokens
        self._in_loop(self._feed.end)

    def stop(self) -> None:
        """End all streams, answer what was asked, and listen no more. Idempotent."""
        self._in_loop(self._end)
        self._thread.join(_STOP_SECONDS)

    def _end(self) -> None:
        self._server.should_exit = True
        self._feed.end()

    def _in_loop(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended: so have all streams
                self._loop.call_soon_threadsafe(call)

    def _run(self) -> None:
        import asyncio

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
            while not self._server.started and not serving.done():
                await asyncio.sleep(_LOOK_SECONDS)
            self._begun.set()
            await serving

        try:
            asyncio.run(serve())
        finally:
            self._begun.set()
            self._socket.close()


def serve(
    controls: "Controls",
    settings: ApiAddress,
    metrics: "Metrics",
    audit_log: "AuditLog | None" = None,
) -> RunningServer:
    """Answer requests from now on.

    PluginError where the extra `server` is not installed; SpecError for mistakes in the file of tokens; InfrakitError
    where the address cannot be listened at or a certificate is wrong. Nothing runs then.
    """
    with extra("server", "the HTTP API"):
        import uvicorn

        from infrakit_py.api.application import Application, Doors
        from infrakit_py.api.connections import Connection
        from infrakit_py.api.feed import Feed
        from infrakit_py.api.threads import Threads
    if complaint := checked_api(settings):
        raise UsageError(f"API {settings.host}: {complaint}")
    threads = Threads()
    feed = Feed(controls, threads, _complain)
    doors = Doors(read_tokens(settings.tokens))
    tls = server_tls(settings)
    application = Application(_table(controls, settings, metrics), doors, threads, feed, audit_log, metrics.answered)
    config = uvicorn.Config(
        application.application,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    config.load()
    config.ssl = tls
    listening = listen(settings)
    url = url_of(settings, listening)
    running = RunningServer(settings, url, uvicorn.Server(config), listening, doors, feed, tls)
    try:
        running.start()
    except BaseException:
        running.stop()
        raise
    return running


def open_metrics(controller: str, clock: "Clock") -> "Metrics":
    """Return what counts for Prometheus. PluginError where the extra `server` is not installed."""
    with extra("server", "the HTTP API"):
        from infrakit_py.api.metrics import Metrics
    return Metrics(controller, clock)


def _table(controls: "Controls", settings: ApiAddress, metrics: "Metrics") -> "Sequence[AnyOperation]":
    import json

    from infrakit_py.api.changing import Changing
    from infrakit_py.api.openapi import openapi
    from infrakit_py.api.reading import Reading
    from infrakit_py.api.table import operations

    def document() -> bytes:
        return json.dumps(openapi(table, __version__, tokens=settings.tokens is not None)).encode()

    reading, changing = Reading(controls), Changing(controls, settings.webhook_secret)
    table = operations(reading, changing, partial(metrics.text, controls), cache(document))
    return table


def _complain(error: BaseException) -> None:
    import structlog

    structlog.get_logger("infrakit.api").error("api.events_failed", error=f"{type(error).__name__}: {error}")
