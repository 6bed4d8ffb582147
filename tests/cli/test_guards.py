"""What has to be said twice before it is done."""

import pytest

from tests.cli.shell import Shell, cluster, db, web


@pytest.mark.parametrize(
    ("declared", "reason", "hint"),
    [
        (
            cluster(web=db("web-a", "web-b"), db=db()),
            "group web changed from size to logical_ids",
            "give the group another name",
        ),
        (cluster(web=web(1), db=db()), "group web would shrink from 3 to 1", "--allow-mass-destroy"),
        (cluster(web=web()), "group db is no longer declared", "declare it again"),
        (
            cluster(web=web(2, prevent_destroy=True), db=db()),
            "group web has prevent_destroy",
            "prevent_destroy: false",
        ),
    ],
    ids=["another kind", "most of a group", "a whole group", "a protected machine"],
)
def test_a_change_that_would_cost_a_group_is_blocked(
    declared: dict[str, object], reason: str, hint: str, converged: Shell
) -> None:
    before = converged.ids()
    converged.write(declared)
    plan = converged.infra("plan")
    assert plan.code == 1
    assert f"blocked: {reason}" in plan.out
    assert hint in plan.out
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 1
    assert reason in result.err
    assert f"hint: {hint}" in result.err or hint in result.err
    assert converged.ids() == before


@pytest.mark.parametrize(
    ("declared", "left"),
    [
        (cluster(web=web(1), db=db()), ["db-1", "db-2", "db-3", "web"]),
        (cluster(web=web()), ["web-0", "web-1", "web-2"]),
        (cluster(web=db("web-a", "web-b"), db=db()), ["db-1", "db-2", "db-3", "web-a", "web-b"]),
    ],
    ids=["most of a group", "a whole group", "another kind"],
)
def test_what_was_blocked_is_done_when_it_is_meant(
    declared: dict[str, object], left: list[str], converged: Shell
) -> None:
    converged.write(declared)
    assert converged.infra("plan", "--allow-mass-destroy").code == 0
    result = converged.infra("apply", "--auto-approve", "--allow-mass-destroy")
    assert result.code == 0, result
    assert [name if name in left else "web" for name in converged.names()] == left


def test_a_blocked_group_does_not_hinder_the_others(converged: Shell) -> None:
    converged.write(cluster(web=web(1), db=db(image="a2")))
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 1
    images = {machine.name: machine.image for machine in converged.machines()}
    assert len(images) == 6
    assert images["db-1"] == images["db-2"] == images["db-3"] != images["web-0"]
