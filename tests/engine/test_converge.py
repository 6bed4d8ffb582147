"""The engine on a simulated cloud, in virtual time: what the world looks like afterwards, whatever went wrong."""

from dataclasses import replace
from threading import Event as Flag

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from infrakit_py.engine.converge import End, converge
from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.errors import Transient
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import FlavorSpec, RolloutSpec
from infrakit_py.stores.memory import MemoryStore
from tests.engine.harness import Lab, StillFlavor, group


def ready(lab: Lab, name: str = "web") -> int:
    return sum(lab.cloud.probe(m.id) is None for m in lab.machines(name))


def test_an_empty_cluster_converges() -> None:
    lab = Lab()
    assert lab.run(group()).end is End.CONVERGED
    assert lab.images() == ["a1"] * 3
    assert ready(lab) == 3


def test_a_converged_cluster_is_left_alone() -> None:
    lab = Lab()
    lab.run(group())
    before = [m.id for m in lab.machines()]
    assert lab.run(group()).end is End.CONVERGED
    assert [m.id for m in lab.machines()] == before


def test_a_converged_cluster_is_left_alone_after_the_store_is_lost() -> None:
    lab = Lab()
    lab.run(group())
    before = [m.id for m in lab.machines()]
    lab.store = MemoryStore()
    lab.run(group())
    assert [m.id for m in lab.machines()] == before


@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (0, 1), (3, 0), (1, 1)])
def test_a_new_image_replaces_all_and_never_goes_below_the_floor(surge: int, unavailable: int) -> None:
    lab = Lab({"boot_time": {"min": "5s", "max": "30s"}, "destroy_time": "7s", "gone_listed_for": "60s"})
    rollout = RolloutSpec(max_surge=Amount(surge), max_unavailable=Amount(unavailable))
    lab.run(group(size=5, rollout=rollout))
    lowest, most = 5, 5

    def watch(event: Event) -> None:
        nonlocal lowest, most
        lowest = min(lowest, ready(lab))
        most = max(most, sum(m.state is not InstanceState.LEAVING for m in lab.machines()))

    lab.on_event = watch
    assert lab.run(group(size=5, image="a2", rollout=rollout)).end is End.CONVERGED
    assert lab.images() == ["a2"] * 5
    assert lowest >= 5 - unavailable
    assert most <= 5 + surge


def test_named_members_keep_name_and_data_disk() -> None:
    lab = Lab()
    names = ("db-1", "db-2", "db-3")
    db = group("db", logical_ids=names, machine={"data_disk": "1GiB"})
    lab.run(db)
    disks = {m.tags["infrakit.logical_id"]: m.disk for m in lab.machines("db")}
    assert lab.run(replace(db, image="a2")).end is End.CONVERGED
    assert lab.images("db") == ["a2"] * 3
    assert {m.tags["infrakit.logical_id"]: m.disk for m in lab.machines("db")} == disks
    assert None not in disks.values()


def test_trap_1_a_provider_slower_than_its_client_gets_no_machine_twice() -> None:
    lab = Lab({"provision_delay": "30s", "listing_lag": "20s"})
    lab.cloud.fail(Call.PROVISION, Fault.LOST_REPLY, 3)
    assert lab.run(group(size=5)).end is End.CONVERGED
    assert len(lab.machines()) == 5


def test_late_listings_cause_no_second_launch() -> None:
    lab = Lab({"listing_lag": "45s", "boot_time": "1s"})
    assert lab.run(group(size=5)).end is End.CONVERGED
    assert len(lab.machines()) == 5


def test_an_edit_while_listings_are_late_causes_no_second_launch() -> None:
    lab = Lab({"listing_lag": "45s"})
    lab.run(group(size=4), timeout=1.0)
    assert lab.run(group(size=4, image="a2")).end is End.CONVERGED
    assert lab.images() == ["a2"] * 4


def test_a_lost_reply_and_a_lost_store_cause_no_second_launch() -> None:
    lab = Lab({"listing_lag": "45s"})
    lab.cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    lab.run(group(size=4), timeout=0.5)
    lab.store = MemoryStore()
    assert lab.run(group(size=4)).end is End.CONVERGED
    assert len(lab.machines()) == 4


def test_a_token_whose_machine_is_gone_gives_way_to_the_next() -> None:
    lab = Lab()
    lab.run(group(size=2))
    for machine in lab.machines():
        lab.cloud.stop(machine.id)
    lab.store = MemoryStore()
    assert lab.run(group(size=2)).end is End.CONVERGED
    lab.run(group(size=2, image="a2"))
    lab.store = MemoryStore()
    assert lab.run(group(size=2, image="a3")).end is End.CONVERGED
    assert lab.images() == ["a3"] * 2


def test_creations_cut_short_are_finished() -> None:
    lab = Lab()
    lab.cloud.fail(Call.PROVISION, Fault.CUT_SHORT)
    assert lab.run(group()).end is End.CONVERGED
    assert len(lab.machines()) == 3
    assert {m.state for m in lab.machines()} == {InstanceState.RUNNING}


def test_a_dead_machine_is_replaced_and_the_others_stay() -> None:
    lab = Lab()
    lab.run(group())
    victim, *others = lab.machines()
    lab.cloud.stop(victim.id)
    assert lab.run(group()).end is End.CONVERGED
    assert {m.id for m in others} < {m.id for m in lab.machines()}
    assert len(lab.machines()) == 3


def test_trap_2_a_machine_that_falls_ill_is_replaced_without_any_update() -> None:
    lab = Lab()
    lab.run(group())
    ill = lab.machines()[0]
    lab.cloud.set_sick(ill.id, sick=True)
    lab.clock.sleep(300.0)
    assert lab.run(group()).end is End.CONVERGED
    assert ill.id not in {m.id for m in lab.machines()}
    assert ready(lab) == 3


def test_trap_3_a_version_that_never_gets_healthy_ends_in_an_error_and_keeps_the_old() -> None:
    lab = Lab({"sick_images": ["a2"]})
    lab.run(group())
    old = {m.id for m in lab.machines()}
    settlement = lab.run(group(image="a2"))
    assert settlement.end is End.FAILED
    assert "1 new machine failed" in settlement.groups["web"].reason
    assert old <= {m.id for m in lab.machines()}
    assert len(lab.machines()) <= 4


def test_trap_17_one_failing_group_does_not_hold_up_another() -> None:
    lab = Lab({"zones": {"a": {"small": 3, "large": 0}}})
    settlement = lab.run(group(machine={"type": "large"}), group("api"), timeout=300.0)
    assert settlement.groups["api"].phase is Phase.CONVERGED
    assert settlement.groups["web"].phase is not Phase.CONVERGED


def test_trap_19_a_quota_is_not_asked_again() -> None:
    lab = Lab({"quota": 2})
    began = lab.clock.now()
    settlement = lab.run(group(size=5))
    assert settlement.end is End.FAILED
    assert "quota" in settlement.groups["web"].reason
    assert lab.clock.now() - began < 10.0


def test_a_lack_of_capacity_is_waited_out() -> None:
    lab = Lab()
    lab.cloud.fail(Call.PROVISION, Fault.CAPACITY, 3)
    assert lab.run(group()).end is End.CONVERGED
    assert len(lab.machines()) == 3


def test_trap_29_a_partial_view_replaces_nothing() -> None:
    lab = Lab()
    lab.run(group())
    before = {m.id for m in lab.machines()}
    engine = lab.engine(group())
    lab.cloud.fail(Call.DESCRIBE, Fault.INCOMPLETE_VIEW, 20)
    assert converge(engine, lab.clock, timeout_seconds=600.0, stop=Flag()).end is End.CONVERGED
    assert {m.id for m in lab.machines()} == before


def test_trap_30_machines_of_a_group_that_left_the_spec_are_found_by_their_tags() -> None:
    lab = Lab()
    lab.run(group(), group("old"))
    settlement = lab.run(group())
    assert settlement.groups["old"].phase is Phase.BLOCKED
    assert len(lab.machines("old")) == 3
    assert lab.run(group(), allow=True).end is End.CONVERGED
    assert lab.machines("old") == []


def test_trap_12_foreign_machines_are_neither_counted_nor_touched() -> None:
    lab = Lab()
    foreign = [
        lab.cloud.add_foreign("no-tags", {}),
        lab.cloud.add_foreign("other", {"infrakit.cluster": "shop-2", "infrakit.group": "web"}),
        lab.cloud.add_foreign("no-group", {"infrakit.cluster": "shop"}),
    ]
    lab.run(group())
    lab.run(group(size=0), allow=True)
    assert sorted(m.id for m in lab.cloud.everything()) == sorted(foreign)


def test_throttling_is_waited_out() -> None:
    lab = Lab()
    for call in (Call.PROVISION, Call.DESTROY, Call.DESCRIBE):
        lab.cloud.fail(call, Fault.THROTTLED, 2)
    lab.run(group())
    assert lab.run(group(image="a2")).end is End.CONVERGED
    assert lab.images() == ["a2"] * 3


def test_changed_tags_replace_nothing() -> None:
    lab = Lab()
    lab.run(group(flavor=FlavorSpec(tags={"tier": "web", "old": "x"})))
    before = {m.id for m in lab.machines()}
    lab.run(group(flavor=FlavorSpec(tags={"tier": "edge"})))
    assert {m.id for m in lab.machines()} == before
    assert {m.tags["tier"] for m in lab.machines()} == {"edge"}
    assert not [m for m in lab.machines() if "old" in m.tags]


def test_changed_rollout_settings_and_size_replace_nothing() -> None:
    lab = Lab()
    lab.run(group())
    before = {m.id for m in lab.machines()}
    lab.run(group(size=4, rollout=RolloutSpec(max_surge=Amount(2))))
    assert before < {m.id for m in lab.machines()}


def test_a_changed_machine_or_user_data_replaces() -> None:
    lab = Lab()
    lab.run(group())
    before = {m.id for m in lab.machines()}
    lab.run(group(machine={"type": "large"}))
    assert not before & {m.id for m in lab.machines()}
    before = {m.id for m in lab.machines()}
    options = {"user_data": {"template": "{{ instance.name }}"}}
    lab.run(group(machine={"type": "large"}, flavor=FlavorSpec(options=options)))
    assert not before & {m.id for m in lab.machines()}


def test_a_group_waits_for_those_it_depends_on() -> None:
    lab = Lab({"boot_time": "20s"})
    lab.run(group(depends_on=("db",)), group("db", logical_ids=("db-1",)))
    db_ready = next(e.at for e in lab.events if e.kind is EventKind.READY and e.group == "db")
    web_created = min(e.at for e in lab.events if e.kind is EventKind.CREATING and e.group == "web")
    assert web_created >= db_ready


def test_a_group_whose_dependency_failed_is_blocked() -> None:
    lab = Lab({"quota": 1})
    settlement = lab.run(group(depends_on=("db",)), group("db", logical_ids=("db-1", "db-2")))
    assert settlement.groups["web"].phase is Phase.BLOCKED
    assert "db" in settlement.groups["web"].reason
    assert lab.machines("web") == []


def test_a_stop_begins_no_further_call() -> None:
    lab = Lab()
    engine = lab.engine(group(size=3))
    stop = Flag()

    def stop_at_first(event: Event) -> None:
        if event.kind is EventKind.CREATED:
            stop.set()
            engine.interrupt()

    lab.run(group(size=3))
    lab.on_event = stop_at_first
    engine = lab.engine(group(size=3, image="a2"))
    settlement = converge(engine, lab.clock, timeout_seconds=600.0, stop=stop)
    assert settlement.end is End.INTERRUPTED
    assert lab.images() == ["a1", "a1", "a1", "a2"]
    assert lab.run(group(size=3, image="a2")).end is End.CONVERGED
    assert lab.images() == ["a2"] * 3


class StubbornFlavor(StillFlavor):
    """Drains for ever, and now and then not even that works."""

    drains = True

    def __init__(self) -> None:
        self.asked = 0

    def drain(self, instance: Instance) -> bool:
        self.asked += 1
        if self.asked % 2:
            raise Transient("cannot reach the load balancer")
        return False


def test_trap_3_a_drain_that_fails_is_shown_and_ends_at_its_deadline() -> None:
    lab = Lab()
    flavor = StubbornFlavor()
    lab.run(group(size=1), flavors={"web": flavor})
    began = lab.clock.now()
    settlement = lab.run(group(size=1, image="a2"), flavors={"web": flavor})
    assert settlement.end is End.CONVERGED
    assert flavor.asked > 2
    assert any("cannot reach the load balancer" in text for text in lab.told(EventKind.RETRY))
    assert lab.clock.now() - began >= 30.0
    assert lab.images() == ["a2"]


def test_trap_15_a_machine_that_may_not_be_destroyed_is_not_drained_either() -> None:
    lab = Lab()
    flavor = StubbornFlavor()
    lab.run(group(), flavors={"web": flavor})
    settlement = lab.run(group(size=1), flavors={"web": flavor})
    assert settlement.groups["web"].phase is Phase.BLOCKED
    assert flavor.asked == 0
    assert not [m for m in lab.machines() if "infrakit.draining" in m.tags]


def test_trap_24_one_machine_that_cannot_be_destroyed_holds_up_no_other() -> None:
    lab = Lab()
    lab.run(group(size=4))
    ours = lab.machines()
    lab.cloud.fail(Call.DESTROY, Fault.TRANSIENT, 1)
    lab.run(group(size=2))
    assert len(lab.machines()) == 2
    assert {m.id for m in lab.machines()} < {m.id for m in ours}
