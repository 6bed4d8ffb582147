"""`infra rollout`: where rollouts stand, and a person's word on them."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.shell import Shell, cluster, db, eventually, failing, web

SLOWLY = web(image="a2", rollout={"steps": [1], "bake": "30s"})


def images(shell: Shell) -> list[str]:
    names = {machine.image: machine.image for machine in shell.machines()}
    return [names[machine.image] for machine in shell.machines() if machine.name.startswith("web")]


def standing(shell: Shell, group: str = "web") -> dict[str, Any]:
    (found,) = shell.infra("rollout", "status", "--json", "--group", group).json["clusters"]
    (one,) = found["groups"]
    assert isinstance(one, dict)
    return one


@pytest.fixture
def stopped(converged: Shell) -> Shell:
    """A terminal where a rollout of `web` from a1 to a2 stopped at its first machine."""
    converged.write(failing())
    assert converged.infra("apply", "--auto-approve").code == 1
    return converged


@pytest.fixture
def baking(converged: Shell) -> Iterator[Shell]:
    """A terminal beside one where an apply waits for the first of three new machines to bake."""
    converged.write(cluster(web=SLOWLY, db=db()))
    process = converged.start("apply", "--auto-approve")
    eventually(lambda: "web-3" in converged.names() and "web-0" not in converged.names(), "the first step is done")
    yield converged
    process.kill()
    process.communicate()


def test_a_rollout_that_is_not_needed_is_complete(converged: Shell) -> None:
    before = converged.tree()
    result = converged.infra("rollout", "status")
    assert result.code == 0, result
    assert "Group web: complete" in result.out
    assert "3 of 3 current ready, 0 outdated, 0 failed; 3 of 3 ready in all" in result.out
    assert converged.tree() == before


def test_what_was_only_declared_has_not_begun(converged: Shell) -> None:
    converged.write(cluster(web=SLOWLY, db=db()))
    result = converged.infra("rollout", "status", "-g", "web")
    assert "Group web: not begun, step 1 of 2 (up to 1 new machine; steps 1, 3)" in result.out
    assert "wanted   a2 (" in result.out
    assert "), revision 2\n" in result.out


def test_the_status_says_the_step_what_it_waits_for_and_until_when(baking: Shell) -> None:
    eventually(lambda: standing(baking)["phase"] == "baking", "the status shows it")
    now = standing(baking)
    assert (now["progress"]["step"], now["progress"]["steps"]) == (1, [1, 3])
    assert (now["new_ready"], now["outdated"], now["ready"]) == (1, 2, 3)
    assert time.time() < now["progress"]["until"] < time.time() + 31
    assert (now["version"]["image"], now["version"]["revision"], now["goes_to"]) == ("a2", 2, None)
    out = baking.infra("rollout", "status").out
    assert "Group web: baking, step 1 of 2 (up to 1 new machine; steps 1, 3)" in out
    assert "  waits    1 of 3 bake for 30s, until " in out


def test_a_pause_reaches_an_apply_that_holds_the_cluster(baking: Shell) -> None:
    result = baking.infra("rollout", "pause", "-g", "web", "--reason", "the pager rang")
    assert result.code == 0, result
    assert result.out.splitlines() == [
        "shop: web is paused (the pager rang)",
        "the next apply, or the controller that runs, acts on it",
    ]
    eventually(lambda: standing(baking)["phase"] == "paused", "the pause is heeded")
    assert standing(baking)["progress"]["reason"] == "the pager rang"
    assert "  paused   the pager rang\n" in baking.infra("rollout", "status").out
    assert "paused: web" in baking.infra("plan").out
    assert "web is resumed: its pause is lifted" in baking.infra("rollout", "resume", "-g", "web").out
    assert standing(baking)["phase"] in ("baking", "rolling")


@pytest.mark.long
def test_an_undo_reaches_an_apply_that_holds_the_cluster(baking: Shell) -> None:
    result = baking.infra("rollout", "undo", "--reason", "slow")
    assert result.code == 0, result
    assert "shop: web goes back from revision 2 to a1 (" in result.out
    assert "db" not in result.out, "what is at its declared version was not meant"
    eventually(lambda: standing(baking)["phase"] == "rolled back", "the machines are those of a1 again")
    assert standing(baking)["because"] == "revision 2 is undone by a person: slow"
    assert len(set(images(baking))) == 1


def test_a_stopped_rollout_says_why_and_what_can_be_done(stopped: Shell) -> None:
    out = stopped.infra("rollout", "status").out
    assert "Group web: stopped, 1 failed (it stops at 1)" in out
    assert "  stopped  1 new machine failed (limit 1): web-3 " in out
    assert "  hint     change the file, or use infra rollout undo or infra rollout resume" in out
    status = stopped.infra("status").out
    assert "Group web: 3 of 3 ready, stopped" in status
    assert "rollout stopped, 1 failed (it stops at 1): 1 new machine failed" in status
    plan = stopped.infra("plan")
    assert plan.code == 1
    assert "  stopped: 1 new machine failed" in plan.out
    assert plan.out.endswith("Plan: no changes; stopped: web\n")


def test_after_an_undo_the_plan_shows_the_way_back_and_apply_goes_it(stopped: Shell) -> None:
    before = [id_ for id_, name in zip(stopped.ids(), stopped.names(), strict=True) if name != "web-3"]
    assert stopped.infra("rollout", "undo").code == 0
    assert stopped.infra("rollout", "undo").out.startswith("shop: web was undone already\n")
    plan = stopped.infra("plan")
    assert plan.code == 1
    assert "  goes back to a1 (" in plan.out
    assert "because revision 2 is undone by a person" in plan.out
    applied = stopped.infra("apply", "--auto-approve")
    assert applied.code == 1
    assert "shop: rolled back" in applied.err
    assert stopped.ids() == before
    assert "Group web: 3 of 3 ready, rolled back" in stopped.infra("status").out
    assert stopped.infra("status", "--json").json["clusters"][0]["converged"] is False


def test_what_is_resumed_is_tried_again_and_old_failures_are_forgiven(stopped: Shell) -> None:
    said = stopped.infra("rollout", "resume")
    assert said.code == 0
    assert "web is resumed: revision 2, which failed (1 new machine failed (limit 1): " in said.out
    assert "db was neither paused nor stopped; nothing to resume" in said.out
    assert standing(stopped)["phase"] == "rolling"
    assert standing(stopped)["progress"]["failed"] == 0
    healed = failing()
    healed["providers"]["sim"]["sick_images"] = []
    healed["groups"]["web"]["health"]["grace"] = "60s"
    stopped.write(healed)
    result = stopped.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert standing(stopped)["phase"] == "complete"


@pytest.mark.long
def test_what_is_resumed_after_a_rollback_goes_to_the_declared_version_again(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db()))
    assert converged.infra("apply", "--auto-approve").code == 0
    new = converged.ids()
    assert converged.infra("rollout", "undo", "-g", "web").code == 0
    assert converged.infra("apply", "--auto-approve").code == 1
    assert set(new).isdisjoint(i for i, n in zip(converged.ids(), converged.names(), strict=True) if "web" in n)
    assert converged.infra("rollout", "resume").code == 0
    assert converged.infra("apply", "--auto-approve").code == 0
    assert standing(converged)["version"]["image"] == "a2"
    assert converged.infra("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    ("declared", "options", "message"),
    [
        (cluster(web=web(), db=db()), (), "there is nothing to undo"),
        (cluster(web=web(), db=db()), ("-g", "web"), "group web: there is no good version to go back to"),
        (cluster(web=web(image="a3"), db=db()), ("-g", "web"), "group web: nothing of what the file declares"),
        (cluster(web=web(), db=db()), ("-g", "wbe"), "no group 'wbe' in cluster shop (there are web, db)"),
    ],
    ids=["nothing begun", "nothing before", "never applied", "no such group"],
)
def test_an_undo_that_leads_nowhere_is_refused_with_a_hint(
    declared: dict[str, Any], options: tuple[str, ...], message: str, converged: Shell
) -> None:
    converged.write(declared)
    result = converged.infra("rollout", "undo", *options)
    assert result.code == 64
    assert message in result.err
    assert converged.infra("rollout", "undo", *options, "--json").json["errors"][0]["message"]


def test_a_rollout_that_the_file_pauses_is_not_resumed_by_a_word(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2", rollout={"paused": True}), db=db()))
    assert "paused: rollout.paused is set" in converged.infra("plan").out
    assert "hint     remove rollout.paused from the file to go on" in converged.infra("rollout", "status").out


def test_the_history_lists_what_became_of_versions_the_latest_last(stopped: Shell) -> None:
    stopped.infra("rollout", "pause", "-g", "web", "--reason", "lunch")
    header, *lines = stopped.infra("rollout", "history").out.splitlines()[1:]
    assert header.split() == ["TIME", "GROUP", "EVENT", "REVISION", "IMAGE", "REASON"]
    web_lines = [line.split()[2:] for line in lines if line.split()[2] == "web"]
    assert [line[1] for line in web_lines] == ["rolling", "good", "rolling", "failed", "paused"]
    assert [line[2] for line in web_lines] == ["1", "1", "2", "2", "-"]
    (found,) = stopped.infra("rollout", "history", "-n", "2", "-g", "web", "--json").json["clusters"]
    assert [(entry["event"], entry["image"]) for entry in found["entries"]] == [("failed", "a2"), ("paused", None)]
    assert found["entries"][-1]["reason"] == "lunch"


def test_the_history_of_nothing_is_empty_and_writes_nothing(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    before = shell.tree()
    assert "nothing is remembered" in shell.infra("rollout", "history").out
    assert shell.tree() == before


def test_words_are_told_as_json_too(converged: Shell) -> None:
    told = converged.infra("rollout", "pause", "-g", "db", "--json").json
    assert told["done"] == [{"cluster": "shop", "group": "db", "text": "db is paused"}]
    assert "the next apply" in told["then"]


def test_the_help_of_the_rollout_commands_is_complete(shell: Shell) -> None:
    out = shell.infra("rollout", "--help").out
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == [
        "history",
        "pause",
        "resume",
        "status",
        "undo",
    ]
