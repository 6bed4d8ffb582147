"""Who keeps a cluster for a controller: opened for each task anew, as declared, or until nothing of it is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from infrakit_py.app.looking import group_document
from infrakit_py.app.root import App
from infrakit_py.app.workbench import Workbench
from infrakit_py.engine.controller import Keeper, Opened, Task
from infrakit_py.engine.engine import Engine, GroupStatus, Phase
from infrakit_py.engine.events import Listener
from infrakit_py.engine.execute import allowed
from infrakit_py.engine.meter import Meter
from infrakit_py.errors import ProviderError, UsageError
from infrakit_py.model.spec import Json
from infrakit_py.spi.store import Store


def keeper_of(
    app: App,
    task: Task,
    store: Store,
    listener: Listener,
    *,
    parallelism: int,
    allow_mass_destroy: bool,
    permit: Callable[[], None] = allowed,
    meter: Meter | None = None,
) -> Keeper:
    """Make who keeps a cluster. The caller holds it; `permit` proves that it still does."""

    @contextmanager
    def opened(wanted: Task) -> Iterator[Opened]:
        _check_prunable(wanted)
        with app.workbench(
            wanted.spec,
            store,
            parallelism=parallelism,
            allow_mass_destroy=allow_mass_destroy,
            destroy=wanted.prune,
            revision=wanted.revision or None,
            permit=permit,
            meter=meter,
        ) as bench:
            engine = bench.engine(listener, bench.cluster.groups, endless=not wanted.prune)
            more = _never if wanted.prune else partial(app.shows_more, bench)
            finish = partial(_finish_pruning, bench, engine, wanted, listener) if wanted.prune else None
            yield Opened(engine, bench.runner, more, partial(_document, bench), finish)

    return Keeper(task, opened, app.clock, listener, Random())


def _document(bench: Workbench, group: str, status: GroupStatus) -> Json:
    return group_document(bench, group, status.plan) if status.plan is not None else None


def _never() -> bool:
    return False


def _check_prunable(task: Task) -> None:
    kept = [group.name for group in task.spec.groups.values() if group.prevent_destroy]
    if task.prune and kept:
        raise UsageError(
            f"{', '.join(kept)} must not be destroyed, although nobody declares the cluster any more",
            hint="declare it again with prevent_destroy: false first, or do not prune it",
        )


def _finish_pruning(bench: Workbench, engine: Engine, task: Task, listener: Listener) -> None:
    """Delete what machines left behind, but no data, and forget the cluster. ProviderError where some remains."""
    for name, status in engine.statuses().items():
        if status.phase is not Phase.CONVERGED:
            raise ProviderError(f"group {name}: {status.reason or status.phase.value}", hint=status.hint or None)
    errors = bench.sweep((), keep_data=True, listener=listener)
    if errors:
        raise errors[0]
    bench.store.retire(task.spec.name, task.revision)
