"""`infra doctor`: what would not work is known before anything is tried, and looking changes nothing."""

from typing import Any

import pytest

from tests.cli.shell import Result, Shell, cluster, db, web
from tests.cli.terminal import terminal


def examined(**vendor: Any) -> dict[str, Any]:
    """Return a cluster whose vendor finds these things."""
    return cluster(web=web(2), db=db("db-1"), provider={"plugin": "vendor", **vendor})


def finding(about: str, grade: str, detail: str = "", hint: str = "") -> dict[str, str]:
    return {"about": about, "grade": grade, "detail": detail, "hint": hint}


def lines(result: Result) -> list[str]:
    return [line.strip() for line in result.out.splitlines()]


def test_a_provider_that_examines_nothing_can_be_reached_or_not(converged: Shell) -> None:
    result = converged.infra("doctor")
    assert result.code == 0, result
    assert "Provider sim (simulated)\n  ✓ ok       can be reached  6 machines of cluster shop\n" in result.out
    assert lines(result)[-1] == "1 ok"


def test_a_provider_is_told_what_each_group_wants_of_it(customer: Shell) -> None:
    customer.write(examined())
    result = customer.infra("doctor")
    assert result.code == 0, result
    assert "✓ ok       group web  2 × a1, named: False" in lines(result)
    assert "✓ ok       group db   1 × a1, named: True" in lines(result)


def test_a_warning_is_shown_with_its_hint_and_is_no_failure(customer: Shell) -> None:
    customer.write(examined(findings=[finding("quota", "warning", "12 of 16 in use", "ask for more")]))
    result = customer.infra("doctor")
    assert result.code == 0, result
    assert "  ! warning  quota      12 of 16 in use\n             hint: ask for more\n" in result.out
    assert lines(result)[-1] == "1 warning, 2 ok"


def test_a_problem_is_a_failure(customer: Shell) -> None:
    customer.write(examined(findings=[finding("quota", "problem", "none left"), finding("net", "warning")]))
    result = customer.infra("doctor")
    assert result.code == 1, result
    assert "✗ problem  quota      none left" in lines(result)
    assert lines(result)[-1] == "1 problem, 1 warning, 2 ok"


@pytest.mark.parametrize(
    ("broken", "detail", "hint"),
    [
        ("open", "provider sim: no credentials", "log in"),
        ("SDK", "its SDK is not installed", "install it"),
        ("examine", "no permission to look", "allow it"),
    ],
)
def test_a_provider_that_cannot_be_opened_or_asked_is_a_problem_with_its_hint(
    broken: str, detail: str, hint: str, customer: Shell
) -> None:
    customer.write(examined(broken=broken))
    result = customer.infra("doctor")
    assert result.code == 1, result
    assert result.err == ""
    assert f"✗ problem  cannot be used  {detail}" in lines(result)
    assert f"hint: {hint}" in lines(result)


def test_one_cluster_s_problem_hides_no_other_s_findings(customer: Shell) -> None:
    sick, well = examined(broken="open"), cluster("well", web=web(1))
    customer.write(sick, well)
    result = customer.infra("doctor")
    assert result.code == 1, result
    assert "✓ ok       can be reached  0 machines of cluster well" in lines(result)


def test_images_are_examined_as_what_their_references_stand_for(customer: Shell) -> None:
    spec = examined(pointers={"pointer:web": "a7"})
    spec["images"] = {"a1": {"reference": "pointer:web"}}
    customer.write(spec)
    assert "✓ ok       group web  2 × a7, named: False" in lines(customer.infra("doctor"))


def test_a_reference_that_points_to_nothing_is_a_problem_and_all_else_is_examined(customer: Shell) -> None:
    spec = examined()
    spec["images"] = {"a1": {"reference": "pointer:gone"}}
    customer.write(spec)
    result = customer.infra("doctor")
    assert result.code == 1, result
    assert "✗ problem  image a1 (pointer:gone)  nothing is at pointer:gone" in lines(result)
    assert "✓ ok       group web                2 × pointer:gone, named: False" in lines(result)
    assert "hint: publish it" in lines(result)


def test_findings_as_json(customer: Shell) -> None:
    customer.write(examined(findings=[finding("quota", "problem", "none left", "ask for more")]))
    result = customer.infra("doctor", "--json")
    assert result.code == 1, result
    assert result.json["findings"] == {"ok": 2, "warning": 0, "problem": 1}
    (shop,) = result.json["clusters"]
    (sim,) = shop["providers"]
    assert (shop["cluster"], shop["file"], sim["provider"], sim["plugin"]) == ("shop", "cluster.yml", "sim", "vendor")
    assert sim["findings"][0]["hint"] is None
    assert sim["findings"][-1] == finding("quota", "problem", "none left", "ask for more")


def test_examining_changes_nothing(converged: Shell) -> None:
    converged.write(cluster(web=web(5, image="a2"), db=db()))
    machines, before = converged.machines(), converged.tree()
    assert converged.infra("doctor").code == 0
    assert converged.tree() == before
    assert converged.machines() == machines


def test_a_coloured_terminal_needs_no_words_beside_the_marks(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    with terminal(shell, "doctor") as shown:
        assert shown.end() == 0
    assert "\x1b[32m✓" in shown.raw
    assert "✓  can be reached" in shown.shown
