"""Verdicts from answers in a row, and since when a machine has been healthy.

It decides nothing, and knows no groups: which machines are watched, and by which check, is said at every look.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from threading import Lock
from types import MappingProxyType
from typing import Final, TypeAlias

from infrakit_py.clock import Clock
from infrakit_py.engine.probe import ask, prober_of
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import UNKNOWN_HEALTH, Health, Instance, InstanceId, InstanceState, Verdict
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.provider import Probing, Provider
from infrakit_py.spi.store import ONCE

PROBES_AT_ONCE: Final = 64
_SWEEP_SECONDS: Final = 86_400.0
"""Long enough that a provider which cannot be asked for a night restarts no bake."""
_LEFT_OVER_SECONDS: Final = 600.0
"""What an earlier process noted, and no look has shown for so long, all of which went well, is of no machine."""
_NOTHING: Final[Mapping[InstanceId, float]] = MappingProxyType({})

WatchKey: TypeAlias = tuple[str, InstanceId]
"""A provider's name and an id there: two providers may give the same id."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A machine and who reports it. `provider_name` is the provider's name in the spec."""

    provider_name: str
    provider: Provider
    instance: Instance


class HealthMonitor:
    """Checks running machines in parallel, each at its interval, and keeps the verdicts. Safe for threads."""

    def __init__(
        self,
        clock: Clock,
        runner: Runner,
        remembered: Mapping[InstanceId, float] = _NOTHING,
        remember: Callable[[Mapping[InstanceId, float | None]], None] = lambda _: None,
    ) -> None:
        """`remembered`: since when machines were healthy, as an earlier process told its `remember`."""
        self._clock = clock
        self._runner = runner
        self._remembered = dict(remembered)
        self._remember = remember
        self._lock = Lock()
        self._records: dict[WatchKey, _Record] = {}
        self._swept_at = clock.now()
        self._blind_at = inf

    def check(
        self, members: Sequence[Watched], check: HealthCheck, flavor: Flavor | None, lane: str = ""
    ) -> Mapping[WatchKey, Health]:
        """Ask those that are due, and return the verdict on each running machine, in the order of `members`.

        Those that do not run, and did, follow: of unknown health, with no more than whether they ever answered.

        Without a declared check nobody is asked. `remember` is called at most once, with all that changed; its
        errors leave this call, and what it could not take about `members` it is told again. Those that do not answer
        keep no checks of another `lane` waiting.
        """
        now = self._clock.now()
        running = [member for member in members if member.instance.state is InstanceState.RUNNING]
        others = [member for member in members if member.instance.state is not InstanceState.RUNNING]
        with self._lock:
            ended = self._end_rows(others, now)
            records, due = self._look(running, check, now)
            changes: dict[InstanceId, float | None] = {**self._sweep(now)}
        answers = self._ask([member for member, _ in due], check, flavor, lane) if due else ()
        with self._lock:
            for (_, record), answer in zip(due, answers, strict=True):
                record.hear(answer, check, now)
            changed = {id_: record for (_, id_), record in records.items() if record.is_news}
            changed |= {id_: record for (_, id_), record in ended.items() if record.noted != record.to_note}
        changes |= {id_: record.to_note for id_, record in changed.items()}
        if changes:
            self._remember(changes)
            for id_, record in changed.items():
                record.noted = changes[id_]
        return {key: record.health for known in (records, ended) for key, record in known.items()}

    def looks_at_all(self) -> None:
        """Note that all machines of all groups are shown here from now on: what is not, for a while, is no more."""
        self._blind_at = self._clock.now()

    def could_not_look(self) -> None:
        """Note that some provider did not answer: what is not seen may be there all the same."""
        self._blind_at = max(self._blind_at, self._clock.now())

    def is_settled(self, keys: Sequence[WatchKey]) -> bool:
        """Tell whether every one of these has a verdict that further checks would have to overturn."""
        with self._lock:
            records = [self._records[key] for key in keys if key in self._records]
        return all(record.health.verdict is not Verdict.UNKNOWN for record in records)

    def all_well(self, keys: Sequence[WatchKey]) -> bool:
        """Tell whether each of these is healthy, and its last answer said so."""
        with self._lock:
            records = [self._records.get(key) for key in keys]
        return all(record is not None and record.is_undoubted for record in records)

    def _ask(
        self, members: Sequence[Watched], check: HealthCheck, flavor: Flavor | None, lane: str
    ) -> Sequence[str | ProviderError | None]:
        providers = {member.provider_name: member.provider for member in members}
        probers = {name: prober_of(provider) for name, provider in providers.items()}
        asks = [partial(_answer, probers[m.provider_name], m.instance, check, flavor) for m in members]
        return self._runner.map(asks, PROBES_AT_ONCE, lane)

    def _look(
        self, running: Sequence[Watched], check: HealthCheck, now: float
    ) -> tuple[dict[WatchKey, "_Record"], list[tuple[Watched, "_Record"]]]:
        """Return the records of all, and those that are to be asked now. The others are judged already."""
        records: dict[WatchKey, _Record] = {}
        due: list[tuple[Watched, _Record]] = []
        asks = check.asks
        for member in running:
            instance = member.instance
            key = (member.provider_name, instance.id)
            record = self._current(key, instance) or self._begin(key, instance, now)
            record.seen = now
            records[key] = record
            if instance.impaired:
                record.is_ill(instance.impaired)
                record.due = -inf
            elif not_yet := instance.lacks or instance.awaits:
                record.waits(not_yet)
                record.due = -inf
            elif not asks:
                record.is_well(now)
            elif not now < record.due <= now + check.interval_seconds:  # a clock that was set back delays nothing
                record.due = now + check.interval_seconds
                due.append((member, record))
        return records, due

    def _begin(self, key: WatchKey, instance: Instance, now: float) -> "_Record":
        noted = self._remembered.pop(instance.id, None)
        # A provider may give an id again: what was noted before the launch was said of another machine.
        ever_healthy = noted is not None and (noted == ONCE or noted >= instance.launched_at)
        goes_on = noted is not None and noted != ONCE and instance.launched_at <= noted <= now
        since = noted if goes_on else None
        health = replace(UNKNOWN_HEALTH, ever_healthy=ever_healthy)
        record = self._records[key] = _Record(now, noted, since, health=health, launched_at=instance.launched_at)
        return record

    def _current(self, key: WatchKey, instance: Instance) -> "_Record | None":
        """Return what is known of a machine: nothing of one whose id was that of another machine before."""
        record = self._records.get(key)
        if record is not None and record.launched_at < instance.launched_at:
            del self._records[key]
            return None
        return record

    def _end_rows(self, stopped: Sequence[Watched], now: float) -> dict[WatchKey, "_Record"]:
        """Begin anew with machines that do not run, and return the records of those that anything is known of."""
        ended: dict[WatchKey, _Record] = {}
        for member in stopped:
            id_ = member.instance.id
            key = (member.provider_name, id_)
            record = self._current(key, member.instance)
            if record is None and id_ in self._remembered:
                record = self._begin(key, member.instance, now)
            if record is not None:
                health = Health(Verdict.UNKNOWN, ever_healthy=record.health.ever_healthy)
                launched_at = member.instance.launched_at
                ended[key] = self._records[key] = _Record(now, record.noted, health=health, launched_at=launched_at)
        return ended

    def _sweep(self, now: float) -> Mapping[InstanceId, None]:
        """Now and then drop, and return, what was not seen since the last time: those machines are no more.

        What processes before this one noted goes sooner: many of them may have lived for less than that time.
        """
        lost: list[InstanceId] = []
        is_time = now - self._swept_at >= _SWEEP_SECONDS
        if is_time or now - self._blind_at >= _LEFT_OVER_SECONDS:
            lost += self._remembered
            self._remembered.clear()
        if is_time:
            old = {key: record for key, record in self._records.items() if record.seen < self._swept_at}
            lost += [id_ for (_, id_), record in old.items() if record.noted is not None]
            for key in old:
                del self._records[key]
            self._swept_at = now
        return dict.fromkeys(lost)


@dataclass(slots=True)
class _Record:
    """What is known of one machine.

    `noted` is what `remember` was told last, `since` when the healthy row began that no verdict has ended yet,
    and `row_began` the time of the first of the `healthy_in_a_row` answers.
    """

    seen: float
    noted: float | None = None
    since: float | None = None
    health: Health = UNKNOWN_HEALTH
    healthy_in_a_row: int = 0
    unhealthy_in_a_row: int = 0
    row_began: float = 0.0
    due: float = -inf
    launched_at: float = 0.0

    @property
    def to_note(self) -> float | None:
        """What there is to remember: since when it is healthy, else whether it ever was."""
        if self.health.since is not None:
            return self.health.since
        return ONCE if self.health.ever_healthy else None

    @property
    def is_news(self) -> bool:
        """Whether there is a verdict, and what is remembered says otherwise."""
        return self.noted != self.to_note and self.health.verdict is not Verdict.UNKNOWN

    @property
    def is_undoubted(self) -> bool:
        """Whether it is healthy, and nothing was heard since that says otherwise."""
        return self.health.verdict is Verdict.HEALTHY and not self.unhealthy_in_a_row

    def hear(self, answer: str | ProviderError | None, check: HealthCheck, now: float) -> None:
        match answer:
            case None:
                self.row_began = self.row_began if self.healthy_in_a_row else now
                self.healthy_in_a_row += 1
                self.unhealthy_in_a_row = 0
                if self.healthy_in_a_row >= check.healthy_after:
                    self.is_well(self.row_began)
            case str():
                self.unhealthy_in_a_row += 1
                self.healthy_in_a_row = 0
                if self.unhealthy_in_a_row >= check.unhealthy_after or self.health.verdict is Verdict.UNHEALTHY:
                    self.is_ill(answer)
                elif self.health.verdict is Verdict.UNKNOWN:
                    self.health = replace(self.health, reason=answer)
            case ProviderError():
                self.healthy_in_a_row = self.unhealthy_in_a_row = 0
                self.health = replace(self.health, verdict=Verdict.UNKNOWN, reason=str(answer))

    def is_well(self, began: float) -> None:
        """Take it for healthy: since `began`, unless a row that no verdict has ended goes on."""
        if self.health.verdict is not Verdict.HEALTHY:
            self.since = began if self.since is None else self.since
            self.health = Health(Verdict.HEALTHY, ever_healthy=True, since=self.since)

    def waits(self, reason: str) -> None:
        """Take it for neither: what it waits for is not its own doing."""
        self.since = None
        self.healthy_in_a_row = self.unhealthy_in_a_row = 0
        self.health = Health(Verdict.UNKNOWN, reason, self.health.ever_healthy)

    def is_ill(self, reason: str) -> None:
        self.since = None
        self.healthy_in_a_row = 0
        if self.health.verdict is not Verdict.UNHEALTHY or self.health.reason != reason:
            self.health = Health(Verdict.UNHEALTHY, reason, self.health.ever_healthy)


def _answer(
    prober: Probing | None, instance: Instance, check: HealthCheck, flavor: Flavor | None
) -> str | ProviderError | None:
    try:
        return ask(prober, instance, check, flavor)
    except ProviderError as exc:
        return exc
