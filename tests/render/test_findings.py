"""Findings as a list: a mark, what it is about, what was found, and what to do."""

import click

from infrakit_py.model.spec import ClusterSpec
from infrakit_py.render.findings import Examination, examinations_text, grades, grades_line
from infrakit_py.spi.provider import Finding, Grade

SPEC = ClusterSpec("shop", "cluster.yml", {}, {}, {})
FOUND = (
    Finding("quota", Grade.WARNING, "12 of 16 in use", "ask for more"),
    Finding("image web", Grade.OK),
    Finding("a subnet with a very long name indeed", Grade.PROBLEM, "no such subnet\nthere are two", "write\none"),
)


def text(*findings: Finding, words: bool) -> list[str]:
    written = examinations_text(SPEC, [Examination("sim", "simulated", findings)], words=words)
    return click.unstyle(written).splitlines()


def test_findings_are_listed_by_provider_with_marks_and_hints_below() -> None:
    assert text(*FOUND, words=False) == [
        "Cluster shop (cluster.yml)",
        "",
        "Provider sim (simulated)",
        "  !  quota                             12 of 16 in use",
        "     hint: ask for more",
        "  ✓  image web",
        "  ✗  a subnet with a very long name indeed  no such subnet",
        "     there are two",
        "     hint: write",
        "     one",
    ]


def test_grades_are_said_in_words_where_marks_are_not_enough() -> None:
    assert text(*FOUND[:2], words=True)[3:] == [
        "  ! warning  quota      12 of 16 in use",
        "             hint: ask for more",
        "  ✓ ok       image web",
    ]


def test_a_provider_that_found_nothing_is_listed_too() -> None:
    assert text(words=True)[-1] == "  nothing to examine"


def test_the_sum_begins_with_the_worst() -> None:
    assert (
        click.unstyle(grades_line(grades([Examination("sim", "simulated", FOUND)]))) == "1 problem, 1 warning, 1 ok"
    )
    assert click.unstyle(grades_line(grades([]))) == "0 ok"
