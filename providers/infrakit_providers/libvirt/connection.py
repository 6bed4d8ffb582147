"""Connections to one hypervisor that come back: opened within a time limit, kept alive, reopened when dead.

It knows nothing of domains. libvirtd stops reading from a client with five calls under way, keepalive answers
included, so a connection carries four at most and more calls take more connections.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from infrakit_providers.libvirt.faults import translated
from infrakit_py.errors import ProviderError, Transient

if TYPE_CHECKING:
    from libvirt import libvirtError, virConnect

CALLS_PER_CONNECTION: Final = 4
KEEPALIVE_INTERVAL_SECONDS: Final = 5
KEEPALIVE_COUNT: Final = 3


class EventLoop:
    """libvirt's default event loop on a thread, while anybody needs it.

    Without it libvirt has neither keepalive nor events. libvirt takes one implementation for a whole process, before
    the first connection, hence the one instance below.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._registered = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Keep the loop running until `release`."""
        import libvirt

        with self._lock:
            if not self._registered:
                libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; stderr is not ours
                libvirt.virEventRegisterDefaultImpl()
                self._registered = True
            self._users += 1
            if self._users == 1:
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="libvirt-events", daemon=True)
                self._thread.start()

    def release(self) -> None:
        """Give up one `acquire`; the last one ends the thread."""
        import libvirt

        with self._lock:
            self._users -= 1
            if self._users or self._thread is None:
                return
            self._stop.set()
            alarm = libvirt.virEventAddTimeout(0, lambda *_: None, None)  # it wakes the loop from its poll
            self._thread.join()
            self._thread = None
            libvirt.virEventRemoveTimeout(alarm)

    def _run(self) -> None:
        import libvirt

        while not self._stop.is_set():
            libvirt.virEventRunDefaultImpl()


EVENTS: Final = EventLoop()


class Connection:
    """One connection to a URI, reopened when it died. Safe for threads."""

    def __init__(self, uri: str, open_timeout_seconds: float, changed: Callable[[], None] | None) -> None:
        self._uri = uri
        self._open_timeout_seconds = open_timeout_seconds
        self._changed = changed
        self._lock = threading.Lock()
        self._connection: virConnect | None = None
        self._callback: int | None = None
        self.host = ""
        """The hypervisor's name for itself, as of the last time that the connection was opened."""

    def get(self) -> "virConnect":
        """Return a live connection. Raise Transient or ProviderError if there is none to be had."""
        with self._lock:
            if self._connection is not None and not self._connection.isAlive():
                self._drop()
            if self._connection is None:
                self._connection = open_within(self._uri, self._open_timeout_seconds)
                self._attend(self._connection)
                self.host = _host_name(self._connection)
            return self._connection

    def close(self) -> None:
        """Close it, if it is open."""
        with self._lock:
            self._drop()

    def _attend(self, connection: "virConnect") -> None:
        import libvirt

        with contextlib.suppress(libvirt.libvirtError):  # a driver inside this process needs none
            connection.setKeepAlive(KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT)
        if self._changed is None:
            return
        lifecycle = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        try:
            self._callback = connection.domainEventRegisterAny(None, lifecycle, self._on_event, None)
            connection.registerCloseCallback(self._on_event, None)
        except libvirt.libvirtError as exc:
            self._drop()
            raise translated(exc, f"watch {self._uri}") from exc

    def _on_event(self, *_: object) -> None:
        if self._changed is not None:
            self._changed()

    def _drop(self) -> None:
        import libvirt

        connection, self._connection = self._connection, None
        callback, self._callback = self._callback, None
        if connection is None:
            return
        if callback is not None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(callback)
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            connection.close()


class Lines:
    """Room for calls to one hypervisor: enough connections, the first preferred, which also has the events."""

    def __init__(self, uri: str, calls: int, open_timeout_seconds: float, changed: Callable[[], None]) -> None:
        EVENTS.acquire()
        connections = -(-calls // CALLS_PER_CONNECTION)
        self._connections = [
            Connection(uri, open_timeout_seconds, None if number else changed) for number in range(connections)
        ]
        self._free: queue.PriorityQueue[int] = queue.PriorityQueue()
        for number in range(connections * CALLS_PER_CONNECTION):
            self._free.put(number // CALLS_PER_CONNECTION)

    @contextlib.contextmanager
    def borrow(self) -> "Iterator[virConnect]":
        """Lend a live connection for calls one after the other; wait while all are busy. Never borrow twice."""
        number = self._free.get()
        try:
            yield self._connections[number].get()
        finally:
            self._free.put(number)

    @property
    def host(self) -> str:
        """The hypervisor's name for itself; empty before the first call, and where it has none."""
        return next((connection.host for connection in self._connections if connection.host), "")

    def close(self) -> None:
        """Close all connections and let the event loop end."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        if connections:
            EVENTS.release()


def open_within(uri: str, seconds: float) -> "virConnect":
    """Open a connection. Raise Transient if nothing answers in time: a stopped daemon would hold us for ever."""
    import libvirt

    answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    def open_and_tell() -> None:
        try:
            answers.put(libvirt.open(uri))
        except libvirt.libvirtError as exc:
            answers.put(exc)

    threading.Thread(target=open_and_tell, name="libvirt-open", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise Transient(
            f"libvirt: no answer from {uri} within {seconds:g} s",
            hint="does libvirtd hang there? does ssh wait for a password (add ?no_tty=1 to the URI to find out)?",
        ) from None
    if isinstance(answer, libvirt.libvirtError):
        raise _cannot_open(uri, answer) from answer
    return answer


def _host_name(connection: "virConnect") -> str:
    import libvirt

    try:
        return str(connection.getHostname())
    except libvirt.libvirtError:  # not every driver has one; if the connection just died, the next call tells
        return ""


def _cannot_open(uri: str, exc: "libvirtError") -> ProviderError:
    error = translated(exc, f"connect to {uri}")
    if "permission denied" in str(exc).lower():
        error.hint = "run as root, or as a member of the group libvirt"
    elif isinstance(error, Transient):
        error.hint = "is libvirtd running there (systemctl start libvirtd), and is the URI right?"
    else:
        error.hint = "URIs look like qemu:///system or qemu+ssh://root@host/system"
    return error
