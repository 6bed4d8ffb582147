"""Destroying: what goes, what stays, and what has to be said first."""

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.cli.shell import Shell, cluster, db, web


def disks(shell: Shell) -> list[str]:
    with shell.cloud() as cloud:
        return [disk.key for disk in cloud.leftovers("shop")[0]]


def test_everything_goes_and_is_listed_first(converged: Shell) -> None:
    result = converged.infra("destroy", "--auto-approve")
    assert result.code == 0, result
    listed = result.out.splitlines()
    assert [line.split()[2] for line in listed if line.startswith("    - destroy ")] == [
        *("web-0", "web-1", "web-2"),
        *("db-1", "db-2", "db-3"),
    ]
    assert [line for line in listed if line.startswith("    - delete ")] == [
        f"    - delete   data disk db-{number} on sim  its data is lost" for number in (1, 2, 3)
    ]
    assert listed[-1] == "shop: destroyed"
    assert converged.machines() == []
    assert disks(converged) == []


def test_data_disks_are_kept_where_that_is_asked_for(converged: Shell) -> None:
    before = {machine.name: machine.disk for machine in converged.machines() if machine.disk}
    result = converged.infra("destroy", "--auto-approve", "--keep-data")
    assert result.code == 0
    assert "data disk" not in result.out
    assert disks(converged) == ["db-1", "db-2", "db-3"]
    assert converged.infra("apply", "--auto-approve").code == 0
    assert {machine.name: machine.disk for machine in converged.machines() if machine.disk} == before


def test_only_the_named_group_goes(converged: Shell) -> None:
    result = converged.infra("destroy", "--auto-approve", "--group", "web")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "shop: destroyed web"
    assert converged.names() == ["db-1", "db-2", "db-3"]
    assert disks(converged) == ["db-1", "db-2", "db-3"]


def test_without_a_terminal_and_approval_nothing_goes(converged: Shell) -> None:
    before = converged.ids()
    result = converged.infra("destroy")
    assert result.code == 64
    assert "--auto-approve" in result.err
    assert converged.ids() == before


def test_a_protected_group_is_not_destroyed_nor_is_anything_beside_it(converged: Shell) -> None:
    before = converged.ids()
    converged.write(cluster(web=web(), db=db(prevent_destroy=True)))
    result = converged.infra("destroy", "--auto-approve")
    assert result.code == 64
    assert "cluster shop: db must not be destroyed" in result.err
    assert "prevent_destroy: false" in result.err
    assert converged.ids() == before
    assert converged.infra("destroy", "--auto-approve", "--group", "web").code == 0
    assert converged.names() == ["db-1", "db-2", "db-3"]


def test_destroying_nothing_succeeds_and_asks_nothing(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    result = shell.infra("destroy")
    assert result.code == 0
    assert "nothing there" in result.out


def test_machines_of_other_clusters_are_left_alone(converged: Shell) -> None:
    converged.write(cluster("other", web=web(1)), file="other.yml")
    assert converged.infra("apply", "--auto-approve", "other.yml").code == 0
    assert converged.infra("destroy", "--auto-approve").code == 0
    assert [machine.tags["infrakit.cluster"] for machine in converged.machines()] == ["other"]


@pytest.mark.parametrize("left_the_file", [False, True], ids=["declared", "no longer declared"])
def test_trap_30_machines_that_fail_to_go_are_found_again(left_the_file: bool, converged: Shell) -> None:
    if left_the_file:
        converged.write(cluster(web=web()))
        command = ["apply", "--auto-approve", "--allow-mass-destroy"]
    else:
        command = ["destroy", "--auto-approve"]
    with converged.cloud() as cloud:
        cloud.fail(Call.DESTROY, Fault.TRANSIENT, 1 if left_the_file else 2)
    failed = converged.infra(*command, "--timeout", "300ms")
    assert failed.code == 1
    assert "run the same command again" in failed.err
    assert "db-1" in converged.names()
    assert converged.infra(*command).code == 0
    assert converged.names() == (["web-0", "web-1", "web-2"] if left_the_file else [])
