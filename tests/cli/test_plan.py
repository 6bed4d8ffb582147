"""What `plan` and `status` show, and that looking leaves no trace."""

import shutil

from tests.cli.shell import Shell, cluster, db, web


def test_a_plan_shows_every_machine_with_its_reason_and_the_sum(shell: Shell) -> None:
    shell.write(cluster(web=web(2)))
    result = shell.infra("plan")
    assert result.code == 0
    assert "+ create   web-0  0 of 2 wanted" in result.out
    assert result.out.endswith("\nPlan: +2 create\n")


def test_a_rollout_is_summed_up_as_creations_and_replacements(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db()))
    out = converged.infra("plan").out
    assert out.endswith("\nPlan: +3 create  -3 replace\n")
    assert "never fewer than 3 ready" in out


def test_the_exit_code_tells_changes_from_none_where_that_is_asked_for(converged: Shell) -> None:
    assert converged.infra("plan", "--detailed-exitcode").code == 0
    converged.write(cluster(web=web(4), db=db()))
    assert converged.infra("plan", "--detailed-exitcode").code == 2
    assert converged.infra("plan").code == 0


def test_trap_22_a_plan_shows_the_integers_that_percentages_come_to(shell: Shell) -> None:
    shell.write(cluster(web=web(5, rollout={"max_surge": "25%", "max_unavailable": "25%"})))
    assert "surge 2, unavailable 1, at least 4 ready" in shell.infra("plan").out


def test_a_plan_of_some_groups_shows_no_other(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db(image="a2")))
    out = converged.infra("plan", "--group", "db").out
    assert "Group db" in out
    assert "Group web" not in out


def test_an_unknown_group_is_answered_with_those_there_are(converged: Shell) -> None:
    result = converged.infra("plan", "--group", "wbe")
    assert result.code == 64
    assert "no group 'wbe' in cluster shop (there are web, db)" in result.err


def test_a_long_wave_is_cut_short_unless_all_is_asked_for(shell: Shell) -> None:
    shell.write(cluster(web=web(30)))
    short, full = shell.infra("plan").out, shell.infra("plan", "--full").out
    assert "and 19 more (--full shows all)" in short
    assert short.count("+ create ") == 11
    assert full.count("+ create ") == 30


def test_planning_an_empty_world_writes_nothing(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    before = shell.tree()
    assert shell.infra("plan").code == 0
    assert shell.infra("status").code == 0
    assert shell.tree() == before
    assert shell.machines() == []


def test_planning_a_change_writes_nothing(converged: Shell) -> None:
    converged.write(cluster(web=web(5, image="a2"), db=db(image="a2")))
    machines, before = converged.machines(), converged.tree()
    assert converged.infra("plan").code == 0
    assert converged.infra("status").code == 0
    assert converged.infra("plan", "--json").code == 0
    assert converged.tree() == before
    assert converged.machines() == machines


def test_without_any_local_file_the_plan_is_the_same(converged: Shell) -> None:
    shutil.rmtree(converged.state)
    shutil.rmtree(converged.root / "home")
    assert converged.infra("plan", "--detailed-exitcode").out.endswith("Plan: no changes\n")
    assert not converged.state.exists()


def test_the_status_shows_each_machine_and_why_it_is_not_well(converged: Shell) -> None:
    sick, *_ = (machine for machine in converged.machines() if machine.name == "web-1")
    converged.write(cluster(web=web(health={"tcp": 80, "interval": "100ms", "grace": "0s"}), db=db()))
    with converged.cloud() as cloud:
        cloud.set_sick(sick.id, sick=True)
    result = converged.infra("status")
    assert result.code == 0
    assert "Group web: 2 of 3 ready" in result.out
    (row,) = (line for line in result.out.splitlines() if sick.id in line)
    assert row.split()[:3] == ["web-1", "unhealthy", "current"]
    assert "connection refused" in row


def test_the_status_of_machines_that_no_file_declares_any_more_is_shown(converged: Shell) -> None:
    converged.write(cluster(web=web()))
    out = converged.infra("status").out
    assert "group db is no longer declared" in out
    assert "db-1" in out
