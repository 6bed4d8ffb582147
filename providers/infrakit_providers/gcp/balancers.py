"""The load balancers that machines serve behind: who has a place there, and what the load balancer says of it.

It knows ids of machines and names of load balancers, and neither clusters nor tags but its own notes. What a machine
is behind, and since when it drains, is told by whoever asks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final

from infrakit_providers.cloud.standing import FINE, Standing, joined
from infrakit_providers.gcp.backends import HEALTHY, POOLS, Backends, Balancer, Place, group_wanted, title_of
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.notes import gathered, spread
from infrakit_providers.gcp.seats import Behind, Seat, seats
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import Now

_NOTE: Final = "behind"
_FIRST_CHECKS_SECONDS: Final = 60.0
"""For so long after it joined, a machine that was not found healthy yet is not taken for broken: Compute Engine calls
it unhealthy from the first moment.
"""
_UNHEALTHY: Final = "UNHEALTHY"
_Change = Callable[[Place, Sequence[InstanceId]], Mapping[InstanceId, ProviderError]]


class Balancers:
    """The backend services and target pools of a project, by name. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._backends = Backends(caller)
        self._clock = clock
        self._lock = Lock()
        self._joined: dict[tuple[InstanceId, str], float] = {}

    def notes(self, machine: Machine) -> dict[str, str]:
        """Return the labels that say on a machine what it is behind: for the call that makes it. Pure."""
        services = [one.removeprefix("regions/").replace("/", "_") for one in machine.backend_services]
        return spread(_NOTE, [*services, *(f"{POOLS}_{pool}" for pool in machine.target_pools)])

    def behind(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return what a machine is behind by its notes: backend services as written, and `pools/NAME`. Pure."""
        return tuple(map(_read, gathered(_NOTE, labels)))

    def standings(self, behind: Behind, draining: Mapping[InstanceId, float]) -> Mapping[InstanceId, Standing]:
        """Return how machines that run stand with what each is behind; one look at each group.

        `draining` are those that are on their way out, and since when: they wait until they are let go. The others
        lack a place that they do not have, also behind what does not exist; `register` says what is wrong with it. It
        is an error where anything cannot be looked at, never a verdict.
        """
        found = seats(self._caller, self._backends, behind)
        for seat in found:
            if seat.error is not None:
                raise seat.error
        states = self._states(seat for seat in found if seat.id not in draining)
        standings: dict[InstanceId, list[Standing]] = {id_: [] for id_ in behind}
        for seat in found:
            if seat.id in draining:
                standings[seat.id].append(_leaving(seat, self._clock.now() - draining[seat.id]))
            else:
                standings[seat.id].append(self._serving(seat, states.get((seat.id, seat.word), ())))
        return {id_: joined(some) for id_, some in standings.items()}

    def register(self, instances: Behind) -> Mapping[InstanceId, ProviderError]:
        """Give machines their places, and return why not for those that did not get all. Idempotent.

        One machine's failure never spoils another's.
        """
        errors: dict[InstanceId, ProviderError] = {}
        joining: dict[Place, dict[InstanceId, None]] = {}
        for seat in seats(self._caller, self._backends, instances):
            if (error := seat.error or _unfit(seat)) is not None:
                errors[seat.id] = error
            elif not seat.held:
                joining.setdefault(seat.places[0], {})[seat.id] = None
        errors |= self._changed(self._backends.join, joining)
        self._remember({id_ for ids in joining.values() for id_ in ids}, instances)
        return errors

    def deregister(self, instances: Behind) -> Mapping[InstanceId, ProviderError]:
        """Let machines go from their places, and return why not for those that were not let go. Idempotent.

        A machine, a group or a load balancer that is not there is fine.
        """
        errors: dict[InstanceId, ProviderError] = {}
        leaving: dict[Place, dict[InstanceId, None]] = {}
        for seat in seats(self._caller, self._backends, instances):
            if seat.error is not None:
                errors[seat.id] = seat.error
            for place in seat.held:
                leaving.setdefault(place, {})[seat.id] = None
        return errors | self._changed(self._backends.leave, leaving)

    def _states(self, serving: Iterable[Seat]) -> Mapping[tuple[InstanceId, str], Sequence[str]]:
        """Return what load balancers say of machines that have their places, by machine and word."""
        asks: dict[tuple[Balancer, Place, InstanceId | None], None] = {}
        for seat in serving:
            if seat.balancer is not None and seat.held:
                place = seat.held[0]
                asks[seat.balancer, place, None if place.url else seat.id] = None
        states: dict[tuple[InstanceId, str], Sequence[str]] = {}
        answers = self._caller.each(lambda ask: self._backends.health(*ask), list(asks))
        for (balancer, *_), answer in zip(asks, answers, strict=True):
            if isinstance(answer, ProviderError):
                raise answer
            states |= {(id_, balancer.word): said for id_, said in answer.items()}
        return states

    def _serving(self, seat: Seat, said: Sequence[str]) -> Standing:
        """Return how a machine that shall serve stands with one load balancer. Of several states the worst counts."""
        title = title_of(seat.word)
        if not seat.held:
            missing = _missing(seat)
            return Standing(lacks=f"its place in {title}{f', {missing}' if missing else ''}")
        if said and all(state == HEALTHY for state in said):
            self._forget(seat)
            return FINE
        if _UNHEALTHY in said and not self._is_new(seat):
            return Standing(impaired=f"{title}: its health checks fail")
        strange = next((state for state in said if state not in (HEALTHY, _UNHEALTHY)), "")
        return Standing(awaits=f"{title}: {strange or 'first health checks'}")

    def _changed(
        self, change: _Change, wanted: Mapping[Place, Mapping[InstanceId, None]]
    ) -> dict[InstanceId, ProviderError]:
        """Change who is in which place, and return who was refused."""
        errors: dict[InstanceId, ProviderError] = {}
        answers = self._caller.each(lambda place: change(place, list(wanted[place])), list(wanted))
        for ids, answer in zip(wanted.values(), answers, strict=True):
            errors |= dict.fromkeys(ids, answer) if isinstance(answer, ProviderError) else answer
        return errors

    def _remember(self, ids: set[InstanceId], instances: Behind) -> None:
        """Take note of who joined just now."""
        now = self._clock.now()
        with self._lock:
            self._joined = {key: at for key, at in self._joined.items() if now - at < _FIRST_CHECKS_SECONDS}
            self._joined |= {(id_, word): now for id_ in ids for word in instances[id_]}

    def _forget(self, seat: Seat) -> None:
        with self._lock:
            self._joined.pop((seat.id, seat.word), None)

    def _is_new(self, seat: Seat) -> bool:
        with self._lock:
            at = self._joined.get((seat.id, seat.word))
        return at is not None and 0 <= self._clock.now() - at < _FIRST_CHECKS_SECONDS


def _read(word: str) -> str:
    """Read a word of the notes: `web`, `REGION_web` or `pools_web`."""
    where, _, name = word.rpartition("_")
    if not where:
        return name
    return f"{POOLS}/{name}" if where == POOLS else f"regions/{where}/{name}"


def _missing(seat: Seat) -> str:
    """Return why there is no place for a machine; empty where there is one."""
    if seat.places:
        return ""
    if seat.balancer is None or not all(place.url for place in seat.balancer.places):
        return "which does not exist"
    return f"which has no instance group in {seat.zone}"


def _unfit(seat: Seat) -> ProviderError | None:
    """Return why a machine cannot have its place, and what to do about it; None where it can."""
    title, missing = title_of(seat.word), _missing(seat)
    if not missing:
        return None
    if missing == "which does not exist":
        hint = "make it in the provider's project, or leave it out of the group's machine"
        return ProviderError(f"gcp: {title} does not exist", hint=hint)
    return ProviderError(f"gcp: {title} has no instance group in {seat.zone}", hint=group_wanted(seat.zone))


def _leaving(seat: Seat, seconds: float) -> Standing:
    """Return how a machine stands that drains. Only time tells when its connections have ended."""
    balancer = seat.balancer
    if balancer is None or not seat.places or not (seat.held or seconds < balancer.draining_seconds):
        return FINE
    return Standing(awaits=f"{balancer.title}: draining")
