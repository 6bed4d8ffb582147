"""Markdown that stays what it is, whatever names and reasons hold."""

import re
from typing import cast

from infrakit_py.engine.forecast import Forecast
from infrakit_py.errors import Problem
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.render.plan_markdown import LARGEST, Planned, mistakes_markdown, plans_markdown


def planned(text: str, name: str = "shop") -> Planned:
    return Planned(ClusterSpec(name, "cluster.yml", {}, {}, {}), cast(list[Forecast], []), text)


def test_a_plan_that_holds_fences_is_fenced_by_a_longer_one() -> None:
    text = plans_markdown([planned("a\n````\n</details>\n````\nb")])
    fence = re.search(r"^(`{5,})text\n", text, re.M)
    assert fence is not None and text.count(fence[1]) == 2


def test_a_message_stays_in_its_cell_and_is_only_text() -> None:
    text = mistakes_markdown([Problem("a|b.yml", 1, 2, "x | y\n<script>*bold*`")])
    (row,) = [line for line in text.splitlines() if "script" in line]
    assert row == "| `a|b.yml:1:2` | x \\| y &lt;script&gt;\\*bold\\*\\` |"


def test_what_is_too_long_for_a_comment_is_cut_and_says_so() -> None:
    line = "x" * 100 + "\n"
    text = plans_markdown([planned(line * 2000), planned(line * 2000, "other")])
    assert len(text) <= LARGEST and text.count("cut short") == 2
    assert text.count("<details>") == text.count("</details>") == 2
    assert len(mistakes_markdown([Problem("f", 1, 1, line)] * 2000)) <= LARGEST + 1
