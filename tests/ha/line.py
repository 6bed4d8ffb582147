"""A line between a controller and a server, which can be cut: what is sent then is neither lost nor delivered."""

import selectors
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Final

_CHUNK: Final = 65_536
_LOOK_SECONDS: Final = 0.1


def free_port() -> int:
    """Return a port of loopback at which nobody listens now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Line:
    """Carries bytes both ways, each connection in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._whole, self._over = Event(), Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Deliver nothing from now on. Connections stay open, and new ones get no answer: so a network fails."""
        self._whole.clear()

    def join(self) -> None:
        """Be whole again. What was open during the cut has ended."""
        self._end_all()
        self._whole.set()

    def close(self) -> None:
        self._over.set()
        self._whole.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()
        for thread in self._threads:
            thread.join(5.0)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = Thread(target=self._carry, args=(client,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive() or one.ident is None] + [thread]
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        self._whole.wait()
        try:
            server = socket.create_connection(self._server, 5.0)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        try:
            self._copy(client, server)
        finally:
            with self._lock:
                self._open -= {client, server}
            client.close()
            server.close()

    def _copy(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready, suppress(OSError, ValueError):
            for one, other in ((client, server), (server, client)):
                ready.register(one, selectors.EVENT_READ, other)
            while not self._over.is_set():
                for key, _ in ready.select(_LOOK_SECONDS):
                    self._whole.wait()
                    received = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]  # sockets were registered
                    if not received:
                        return
                    key.data.sendall(received)

    def _end_all(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(host: str, port: int) -> Iterator[Line]:
    with closing(Line(host, port)) as line:
        yield line
