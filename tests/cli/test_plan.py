"""What `plan` and `status` show, and that looking leaves no trace."""

import shutil

import pytest

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
    short, full = shell.infra("plan").out, shell.infra("plan", "--explain").out
    assert "and 19 more (--explain shows all)" in short
    assert short.count("+ create ") == 11
    assert full.count("+ create ") == 30


def test_of_many_waves_the_first_and_the_last_are_shown_unless_all_are_asked_for(shell: Shell) -> None:
    shell.write(cluster(web=web(12)))
    assert shell.infra("apply", "--auto-approve").code == 0
    shell.write(cluster(web=web(12, image="a2")))
    short, full = shell.infra("plan").out, shell.infra("plan", "--explain").out
    waves = [line for line in short.splitlines() if "wave" in line]
    assert [line.split()[1].rstrip(",") for line in waves] == [*"1234567", "5", "13"]
    assert "  … 5 more waves (--explain shows all)" in short
    assert sum(line.startswith("  wave ") for line in full.splitlines()) == 13
    assert short.splitlines()[-1] == full.splitlines()[-1] == "Plan: +12 create  -12 replace"


def test_groups_are_planned_in_the_order_in_which_they_are_changed(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2", depends_on=["db"]), db=db(image="a2")))
    out = converged.infra("plan").out
    assert out.index("Group db on sim: 3 × a2") < out.index("Group web on sim, after db: 3 × a2")
    assert "All of it takes about " in out
    shop = converged.infra("plan", "--json").json["clusters"][0]
    db_group, web_group = shop["groups"]
    assert (db_group["group"], web_group["group"], web_group["after"]) == ("db", "web", ["db"])
    assert shop["seconds"] == pytest.approx(db_group["seconds"] + web_group["seconds"])


def test_groups_that_wait_for_nobody_take_as_long_as_the_longest(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db(image="a2")))
    shop = converged.infra("plan", "--json").json["clusters"][0]
    assert shop["seconds"] == pytest.approx(max(group["seconds"] for group in shop["groups"]))


def test_a_plan_says_when_each_wave_comes_and_how_long_all_takes(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db(), provider={"boot_time": "90s"}))
    out = converged.infra("plan").out
    times = [line.strip() for line in out.splitlines() if line.startswith("  wave")]
    assert times[0] == "wave 1, 3 ready"
    assert times[1].startswith("wave 2, after 5")  # what boots longer than its grace is taken to come up within it
    assert "never fewer than 3 ready; takes about " in out


def test_a_plan_shows_the_integers_of_steps_and_of_the_brake(converged: Shell) -> None:
    converged.write(cluster(web=web(10, image="a2", rollout={"steps": [1, "25%"], "max_surge": 3}), db=db()))
    assert (
        "surge 3, unavailable 0, at least 10 ready; steps 1, 3, 10; stops at 1 failed" in converged.infra("plan").out
    )
    group = converged.infra("plan", "--json").json["clusters"][0]["groups"][0]
    assert (group["progress"]["steps"], group["progress"]["failure_limit"]) == ([1, 3, 10], 1)


def test_reasons_name_images_and_tell_two_of_one_name_apart(converged: Shell) -> None:
    renewed = cluster(web=web(), db=db())
    renewed["images"] = {"a1": {"reference": "a1-new"}}
    converged.write(renewed)
    out = converged.infra("plan").out
    assert "to replace web-0 (image a1 → a1-new)" in out
    converged.write(cluster(web=web(image="a2"), db=db()))
    assert "to replace web-0 (image a1 → a2)" in converged.infra("plan").out
    told = converged.infra("apply", "--auto-approve").out
    assert "destroying web-0: image a1 → a2" in told


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


def test_the_status_says_since_when_machines_are_healthy_and_how_many_failed_before(converged: Shell) -> None:
    (group, _) = converged.infra("status", "--json").json["clusters"][0]["groups"]
    for machine in group["machines"]:
        assert machine["launched_at"] < machine["healthy_since"]
        assert (machine["image"], machine["failures"], machine["protected"]) == ("a1", 0, False)
    assert (group["phase"], group["version"]["revision"], group["goes_to"]) == ("complete", 1, None)
    header = next(line for line in converged.infra("status").out.splitlines() if "MACHINE" in line)
    assert "HEALTHY" in header


def test_one_action_is_not_called_actions(converged: Shell) -> None:
    converged.write(cluster(web=web(4), db=db()))
    assert "Group web: 3 of 4 ready, 1 action due" in converged.infra("status").out
    converged.write(cluster(web=web(5), db=db()))
    assert "Group web: 3 of 5 ready, 2 actions due" in converged.infra("status").out


def test_the_status_of_machines_that_no_file_declares_any_more_is_shown(converged: Shell) -> None:
    converged.write(cluster(web=web()))
    out = converged.infra("status").out
    assert "group db is no longer declared" in out
    assert "db-1" in out
