"""The same account in other regions, for copies of images. Each has limits of its own."""

from random import Random
from threading import Lock

from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.settings import Settings
from infrakit_py.spi.provider import Now


class Abroad:
    """What calls other regions, made when it is first asked for. Safe for threads."""

    def __init__(self, settings: Settings, clock: Now) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, tuple[Clients, Caller]] = {}

    def caller(self, region: str) -> Caller:
        with self._lock:
            if region not in self._known:
                clients = Clients(self._settings.model_copy(update={"region": region}))
                rates = Rates(self._settings.limits, self._clock.now())
                self._known[region] = (clients, Caller(clients, rates, self._clock, Random()))
            return self._known[region][1]

    def close(self) -> None:
        with self._lock:
            for clients, _ in self._known.values():
                clients.close()
            self._known.clear()
