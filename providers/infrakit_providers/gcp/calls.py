"""One way to call Compute Engine: within the project's windows, and again where the error's class says it may help.

Every call that changes something carries a `requestId`, so that it may be made again when its answer was lost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from math import floor
from random import Random
from threading import Lock
from typing import Any, Final, TypeVar
from uuid import uuid4

import structlog

from infrakit_providers.cloud.repeating import Repeater
from infrakit_providers.gcp.clients import CALL_SECONDS, Clients
from infrakit_providers.gcp.faults import NotThere, of_operation, translated
from infrakit_providers.gcp.operations import Operation, read_operation
from infrakit_providers.gcp.settings import Limits
from infrakit_py.errors import ProviderError, Throttled, Transient
from infrakit_py.spi.provider import Now

A = TypeVar("A")
B = TypeVar("B")

PAGE: Final = 500
"""Things a page: the most that Compute Engine gives. Source: API reference, `maxResults`."""
_MINUTE: Final = 60.0
_SKEW_SECONDS: Final = 1.0
"""So much later than here a minute may begin there."""
_LONGEST_QUEUE_SECONDS: Final = 15.0
"""Who would wait longer for the next window is told so: the engine comes back later."""
_FIRST_LOOK_SECONDS: Final = 0.3
_LONGEST_PAUSE_SECONDS: Final = 2.0
_log: Final = structlog.get_logger("infrakit.gcp")


class Kind(StrEnum):
    """Calls by the window that they count in."""

    READ = "reads"
    LIST = "lists"
    OPERATION = "looks at operations"
    MUTATE = "mutations"


@dataclass(slots=True)
class Window:
    """So many calls in each minute by the clock; unlike a bucket it fills at the minute's beginning, all at once."""

    per_minute: int
    minute: int = 0
    used: int = 0
    lock: Lock = field(default_factory=Lock)

    def take(self, now: float) -> float:
        """Count a call and return for how many seconds to wait for its minute; negative, uncounted, if too long."""
        with self.lock:
            self._turn(now)
            minute, used = (self.minute, self.used) if self.used < self.per_minute else (self.minute + 1, 0)
            wait = max(0.0, minute * _MINUTE + _SKEW_SECONDS - now) if minute > floor(now / _MINUTE) else 0.0
            if wait > _LONGEST_QUEUE_SECONDS:
                return -1.0
            self.minute, self.used = minute, used + 1
            return wait

    def full(self, now: float) -> None:
        """Learn that somebody else uses the project: this minute has no room left."""
        with self.lock:
            self._turn(now)
            if self.minute == floor(now / _MINUTE):
                self.used = self.per_minute

    def _turn(self, now: float) -> None:
        if (minute := floor(now / _MINUTE)) > self.minute:
            self.minute, self.used = minute, 0


class Rates:
    """The windows of one project. Shared by all providers of a process that use it."""

    def __init__(self, limits: Limits) -> None:
        self._windows = {
            Kind.READ: Window(limits.reads_per_minute),
            Kind.LIST: Window(limits.lists_per_minute),
            Kind.OPERATION: Window(limits.operation_reads_per_minute),
            Kind.MUTATE: Window(limits.mutations_per_minute),
        }

    def of(self, kind: Kind) -> Window:
        return self._windows[kind]


class Caller:
    """Makes calls. Safe for threads. `doing` says what for, as in `delete web-0`, and is part of the error's text."""

    def __init__(self, clients: Clients, rates: Rates, clock: Now, chance: Random, parallel: int) -> None:
        """`chance` spreads what is tried again; `parallel` calls are made at once."""
        self.clients = clients
        self.project = clients.project
        self._rates = rates
        self._clock = clock
        self._repeater = Repeater(clock, chance)
        self._parallel = parallel

    def ask(self, service: str, method: str, doing: str, **request: Any) -> Any:
        """Look at something, again a few times where that may help. Return the SDK's message."""
        kind = Kind.OPERATION if service.endswith("_operations") else Kind.READ
        return self._repeater.repeated(partial(self._call, kind, service, method, doing, request))

    def pages(self, service: str, method: str, doing: str, *, fields: str = "", **request: Any) -> Iterator[Any]:
        """Yield the pages of a listing, all of them or an error; each is asked for again by itself.

        `fields` leaves out of the answer what is not named in it (a field mask).
        """
        token = ""
        while True:
            asked = {"max_results": PAGE, **request, **({"page_token": token} if token else {})}
            call = partial(self._page, service, method, doing, asked, fields)
            page = self._repeater.repeated(call)
            yield page
            token = page.next_page_token
            if not token:
                return

    def act(
        self,
        service: str,
        method: str,
        doing: str,
        *,
        request_id: str = "",
        definite: tuple[type[ProviderError], ...] = (NotThere,),
        **request: Any,
    ) -> Operation:
        """Change something, again where the answer may have been lost; return the operation that was accepted.

        `request_id` (a UUID) makes calls of several processes one; without it only this call's repetitions are one.
        `definite` errors say how things stand, whatever became of a call before. An operation that failed at once is
        an error.
        """
        request = {**request, "request_id": request_id or str(uuid4())}
        call = partial(self._call, Kind.MUTATE, service, f"{method}_unary", doing, request)
        raw = self._repeater.repeated(call, changes=True, definite=definite)
        operation = read_operation(raw)
        if operation.ended_badly:
            raise of_operation(operation.errors, operation.status, doing)
        return operation

    def change(
        self,
        service: str,
        method: str,
        doing: str,
        *,
        definite: tuple[type[ProviderError], ...] = (NotThere,),
        **request: Any,
    ) -> Any:
        """Change something by a call that takes no `requestId`, again where its answer may have been lost.

        So it must be one that may be heeded twice. Return the SDK's message.
        """
        call = partial(self._call, Kind.MUTATE, service, method, doing, request)
        return self._repeater.repeated(call, changes=True, definite=definite)

    def look(self, operation: Operation) -> Operation:
        """Look at an operation again."""
        service, where = operation.look
        return read_operation(self.ask(service, "get", f"look at operation {operation.name}", **where))

    def finish(self, operation: Operation, doing: str, *, within_seconds: float) -> None:
        """Return when an operation is done. Its own error where it fails; Transient where it takes too long."""
        until = self._clock.now() + within_seconds
        pause = _FIRST_LOOK_SECONDS
        while not operation.done:
            if self._clock.now() >= until:
                raise Transient(f"gcp: cannot {doing} yet: operation {operation.name} takes its time")
            self._clock.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
            operation = self.look(operation)
        if operation.ended_badly:
            raise of_operation(operation.errors, operation.status, doing)

    def each(self, call: Callable[[A], B], things: Sequence[A]) -> list[B | ProviderError]:
        """Make a call for each of these, some beside each other; one's error never spoils another's."""
        if not things:
            return []

        def tried(thing: A) -> B | ProviderError:
            try:
                return call(thing)
            except ProviderError as exc:
                return exc

        if len(things) == 1:
            return [tried(things[0])]
        with ThreadPoolExecutor(min(self._parallel, len(things)), thread_name_prefix="gcp") as pool:
            return list(pool.map(tried, things))

    def _page(self, service: str, method: str, doing: str, request: Mapping[str, Any], fields: str) -> Any:
        pager = self._call(Kind.LIST, service, method, doing, request, fields)
        return next(iter(pager.pages))

    def _call(
        self, kind: Kind, service: str, method: str, doing: str, request: Mapping[str, Any], fields: str = ""
    ) -> Any:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # it has no types
        from requests.exceptions import RequestException

        self._queue(kind, doing)
        client = self.clients.of(service)
        metadata = (("x-goog-fieldmask", fields),) if fields else ()
        try:
            return getattr(client, method)(
                request={"project": self.project, **request},
                retry=None,
                timeout=CALL_SECONDS,
                metadata=metadata,
            )
        except (GoogleAPICallError, GoogleAuthError, RequestException, OSError, ParseError) as exc:
            error = translated(exc, doing)
            if isinstance(error, Throttled):
                self._rates.of(kind).full(self._clock.now())
            _log.debug("call failed", method=f"{service}.{method}", error=str(error))
            raise error from exc

    def _queue(self, kind: Kind, doing: str) -> None:
        seconds = self._rates.of(kind).take(self._clock.now())
        if seconds < 0:
            raise Throttled(f"gcp: cannot {doing} yet: this minute's {kind} of the project are used up")
        if seconds > 0:
            self._clock.sleep(seconds)
