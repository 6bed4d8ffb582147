"""`infra protect`, `infra unprotect` and `infra replace`: a person's word on single machines."""

import pytest

from infrakit_py.model import tags
from tests.cli.shell import Shell, cluster, db, web


def id_of(shell: Shell, name: str) -> str:
    (machine,) = (machine for machine in shell.machines() if machine.name == name)
    return machine.id


def marked(shell: Shell, tag: str) -> list[str]:
    return [machine.name for machine in shell.machines() if tag in machine.tags]


@pytest.mark.long
def test_a_protected_machine_stays_where_all_others_are_replaced(converged: Shell) -> None:
    kept = id_of(converged, "web-1")
    result = converged.infra("protect", "cluster.yml", "web-1")
    assert result.code == 0, result
    assert result.out == f"shop: web-1 ({kept}) is protected\n"
    converged.write(cluster(web=web(image="a2"), db=db()))
    plan = converged.infra("plan").out
    assert "note: web-1 protected, and left as it is (image a1 → a2)" in plan
    applied = converged.infra("apply", "--auto-approve")
    assert applied.code == 0, applied
    assert kept in converged.ids()
    assert len({machine.image for machine in converged.machines()}) == 2
    (row,) = (line for line in converged.infra("status").out.splitlines() if kept in line)
    assert "protected; image a1 → a2" in row
    assert converged.infra("unprotect", kept).code == 0
    assert converged.infra("apply", "--auto-approve").code == 0
    assert kept not in converged.ids()


def test_destroying_keeps_what_is_protected_and_says_so_first(converged: Shell) -> None:
    kept = id_of(converged, "web-1")
    converged.infra("protect", "web-1")
    result = converged.infra("destroy", "--auto-approve", "-g", "web")
    assert result.code == 1
    assert f"    = keep     web-1  {kept}  it is protected" in result.out
    assert "infra unprotect lets them go" in result.err
    assert converged.names() == ["db-1", "db-2", "db-3", "web-1"]


def test_a_machine_marked_for_replacement_is_replaced_within_the_budget(converged: Shell) -> None:
    old = [id_of(converged, name) for name in ("web-0", "db-2")]
    result = converged.infra("replace", "web-0", old[1], "--auto-approve")
    assert result.code == 0, result
    assert "- replace  web-0" in result.out
    assert "replaces what is marked, within its group's budget" in result.out
    assert marked(converged, tags.REPLACE) == ["db-2", "web-0"]
    plan = converged.infra("plan").out
    assert "a person marked it for replacement" in plan
    assert "never fewer than 3 ready" in plan
    status = converged.infra("status", "--json").json["clusters"][0]["groups"]
    versions = {machine["machine"]: machine["version"] for group in status for machine in group["machines"]}
    assert [name for name, version in versions.items() if version == "expired"] == ["web-0", "db-2"]
    assert converged.infra("apply", "--auto-approve").code == 0
    assert set(old).isdisjoint(converged.ids())
    assert len(converged.machines()) == 6
    assert marked(converged, tags.REPLACE) == []


def test_a_replacement_is_not_marked_without_approval(converged: Shell) -> None:
    result = converged.infra("replace", "web-0")
    assert result.code == 64
    assert "--auto-approve" in result.err
    assert marked(converged, tags.REPLACE) == []


def test_a_mark_can_be_taken_back(converged: Shell) -> None:
    converged.infra("replace", "web-0", "--auto-approve")
    assert converged.infra("replace", "--cancel", "web-0").code == 0
    assert marked(converged, tags.REPLACE) == []
    assert converged.infra("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("wbe-1",), "cluster shop has no machine 'wbe-1'\nhint: did you mean web-1"),
        (
            ("nonsense",),
            "cluster shop has no machine 'nonsense'\nhint: there are db-1, db-2, db-3, web-0, web-1 and 1",
        ),
        (("web-0", "db-9"), "cluster shop has no machine 'db-9'"),
        (("-g", "db", "web-0"), "cluster shop has no machine 'web-0'"),
        (("cluster.yml",), "no machine named"),
        (("-g", "nope", "web-0"), "no group 'nope'"),
    ],
    ids=["near", "far", "one of two", "of another group", "none", "no such group"],
)
def test_what_is_not_there_is_answered_with_what_is_and_nothing_is_marked(
    words: tuple[str, ...], message: str, converged: Shell
) -> None:
    result = converged.infra("protect", *words)
    assert result.code == 64
    assert message in result.err
    assert marked(converged, tags.PROTECTED) == []


def test_machines_of_other_clusters_are_unknown(converged: Shell) -> None:
    converged.write(cluster("other", web=web(1)), file="other.yml")
    assert converged.infra("apply", "--auto-approve", "other.yml").code == 0
    theirs = next(m.id for m in converged.machines() if m.tags[tags.CLUSTER] == "other")
    assert converged.infra("protect", "cluster.yml", theirs).code == 64
    assert converged.infra("protect", "other.yml", "web-0").code == 0
    assert [m.id for m in converged.machines() if tags.PROTECTED in m.tags] == [theirs]
    both = converged.infra("protect", "-f", "cluster.yml", "-f", "other.yml", "web-0")
    assert both.code == 64
    assert "2 clusters are declared there" in both.err


def test_a_name_that_two_machines_have_needs_a_group_or_an_id(shell: Shell) -> None:
    shell.write(cluster(web=web(1), db=db("web-0")))
    assert shell.infra("apply", "--auto-approve").code == 0
    result = shell.infra("protect", "web-0")
    assert result.code == 64
    assert "more than one machine is called 'web-0'" in result.err
    assert "--group" in result.err
    assert shell.infra("protect", "web-0", "--group", "db").code == 0
    (machine,) = (machine for machine in shell.machines() if tags.PROTECTED in machine.tags)
    assert machine.tags[tags.GROUP] == "db"
