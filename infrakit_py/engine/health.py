"""Verdicts from answers in a row. Remembered in this process only: a new one asks again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.probe import probe
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import UNKNOWN_HEALTH, Health, Instance, InstanceId, InstanceState, Verdict
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.provider import Provider

PROBES_AT_ONCE: Final = 64
_FORGOTTEN_AFTER_SECONDS: Final = 3600.0


@dataclass(slots=True)
class _Record:
    health: Health = UNKNOWN_HEALTH
    healthy_in_a_row: int = 0
    unhealthy_in_a_row: int = 0
    due: float = 0.0


class HealthMonitor:
    """Checks running machines in parallel, each at its interval, and keeps the verdicts."""

    def __init__(self, clock: Clock, runner: Runner) -> None:
        self._clock = clock
        self._runner = runner
        self._lock = Lock()
        self._records: dict[InstanceId, _Record] = {}

    def check(
        self, instances: Sequence[tuple[Provider, Instance]], check: HealthCheck
    ) -> Mapping[InstanceId, Health]:
        """Ask those that are due, and return the verdict on each running instance."""
        now = self._clock.now()
        running = [(p, i) for p, i in instances if i.state is InstanceState.RUNNING]
        with self._lock:
            self._forget(now)
            records = {i.id: self._records.setdefault(i.id, _Record()) for _, i in running}
        due = [(p, i) for p, i in running if records[i.id].due <= now]
        answers = self._runner.map([partial(_ask, p, i, check) for p, i in due], PROBES_AT_ONCE)
        for (_, instance), answer in zip(due, answers, strict=True):
            _note(records[instance.id], answer, check, now)
        return {id_: record.health for id_, record in records.items()}

    def _forget(self, now: float) -> None:
        """Drop machines that were not asked for long: they are no more."""
        for old in [id_ for id_, record in self._records.items() if record.due < now - _FORGOTTEN_AFTER_SECONDS]:
            del self._records[old]

    def is_settled(self, instance_ids: Sequence[InstanceId]) -> bool:
        """Tell whether every one of these has a verdict that further checks would have to overturn."""
        with self._lock:
            records = [self._records[id_] for id_ in instance_ids if id_ in self._records]
        return all(record.health.verdict is not Verdict.UNKNOWN for record in records)


def _ask(provider: Provider, instance: Instance, check: HealthCheck) -> str | ProviderError | None:
    try:
        return probe(provider, instance, check)
    except ProviderError as exc:
        return exc


def _note(record: _Record, answer: str | ProviderError | None, check: HealthCheck, now: float) -> None:
    record.due = now + check.interval_seconds
    before = record.health
    match answer:
        case None:
            record.healthy_in_a_row += 1
            record.unhealthy_in_a_row = 0
            if record.healthy_in_a_row >= check.healthy_after:
                record.health = Health(Verdict.HEALTHY, ever_healthy=True)
        case str():
            record.unhealthy_in_a_row += 1
            record.healthy_in_a_row = 0
            verdict = Verdict.UNHEALTHY if record.unhealthy_in_a_row >= check.unhealthy_after else before.verdict
            reason = "" if verdict is Verdict.HEALTHY else answer
            record.health = Health(verdict, reason, before.ever_healthy)
        case ProviderError():
            record.healthy_in_a_row = record.unhealthy_in_a_row = 0
            record.health = Health(Verdict.UNKNOWN, str(answer), before.ever_healthy)
