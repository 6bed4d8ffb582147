"""Real machines beside those of clouds: a cluster with groups at three providers, and its file as it is elsewhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from tests.portable.declared import IMAGES, MACHINES, PROVIDERS, STEPS, at, document, told
from tests.real.operator import Hypervisor, Operator

pytestmark = [pytest.mark.real, pytest.mark.slow]

CLOUDS = ("aws", "gcp")


class Together:
    """An operator who reaches stand-ins for clouds from where the real machines are."""

    def __init__(self, operator: Operator, stands: dict[str, str]) -> None:
        self.operator, self._stands = operator, stands

    def machines(self, cloud: str) -> int:
        """Count a cloud's machines that are there for long."""
        with self.operator.host.call_inside(lambda: urlopen(f"{self._stands[cloud]}/_fake/state")) as answer:
            states: dict[str, int] = json.load(answer)["instances"]
        return sum(number for state, number in states.items() if state.lower() in ("pending", "running", "staging"))


@pytest.fixture
def together(operator: Operator) -> Iterator[Together]:
    host = operator.host
    with ExitStack() as stack:
        said: dict[str, list[str]] = {}
        for cloud, module, lines, options in (
            ("aws", "tests.fakes.ec2", 1, ["--boot-time", "1s", "--terminate-time", "100ms"]),
            ("gcp", "tests.fakes.gce", 2, ["--boot-time", "1s", "--delete-time", "100ms"]),
        ):
            server = stack.enter_context(host.popen([sys.executable, "-m", module, *options], stdout=subprocess.PIPE))
            stack.callback(server.terminate)
            assert server.stdout is not None
            said[cloud] = [server.stdout.readline().strip() for _ in range(lines)]
        environment = {
            "AWS_ENDPOINT_URL": said["aws"][0],
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": said["gcp"][0],
            "GOOGLE_APPLICATION_CREDENTIALS": said["gcp"][1],
        }
        someone = replace(operator, more_environment=environment)
        yield Together(someone, {cloud: lines[0] for cloud, lines in said.items()})
        operator.write()  # what is swept afterwards knows no clouds


def libvirt(operator: Operator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the provider and the images of the private host."""
    operator.write()
    written = yaml.safe_load(operator.file.read_text())
    return written["providers"]["local"], {name: written["images"][name] for name in ("v1", "v2")}


def test_one_cluster_has_groups_at_three_providers_and_goes_in_one_run(
    together: Together, hypervisor: Hypervisor
) -> None:
    provider, images = libvirt(together.operator)
    groups: dict[str, dict[str, Any]] = {
        cloud: {"provider": cloud, "image": f"{cloud}-v1", "size": 2, "machine": dict(MACHINES[cloud])}
        for cloud in CLOUDS
    }
    health = {"tcp": 8080, "interval": "500ms", "timeout": "3s", "grace": "120s"}
    machine = {"vcpus": 1, "memory": "160MiB", "network": "default"}
    groups["here"] = {"provider": "here", "image": "v1", "size": 2, "machine": machine, "health": health}
    groups["here"]["depends_on"] = list(CLOUDS)
    images = {
        "v1": images["v1"],
        **{f"{cloud}-{name}": one for cloud in CLOUDS for name, one in IMAGES[cloud].items()},
    }
    providers = {"here": provider, **{cloud: PROVIDERS[cloud] for cloud in CLOUDS}}
    together.operator.file.write_text(yaml.safe_dump(document("shop", providers, images, groups)))
    together.operator.apply()
    assert (len(hypervisor.domains()), *map(together.machines, CLOUDS)) == (2, 2, 2)
    together.operator.infra("destroy", "--auto-approve")
    assert (len(hypervisor.domains()), *map(together.machines, CLOUDS)) == (0, 0, 0)


@pytest.mark.long
def test_the_same_cluster_runs_on_real_machines_by_the_same_plans_as_at_a_cloud(together: Together) -> None:
    provider, images = libvirt(together.operator)
    plans: dict[str, list[Any]] = {"libvirt": [], "gcp": []}
    for kind, found in plans.items():
        for changes in STEPS:
            written = at(kind, *((provider, images) if kind == "libvirt" else ()), **changes)
            together.operator.file.write_text(yaml.safe_dump(written))
            found.append(told(json.loads(together.operator.infra("plan", "--json"))))
            together.operator.apply()
        together.operator.infra("destroy", "--auto-approve")
    assert all(plans["libvirt"])
    assert plans["libvirt"] == plans["gcp"]
