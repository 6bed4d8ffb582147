"""From LinuxKit YAML to virtual machines: the quickstart, to the letter of its README."""

import time
from collections import Counter
from dataclasses import dataclass

import pytest

from tests import linuxkit
from tests.real.conftest import EXAMPLES, Example
from tests.real.operator import Hypervisor, Operator
from tests.real.readme import follow
from tests.real.web_clients import Answers, answers_of

pytestmark = pytest.mark.real

MEMORY = {"WEB_MEMORY": "160MiB"}
CHANGE = "sed -i 's/Hello from v1"
COMMENT = "sed -i '1s/"
END = "infra destroy --auto-approve"


@dataclass(frozen=True)
class World:
    """What there is: the image of each machine, how often LinuxKit has built, and the kernels in the pool."""

    moment: float
    machines: dict[str, str]
    builds: int
    published: frozenset[str]


def test_the_quickstart_goes_from_yaml_to_machines_and_one_changed_line_replaces_them(
    example: Example, hypervisor: Hypervisor
) -> None:
    """One build, one publication and one rolling replacement for a changed line; none of them for a comment."""
    operator = example("quickstart-libvirt", MEMORY)
    seen: list[World] = []
    with answers_of(operator.host, hypervisor) as answers:
        for step in follow(operator, EXAMPLES / "quickstart-libvirt" / "README.md"):
            if step.command.startswith((CHANGE, COMMENT, END)):
                seen.append(world(operator, hypervisor))
    first, second, end = seen
    assert (len(first.machines), first.builds, len(first.published)) == (3, 1, 1)
    assert (len(second.machines), second.builds, len(second.published - first.published)) == (3, 2, 1)
    assert first.machines.keys().isdisjoint(second.machines), "all machines were replaced"
    assert len(set(second.machines.values())) == 1
    assert set(first.machines.values()).isdisjoint(second.machines.values())
    assert (end.machines, end.builds, end.published) == (second.machines, 2, second.published), "a comment is nothing"
    assert_served_all_the_time(answers, first.moment, second.moment)


def test_a_build_that_fails_touches_nothing(example: Example, hypervisor: Hypervisor) -> None:
    operator = example("quickstart-libvirt", {**MEMORY, "STANDIN_FAIL": "format"})

    said = operator.complaint("apply", "--auto-approve")

    assert "image web" in said
    assert "error writing outputs: exit status 1" in said
    assert hypervisor.domains() == []
    assert hypervisor.volumes() == []


def world(operator: Operator, hypervisor: Hypervisor) -> World:
    volumes = hypervisor.volumes()
    kernels = frozenset(name for name in volumes if name.startswith("infrakit-image-") and name.endswith(".kernel"))
    return World(time.monotonic(), hypervisor.images(), len(linuxkit.builds(operator.directory.parent)), kernels)


def assert_served_all_the_time(answers: Answers, begin: float, end: float) -> None:
    during = answers.between(begin, end)
    print("answers during the change:", len(during), "moments, at the least", min(map(Counter.total, during)))
    assert len(during) > 100
    assert min(map(Counter.total, during)) >= 3
    assert set().union(*during) == {"Hello from v1", "Hello from v2"}
