"""What `apply` makes of a file, and what it leaves alone."""

from typing import Any

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.cli.conftest import CONVERGED
from tests.cli.shell import Shell, cluster, db, failing, web


def test_an_empty_world_becomes_what_is_declared(shell: Shell) -> None:
    shell.write(cluster(web=web(2), db=db("db-1")))
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert result.out.splitlines()[-1] == "shop: converged"
    assert result.err == ""
    assert shell.names() == ["db-1", "web-0", "web-1"]


def test_progress_is_told_line_by_line_where_there_is_no_terminal(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    lines = shell.infra("apply", "--auto-approve").out.partition("Plan: ")[2].splitlines()
    told = [line.split()[1:3] for line in lines[1:-1]]
    assert told == [["web", kind] for kind in ("creating", "created", "waiting", "ready", "converged")]


def test_what_is_as_declared_is_left_alone(converged: Shell) -> None:
    before = converged.ids()
    assert converged.infra("apply", "--auto-approve").code == 0
    assert converged.ids() == before


def test_nothing_to_do_needs_no_approval(converged: Shell) -> None:
    assert converged.infra("apply").code == 0


def test_without_a_terminal_and_approval_nothing_is_touched(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    result = shell.infra("apply")
    assert result.code == 64
    assert "Plan: +3 create" in result.out
    assert "--auto-approve" in result.err
    assert shell.machines() == []


def test_a_new_image_replaces_every_machine_and_keeps_names_and_disks(converged: Shell) -> None:
    before = {machine.name: machine for machine in converged.machines()}
    converged.write(cluster(web=web(image="a2"), db=db(image="a2")))
    assert converged.infra("apply", "--auto-approve").code == 0
    after = {machine.name: machine for machine in converged.machines()}
    assert len({machine.image for machine in after.values()}) == 1
    assert {m.id for m in after.values()}.isdisjoint(m.id for m in before.values())
    assert {name: after[name].disk for name in ("db-1", "db-2", "db-3")} == {
        name: before[name].disk for name in ("db-1", "db-2", "db-3")
    }


@pytest.mark.parametrize(
    "group",
    [
        web(flavor={"tags": {"tier": "front"}}),
        web(size=4),
        web(rollout={"max_surge": 2, "max_unavailable": 1}),
        web(prevent_destroy=True),
    ],
    ids=["tags", "size", "rollout", "guard"],
)
def test_what_is_no_part_of_a_machine_replaces_none(group: dict[str, Any], converged: Shell) -> None:
    before = converged.ids()
    converged.write(cluster(web=group, db=db()))
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert "replace" not in result.out
    assert set(before) <= set(converged.ids())
    assert converged.infra("plan", "--detailed-exitcode").code == 0


def test_the_user_s_tags_reach_machines_that_stay(converged: Shell) -> None:
    converged.write(cluster(web=web(flavor={"tags": {"tier": "front"}}), db=db()))
    assert "~3 tag" in converged.infra("apply", "--auto-approve").out
    assert [m.tags.get("tier") for m in converged.machines()] == [None] * 3 + ["front"] * 3


def test_only_the_named_groups_are_changed(converged: Shell) -> None:
    before = {machine.name: machine.image for machine in converged.machines()}
    converged.write(cluster(web=web(image="a2"), db=db(image="a2")))
    assert converged.infra("apply", "--auto-approve", "--group", "db").code == 0
    changed = [machine.name for machine in converged.machines() if machine.image != before[machine.name]]
    assert changed == ["db-1", "db-2", "db-3"]


def test_a_provider_that_refuses_for_good_fails_with_its_reason_and_hint(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"quota": 2}))
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 1
    assert "web: web-2: quota of 2 machines reached" in result.err.replace("quota", "web-2: quota", 1)
    assert "hint: raise the account's quota" in result.err


def test_a_reply_that_is_lost_is_no_failure(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    shell.infra("plan")
    with shell.cloud() as cloud:
        cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    assert shell.infra("apply", "--auto-approve").code == 0
    assert shell.names() == ["web-0", "web-1", "web-2"]


def test_trap_13_after_a_rollout_that_failed_the_old_file_brings_the_old_image_back(converged: Shell) -> None:
    before = converged.ids()
    converged.write(failing())
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 1
    assert "shop: stopped" in result.err
    assert "web: the rollout is stopped: 1 new machine failed (limit 1): web-3 " in result.err
    assert "hint: change the file, or use infra rollout undo or infra rollout resume" in result.err
    assert set(before) < set(converged.ids()), "the machine that failed is kept, to be looked at"
    converged.write(CONVERGED)
    assert converged.infra("apply", "--auto-approve").code == 0
    assert converged.ids() == before


def test_a_stopped_rollout_is_not_gone_on_with_and_needs_no_approval_to_say_so(converged: Shell) -> None:
    converged.write(failing())
    assert converged.infra("apply", "--auto-approve").code == 1
    before = converged.ids()
    for options in ((), ("--auto-approve",)):
        result = converged.infra("apply", *options)
        assert result.code == 1
        assert "web: the rollout is stopped: 1 new machine failed" in result.err
    assert converged.ids() == before


def test_a_rollout_that_fails_goes_back_where_that_is_declared_and_says_so(converged: Shell) -> None:
    before = converged.ids()
    converged.write(failing(on_failure="rollback"))
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 1
    assert "shop: rolled back" in result.err
    assert "web: rolled back from revision 2 (failed: 1 new machine failed (limit 1): web-3 " in result.err
    assert "infra rollout resume" in result.err
    assert converged.ids() == before
    again = converged.infra("apply")
    assert again.code == 1
    assert "web: stays at a1 (" in again.err
    end = converged.infra("apply", "--json").json_lines[-1]
    assert end["groups"]["web"]["phase"] == "rolled back"
