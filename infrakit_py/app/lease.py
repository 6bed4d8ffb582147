"""The sign of life that a controller gives to the others, and what follows where it cannot."""

from collections.abc import Callable
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from infrakit_py.engine.execute import attempt
from infrakit_py.errors import Fenced, InfrakitError
from infrakit_py.spi.claims import Claims

_BEATS: Final = 3.0
"""Renewals in the life of a lease: two may be lost."""
_RETRY_SECONDS: Final = 0.5


class Lease:
    """Renews a lease in a thread of its own. What depends on it asks the claims, never this."""

    def __init__(self, claims: Claims, lost: Callable[[], None]) -> None:
        """`lost` is called, from that thread, when the lease had run out and everything that hung on it is gone."""
        self._claims = claims
        self._lost = lost
        self._over = Flag()
        self._thread = Thread(target=self._run, name="lease", daemon=True)
        self.complaint = ""
        """Why it could not be renewed the last time; "" where it was."""

    def start(self) -> None:
        """Begin, with a lease. InfrakitError where there is none to be had.

        The lease of a process of this name that died is waited for.
        """
        waiting = Retrying(
            retry=retry_if_exception_type(InfrakitError),
            wait=wait_fixed(_RETRY_SECONDS),
            stop=stop_after_delay(self._claims.ttl_seconds * 2),
            reraise=True,
        )
        waiting(self._claims.beat)
        self._thread.start()

    def stop(self) -> None:
        """Give the lease up, so that nobody waits for it to run out. All work has ended before."""
        self._over.set()
        self._thread.join()
        attempt(self._claims.resign)

    def _run(self) -> None:
        pause = self._claims.ttl_seconds / _BEATS
        while not self._over.wait(pause if not self.complaint else min(_RETRY_SECONDS, pause)):
            answer = attempt(self._claims.beat)
            if isinstance(answer, InfrakitError):
                self.complaint = str(answer)
                continue
            self.complaint = ""
            if not answer:
                attempt(self._lost)


def permit_of(claims: Claims, cluster: str) -> Callable[[], None]:
    """Return what raises Fenced unless this controller owns the cluster, proved at that very moment."""

    def permit() -> None:
        answer = attempt(partial(claims.prove, cluster))
        if isinstance(answer, Fenced):
            raise answer
        if isinstance(answer, InfrakitError):
            raise Fenced(f"cannot prove that cluster {cluster} is still ours: {answer}") from answer

    return permit
