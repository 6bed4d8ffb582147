"""Rollouts that stop themselves, go back, wait for their windows: the engine in virtual time."""

from dataclasses import replace

import pytest

from infrakit_providers.simulated.machines import Machine
from infrakit_py.engine.converge import End
from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import EventKind
from infrakit_py.engine.versions import RESUMED
from infrakit_py.model.quantities import Amount
from infrakit_py.model.revision import VersionState
from infrakit_py.model.spec import OnFailure, RolloutSpec, Strategy, Window
from infrakit_py.spi.store import Pause
from tests.engine.harness import CHECK, Lab, group

ONE_STEP = RolloutSpec(steps=(Amount(1),), on_failure=OnFailure.ROLLBACK)


class Watched(Lab):
    """A lab that notes after each event how many machines of each image there are, and how many of them answer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.most: dict[str, int] = {}
        self.fewest = 10**9
        self.on_event = self._look

    def _look(self, event: object) -> None:
        self.events.append(event)  # type: ignore[arg-type]  # what the engine tells are events
        images = self.images()
        for image in images:
            self.most[image] = max(self.most.get(image, 0), images.count(image))
        self.fewest = min(self.fewest, sum(self._serves(m) for m in self.machines()))

    def _serves(self, machine: Machine) -> bool:
        return machine.state == "running" and self.cloud.probe(machine.id) is None

    def forget(self) -> None:
        self.most, self.fewest = {}, 10**9


def test_a_bad_version_is_rolled_back_after_one_machine() -> None:
    lab = Watched({"sick_images": ["a2"]})
    lab.run(group(size=4, rollout=ONE_STEP))
    lab.forget()
    settlement = lab.run(group(size=4, image="a2", rollout=ONE_STEP))
    assert settlement.end is End.FAILED
    assert settlement.groups["web"].phase is Phase.ROLLED_BACK
    assert "1 new machine failed" in settlement.groups["web"].reason
    assert lab.images() == ["a1"] * 4
    assert lab.most["a2"] == 1
    assert lab.fewest >= 4
    assert len(lab.told(EventKind.ROLLBACK)) == 1


def test_what_was_rolled_back_is_not_tried_again_by_a_new_process() -> None:
    lab = Watched({"sick_images": ["a2"]})
    lab.run(group(size=4, rollout=ONE_STEP))
    lab.run(group(size=4, image="a2", rollout=ONE_STEP))
    lab.forget()
    assert lab.run(group(size=4, image="a2", rollout=ONE_STEP)).groups["web"].phase is Phase.ROLLED_BACK
    assert "a2" not in lab.most


def test_trap_13_a_rollback_goes_to_the_last_good_version_and_not_to_the_one_before_the_change() -> None:
    lab = Watched({"sick_images": ["a2", "a3"]})
    lab.run(group(size=4, rollout=ONE_STEP))
    lab.run(group(size=4, image="a2", rollout=ONE_STEP))
    lab.run(group(size=4, image="a3", rollout=ONE_STEP))
    assert lab.images() == ["a1"] * 4


def test_a_rollback_that_fails_is_not_rolled_back() -> None:
    lab = Watched({"sick_images": ["a2"]})
    wanted = group(size=2, rollout=replace(ONE_STEP, max_unavailable=Amount(1), max_surge=Amount(0)))
    lab.run(wanted)
    lab.provider.mishap("sick-image", 0, "a1")
    settlement = lab.run(replace(wanted, image="a2"), timeout=3600)
    assert settlement.end is not End.CONVERGED
    assert len(lab.told(EventKind.ROLLBACK)) == 1


def test_without_a_way_back_the_rollout_stops_and_a_cure_is_taken_up() -> None:
    lab = Watched({"sick_images": ["a2"]})
    lab.run(group(size=4))
    settlement = lab.run(group(size=4, image="a2"))
    assert settlement.groups["web"].phase is Phase.STOPPED
    assert lab.images().count("a2") == 1
    assert lab.run(group(size=4, image="a3")).end is End.CONVERGED
    assert lab.images() == ["a3"] * 4


def test_a_stopped_rollout_is_tried_again_when_a_person_says_so() -> None:
    lab = Watched()
    lab.run(group(size=4))
    lab.provider.mishap("sick-image", 0, "a2")
    assert lab.run(group(size=4, image="a2")).groups["web"].phase is Phase.STOPPED
    lab.provider.mishap("relief", 0, "")
    (record,) = [r for r in lab.store.versions("shop", "web") if r.state is VersionState.FAILED]
    lab.store.note_version("shop", record.version, VersionState.ROLLING, lab.clock.now(), RESUMED)
    assert lab.run(group(size=4, image="a2")).end is End.CONVERGED
    assert lab.images() == ["a2"] * 4


@pytest.mark.parametrize("steps", [(Amount(1), Amount(3)), (Amount(25, percent=True), Amount(50, percent=True))])
def test_trap_16_a_batch_stops_exactly_at_a_step(steps: tuple[Amount, ...]) -> None:
    lab = Watched()
    rollout = RolloutSpec(steps=steps, bake_seconds=300.0, max_surge=Amount(8))
    lab.run(group(size=8, rollout=rollout))
    engine = lab.engine(group(size=8, image="a2", rollout=rollout))
    began = lab.clock.now()
    seen = set()
    for _ in lab.ticks(engine):
        seen.add(lab.images().count("a2"))
    at = [step.rounded_up(8) for step in steps]
    assert seen <= {0, *at, 8}
    assert lab.clock.now() - began >= 3 * 300.0
    assert lab.images() == ["a2"] * 8


def test_a_paused_rollout_makes_no_new_version_and_still_heals() -> None:
    lab = Watched()
    lab.run(group(size=3))
    lab.store.pause("shop", "web", Pause("frozen", lab.clock.now()))
    lab.cloud.stop(lab.machines()[0].id, "killed")
    engine = lab.engine(group(size=3, image="a2"))
    for _ in zip(range(60), lab.ticks(engine), strict=False):
        assert "a2" not in lab.images()
    assert lab.images() == ["a1"] * 3
    lab.store.pause("shop", "web", None)
    assert lab.run(group(size=3, image="a2")).end is End.CONVERGED
    assert lab.images() == ["a2"] * 3


def test_outside_its_windows_nothing_is_rolled_out() -> None:
    lab = Watched()
    midnight = lab.clock.now() // 86400 * 86400
    opens = int((lab.clock.now() - midnight) // 60 + 120) % 1440
    rollout = RolloutSpec(windows=(Window(start_minutes=opens, duration_seconds=3600.0),))
    lab.run(group(rollout=rollout))
    began = lab.clock.now()
    assert lab.run(group(image="a2", rollout=rollout), timeout=86400.0).end is End.CONVERGED
    assert 110 * 60 <= lab.clock.now() - began <= 180 * 60
    assert lab.images() == ["a2"] * 3


def test_recreate_never_has_both_versions() -> None:
    lab = Watched()
    rollout = RolloutSpec(strategy=Strategy.RECREATE)
    lab.run(group(rollout=rollout))
    engine = lab.engine(group(image="a2", rollout=rollout))
    for _ in lab.ticks(engine):
        assert len(set(lab.images())) <= 1
    assert lab.images() == ["a2"] * 3


def test_blue_green_makes_a_full_second_set_before_the_first_old_one_goes_and_keeps_the_old_for_a_while() -> None:
    lab = Watched()
    rollout = RolloutSpec(strategy=Strategy.BLUE_GREEN, keep_old_seconds=600.0, bake_seconds=60.0)
    lab.run(group(rollout=rollout))
    began = lab.clock.now()
    engine = lab.engine(group(image="a2", rollout=rollout))
    both_since = None
    for _ in lab.ticks(engine):
        images = lab.images()
        assert images.count("a1") in (0, 3), images
        if images == ["a1"] * 3 + ["a2"] * 3 and both_since is None:
            both_since = lab.clock.now()
        if images.count("a1") == 0:
            assert images == ["a2"] * 3
    assert both_since is not None
    assert lab.clock.now() - began >= 660.0
    assert lab.images() == ["a2"] * 3


def test_undoing_blue_green_while_the_old_set_is_kept_is_instant() -> None:
    lab = Watched()
    rollout = RolloutSpec(strategy=Strategy.BLUE_GREEN, keep_old_seconds=3600.0)
    lab.run(group(rollout=rollout))
    lab.run(group(image="a2", rollout=rollout), timeout=600.0)
    old = {m.id for m in lab.machines() if m.tags["infrakit.image"].startswith("a1")}
    assert len(old) == 3
    began = lab.clock.now()
    assert lab.run(group(image="a1", rollout=replace(rollout, keep_old_seconds=0.0))).end is End.CONVERGED
    assert {m.id for m in lab.machines()} == old
    assert lab.clock.now() - began < 10.0


def test_min_ready_delays_what_counts_as_ready() -> None:
    lab = Watched()
    rollout = RolloutSpec(min_ready_seconds=120.0)
    lab.run(group(size=1, rollout=rollout))
    began = lab.clock.now()
    lab.run(group(size=1, image="a2", rollout=rollout))
    assert lab.clock.now() - began >= 120.0


def test_another_change_in_mid_rollout_is_taken_up_at_once_and_keeps_the_floor() -> None:
    lab = Watched()
    lab.run(group(size=4))
    lab.forget()
    lab.run(group(size=4, image="a2"), timeout=8.0)
    assert len(set(lab.images())) == 2
    assert lab.run(group(size=4, image="a3")).end is End.CONVERGED
    assert lab.images() == ["a3"] * 4
    assert lab.fewest >= 4


def test_the_clusters_budget_is_shared_by_its_groups() -> None:
    lab = Lab()
    rollout = RolloutSpec(max_surge=Amount(0), max_unavailable=Amount(2))
    names = ("web", "api", "db")
    lab.run(*(group(name, size=4, rollout=rollout) for name in names))
    engine = lab.engine(*(group(n, size=4, rollout=rollout, image="a2") for n in names), budget=Amount(2))
    for _ in lab.ticks(engine):
        serving = sum(m.state == "running" for name in names for m in lab.machines(name))
        assert serving >= 10, serving
    assert all(lab.images(name) == ["a2"] * 4 for name in names)


def test_a_machine_that_is_too_old_is_replaced_one_at_a_time() -> None:
    lab = Watched()
    lab.run(group(max_age_seconds=7200.0))
    first = {m.id for m in lab.machines()}
    lab.clock.sleep(7200.0)
    lab.forget()
    lab.run(group(max_age_seconds=7200.0))
    assert not first & {m.id for m in lab.machines()}
    assert lab.fewest >= 3


def test_a_protected_machine_outlives_a_rollout() -> None:
    lab = Watched()
    lab.run(group(health=CHECK))
    kept = lab.machines()[0]
    lab.cloud.tag([_protecting(kept)])
    assert lab.run(group(image="a2")).end is End.CONVERGED
    assert kept.id in {m.id for m in lab.machines()}
    assert lab.images() == ["a1", "a2", "a2"]


def _protecting(machine: Machine):  # type: ignore[no-untyped-def]  # a change of the simulated cloud's
    from infrakit_providers.simulated.cloud import Change

    return Change(machine.id, {"infrakit.protected": "true"})


def test_what_is_gone_back_to_is_what_was_good_last() -> None:
    lab = Watched({"sick_images": ["a3"]})
    for image in ("a1", "a2", "a1"):
        assert lab.run(group(image=image)).end is End.CONVERGED
    lab.run(group(image="a3", rollout=ONE_STEP))
    assert lab.images() == ["a1"] * 3
