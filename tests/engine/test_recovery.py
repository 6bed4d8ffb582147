"""What others do meanwhile, what takes long, and what the engine must not forget or give up on."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from threading import Event as Flag
from typing import Any

import pytest

from infrakit_groups.policies import rolling
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import Change, SimCloud
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import SystemClock
from infrakit_py.engine.cluster import Cluster, declared
from infrakit_py.engine.converge import End, converge
from infrakit_py.engine.engine import Engine, Phase
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.runner import ThreadRunner
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import RolloutSpec
from infrakit_py.stores.memory import MemoryStore
from tests.engine.harness import CHECK, IMAGES, Lab, StillFlavor, group, reconciler_of


def settle(lab: Lab, engine: Engine) -> End:
    return converge(engine, lab.clock, timeout_seconds=7200.0, stop=Flag()).end


def test_a_restart_in_a_bad_rollout_keeps_the_quorum_of_named_members() -> None:
    check = replace(CHECK, healthy_after=2, grace_seconds=20.0)
    lab = Lab({"boot_time": "1s", "sick_images": ["a2"]})
    db = group("db", logical_ids=("a", "b", "c"), health=check)
    lab.run(db)
    lab.clock.sleep(100.0)
    lab.run(replace(db, image="a2"), timeout=10.0)
    lab.clock.sleep(60.0)
    lab.run(replace(db, image="a2"), timeout=0.5)
    assert sum(lab.cloud.probe(m.id) is None for m in lab.machines("db")) >= 2


def test_a_machine_that_somebody_gave_to_another_group_is_let_go() -> None:
    lab = Lab()
    lab.run(group(), group("api", size=0))
    moved = lab.machines()[0]
    lab.cloud.tag([Change(moved.id, {"infrakit.group": "api"}, (), {})])
    lab.run(group(), group("api", size=1))
    assert len(lab.machines()) == 3
    assert lab.run(group(image="a2"), group("api", size=1)).groups["web"].phase is Phase.CONVERGED


@pytest.mark.parametrize("lose_store", [False, True], ids=["store kept", "store lost"])
def test_a_machine_that_somebody_took_our_tags_off_is_let_go(lose_store: bool) -> None:
    lab = Lab()
    lab.run(group())
    detached = lab.machines()[0]
    ours = tuple(key for key in detached.tags if key.startswith("infrakit."))
    lab.cloud.tag([Change(detached.id, {}, ours, {})])
    if lose_store:
        lab.store = MemoryStore()
    assert lab.run(group()).end is End.CONVERGED
    assert len(lab.machines()) == 3
    assert detached.id in {m.id for m in lab.cloud.everything()}


def test_waiting_for_another_group_is_no_lack_of_progress() -> None:
    lab = Lab({"boot_time": "100s"})
    check = replace(CHECK, grace_seconds=300.0)
    db = group("db", size=10, health=check, rollout=RolloutSpec(max_surge=Amount(1)))
    lab.run(db)
    assert lab.run(replace(db, image="a2"), group("web", depends_on=("db",), health=check)).end is End.CONVERGED


@pytest.mark.parametrize("fault", [None, Fault.TRANSIENT], ids=["machine dies", "and a listing fails"])
def test_a_group_that_converged_long_ago_has_all_its_time_again(fault: Fault | None) -> None:
    lab = Lab()
    engine = lab.engine(group())
    settle(lab, engine)
    lab.clock.sleep(700.0)
    lab.cloud.stop(lab.machines()[0].id)
    if fault is not None:
        lab.cloud.fail(Call.DESCRIBE, fault, 3)
    engine.wake()
    assert settle(lab, engine) is End.CONVERGED


class SlowToLeave(StillFlavor):
    drains = True

    def drain(self, instance: Instance) -> bool:
        del instance
        return False


def test_a_long_drain_has_its_own_deadline() -> None:
    lab = Lab()
    flavors = {"web": SlowToLeave()}
    rollout = RolloutSpec(drain_timeout_seconds=900.0)
    lab.run(group(size=4, rollout=rollout), flavors=flavors)
    assert lab.run(group(size=3, rollout=rollout), flavors=flavors).end is End.CONVERGED


def test_a_creation_cut_short_of_a_name_that_was_dropped_is_cleared_away() -> None:
    lab = Lab()
    lab.run(group("db", logical_ids=("a", "b")))
    lab.cloud.fail(Call.PROVISION, Fault.CUT_SHORT, 1)
    lab.run(group("db", logical_ids=("a", "b", "c")), timeout=0.5)
    assert lab.run(group("db", logical_ids=("a", "b"))).end is End.CONVERGED
    assert len(lab.machines("db")) == 2


class Tattling(SimulatedProvider):
    """Something happens right after a listing was taken, and it says so."""

    happens: Any = None

    def describe(self, cluster: str) -> Sequence[Instance]:
        seen = super().describe(cluster)
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return seen


def test_a_wake_up_during_a_tick_is_not_lost() -> None:
    lab = Lab()
    lab.provider = provider = Tattling(lab.cloud)
    engine = lab.engine(group())
    settle(lab, engine)

    def die() -> None:
        lab.cloud.stop(lab.machines()[0].id)
        engine.wake()

    provider.happens = die
    lab.clock.sleep(5.0)
    engine.wake()
    assert settle(lab, engine) is End.CONVERGED
    assert InstanceState.STOPPED not in {m.state for m in lab.machines()}


def test_one_machine_that_is_refused_its_tags_does_not_stop_the_others() -> None:
    lab = Lab({"quota": 4})
    settlement = lab.run(group(size=3), group("api", size=3))
    assert settlement.end is End.FAILED
    assert len(lab.machines("web")) + len(lab.machines("api")) >= 3


def test_a_listener_that_fails_hangs_nothing() -> None:
    clock = SystemClock()
    cloud = SimCloud(SimSettings.model_validate({"boot_time": "10ms"}), clock)
    providers = {"sim": SimulatedProvider(cloud)}
    wanted, flavor = group(), StillFlavor()
    made = {"web": declared("shop", wanted, IMAGES[wanted.image], flavor, rolling)}
    cluster = Cluster("shop", 1, providers, made, {})
    runner, store = ThreadRunner(2), MemoryStore()

    def fail(event: Event) -> None:
        if event.kind in (EventKind.CONVERGED, EventKind.CREATED):
            raise ValueError("I/O operation on closed file")

    observer = Observer("shop", providers, store, HealthMonitor(clock, runner), clock)
    executor = Executor(cluster, store, runner, clock, fail, Limiters().of(providers, clock.now()))
    engine = Engine(
        cluster, reconciler_of(cluster, observer, executor, store, clock), runner, clock, fail, poll_seconds=0.1
    )
    ends: list[End] = []
    loop = threading.Thread(
        target=lambda: ends.append(converge(engine, clock, timeout_seconds=20.0, stop=Flag()).end), daemon=True
    )
    loop.start()
    loop.join(30.0)
    assert ends == [End.CONVERGED]
    runner.close()
    cloud.close()
