"""Clients of all web servers that there are, one for each address: a dead one keeps nobody from the others."""

import http.client
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Final

from tests.hosts import PrivateLibvirtd
from tests.real.operator import Hypervisor

PAUSE_SECONDS: Final = 0.25
HTTP_SECONDS: Final = 1.0


@dataclass
class Answers:
    """What each address answered to each request, by the moment at which it was asked; None for no answer."""

    by_address: dict[str, list[tuple[float, str | None]]] = field(default_factory=dict)

    def at(self, moment: float) -> Counter[str]:
        """Return how many addresses gave which answer at a moment.

        A machine that began or ceased to answer between two requests has the benefit of the doubt for that long: a
        request that was lost while it started says nothing of the seconds for which its client waited in vain.
        """
        around = (_around(asked, moment) for asked in self.by_address.values())
        return Counter(answer for answer in around if answer is not None)

    def between(self, begin: float, end: float) -> list[Counter[str]]:
        """Return what was answered at each moment at which somebody asked."""
        moments = sorted(moment for asked in self.by_address.values() for moment, _ in asked)
        return [self.at(moment) for moment in moments if begin <= moment <= end]


@contextmanager
def answers_of(host: PrivateLibvirtd, hypervisor: Hypervisor) -> Iterator[Answers]:
    """Ask every address that there is for `/` on port 80, again and again, as long as the context is open."""
    answers, over = Answers(), Event()
    thread = Thread(target=partial(host.call_inside, partial(_ask_all, hypervisor, answers, over)), daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join(30.0)


def _ask_all(hypervisor: Hypervisor, answers: Answers, over: Event) -> None:
    clients: list[Thread] = []
    while not over.wait(PAUSE_SECONDS):
        for address in hypervisor.addresses():
            if address not in answers.by_address:
                answers.by_address[address] = []
                clients.append(Thread(target=_ask_until, args=(address, answers, over), daemon=True))
                clients[-1].start()
    for client in clients:
        client.join(HTTP_SECONDS * 2)


def _ask_until(address: str, answers: Answers, over: Event) -> None:
    while not over.wait(PAUSE_SECONDS):
        moment = time.monotonic()
        answers.by_address[address].append((moment, _get(address)))


def _get(address: str) -> str | None:
    connection = http.client.HTTPConnection(address, 80, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _around(asked: list[tuple[float, str | None]], moment: float) -> str | None:
    index = bisect_right(asked, moment, key=lambda one: one[0])
    answers = (answer for _, answer in asked[max(index - 1, 0) : index + 1])
    return next((answer for answer in answers if answer is not None), None)
