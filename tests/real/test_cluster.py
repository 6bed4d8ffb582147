"""A cluster of real virtual machines, through the command line: what its user was promised."""

import json
import random
import shutil

import pytest

from tests.real.operator import Hypervisor, Operator, polled, wait_for

pytestmark = pytest.mark.real

KILLS = 5


@pytest.mark.long
def test_a_cluster_lives_through_its_life(operator: Operator, hypervisor: Hypervisor) -> None:
    """Create, roll without an outage, heal, forget all local state, scale down, destroy."""
    operator.write(web={"size": 3, "image": "v1"})
    operator.apply()
    pages = operator.pages()
    assert sorted(page["name"] for page in pages) == ["web-0", "web-1", "web-2"]
    assert {page["version"] for page in pages} == {"v1"}

    operator.write(web={"size": 3, "image": "v2"})
    with polled(operator.host, hypervisor) as seen:
        wait_for(seen.counts)
        operator.apply()
    print("answers in each sweep:", seen.counts)
    assert len(seen.counts) > 20
    assert min(seen.counts) >= 3
    assert seen.versions == {"v1", "v2"}
    assert [page["version"] for page in operator.pages()] == ["v2"] * 3

    before = {machine["instance"] for machine in operator.machines()}
    victim = operator.machines()[0]
    hypervisor.pull_the_plug(victim["facts"]["domain"])
    operator.apply()
    after = {machine["instance"] for machine in operator.machines()}
    assert after >= before - {victim["instance"]}
    assert len(after) == 3
    assert victim["instance"] not in after

    shutil.rmtree(operator.state)
    assert "no changes" in operator.infra("plan", "--detailed-exitcode")

    operator.write(web={"size": 1, "image": "v2"})
    operator.apply(expect=1)
    assert len(operator.machines()) == 3
    ages = {machine["instance"]: machine["launched_at"] for machine in operator.machines()}
    operator.apply("--allow-mass-destroy")
    (left,) = operator.machines()
    assert left["launched_at"] == min(ages.values()), "of healthy machines the youngest go first"


@pytest.mark.long
def test_a_named_member_keeps_its_data_disk_over_a_replacement(operator: Operator) -> None:
    machine = {"memory": "160MiB", "data_disk": "16MiB"}
    operator.write(db={"logical_ids": ["db-1", "db-2"], "image": "v1", "machine": machine})
    operator.apply()
    before = {page["name"]: page["data"] for page in operator.pages("db")}
    assert len(set(before.values())) == 2
    assert None not in before.values()
    operator.write(db={"logical_ids": ["db-1", "db-2"], "image": "v2", "machine": machine})
    operator.apply()
    pages = operator.pages("db")
    assert {page["name"]: page["data"] for page in pages} == before
    assert {page["version"] for page in pages} == {"v2"}


def test_a_check_that_no_machine_passes_costs_none_that_serves(operator: Operator, hypervisor: Hypervisor) -> None:
    operator.write(web={"size": 2, "image": "v1"})
    operator.apply()
    rollout = {"progress_deadline": "25s"}
    health = {"tcp": 8081, "interval": "500ms", "timeout": "3s", "grace": "12s"}
    operator.write(web={"size": 2, "image": "v2", "rollout": rollout, "health": health})
    with polled(operator.host, hypervisor) as seen:
        wait_for(seen.counts)
        operator.apply(expect=1)
    assert min(seen.counts) >= 2


@pytest.mark.long
def test_apply_killed_at_any_moment_is_finished_by_the_next(operator: Operator, hypervisor: Hypervisor) -> None:
    chance = random.Random(20)
    killed = 0
    for attempt in range(KILLS):
        image = ("v1", "v2")[attempt % 2]
        flavor = {"user_data": json.dumps({"attempt": {"content": str(attempt)}})}  # so that each has all to do
        operator.write(web={"size": 2, "image": image, "flavor": flavor})
        killed += operator.kill_apply_after(chance.randint(1, 6), chance.uniform(0.0, 0.5))
        if attempt == 2:
            shutil.rmtree(operator.state)
    assert killed == KILLS
    operator.write(web={"size": 2, "image": "v2"})
    operator.apply()
    machines = operator.machines()
    assert len(machines) == 2
    assert [page["version"] for page in operator.pages()] == ["v2"] * 2
    assert hypervisor.domains() == sorted(machine["facts"]["domain"] for machine in machines)
    own = {name for name in hypervisor.volumes() if not name.startswith("infrakit-image-")}
    slots = {domain.rsplit(".", 1)[1] for domain in hypervisor.domains()}
    assert {name.split(".")[3] for name in own} == slots
