"""`infra` in the caller's thread, so that time may be virtual."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event as Flag
from typing import Any

import yaml

from infrakit_py.app import App
from infrakit_py.engine.converge import Settlement
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event
from infrakit_py.engine.runner import InlineRunner, Runner
from infrakit_py.spi.store import Store


@dataclass(frozen=True, slots=True)
class InlineApp(App):
    """An App that does everything in the caller's thread."""

    seed: int = 1

    def _runner(self, parallelism: int) -> Runner:
        del parallelism
        return InlineRunner()

    def _chance(self) -> Random:
        return Random(self.seed)


def write(directory: Path, document: Mapping[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "cluster.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@contextmanager
def engine_of(
    app: App, path: Path, store: Store, listener: Callable[[Event], None] = lambda _: None, *, endless: bool = False
) -> Iterator[Engine]:
    """Open a cluster as a new process does, and make its engine."""
    (spec,) = app.load([path])
    with app.workbench(spec, store, allow_mass_destroy=True) as bench:
        yield bench.engine(listener, bench.cluster.groups, endless=endless)


def apply_inline(
    app: App,
    path: Path,
    store: Store,
    listener: Callable[[Event], None] = lambda _: None,
    *,
    poll_seconds: float = 1.0,
    timeout_seconds: float = 7200.0,
) -> Settlement:
    """Do what `infra apply` does."""
    (spec,) = app.load([path])
    with app.workbench(spec, store, allow_mass_destroy=True) as bench:
        engine = bench.engine(listener, bench.cluster.groups, poll_seconds=poll_seconds)
        return bench.converge(engine, timeout_seconds=timeout_seconds, stop=Flag())
