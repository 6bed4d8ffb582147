"""The controller on real virtual machines: clusters stay as declared, and a broken version costs none that serves."""

import json
from collections.abc import Mapping
from typing import Final

import pytest

from tests.cli.shell import eventually
from tests.real.operator import Controller, Hypervisor, Operator, polled, wait_for, watched

pytestmark = pytest.mark.real

ROLLOUT: Final = {"steps": [1], "on_failure": "rollback"}


def health(grace: str) -> Mapping[str, object]:
    check = {"port": 8080, "path": "/health"}
    return {"http": check, "interval": "500ms", "timeout": "3s", "grace": grace}


@pytest.mark.long
def test_a_version_that_is_never_healthy_costs_one_machine_and_is_gone_back_from(
    operator: Operator, hypervisor: Hypervisor
) -> None:
    """Once without a disturbance, and once with a controller that is killed half-way and started again."""
    operator.write(web={"size": 4, "image": "v1", "health": health("120s"), "rollout": ROLLOUT})
    operator.apply()
    good = hypervisor.images()
    assert len(good) == 4
    with watched(hypervisor) as looks, polled(operator.host, hypervisor) as seen:
        wait_for(seen.counts)
        with operator.controller() as controller:
            controller.says("converged")
            declare_broken(operator, attempt=1)
            assert_gone_back(controller, hypervisor, good)
            declare_broken(operator, attempt=2)
            controller.says("created", times=2)
            controller.kill()
        with operator.controller() as controller:
            assert_gone_back(controller, hypervisor, good)
            assert controller.stop() == 0

    print("new machines in each look:", *(len(look.keys() - good.keys()) for look in looks))
    new = [look.keys() - good.keys() for look in looks]
    assert max(map(len, new)) == 1
    assert len(set().union(*new)) == 2, "one machine for each attempt"
    print("answers in each sweep:", *(dict(count) for count in seen.by_version))
    assert min(count["v1"] for count in seen.by_version) >= 4
    assert "never" in seen.versions, "it served, but was never healthy"

    status = operator.infra("rollout", "status")
    assert "Group web: rolled back" in status
    assert "/health: status 404" in status
    (history,) = json.loads(operator.infra("rollout", "history", "--json"))["clusters"]
    assert [entry["event"] for entry in history["entries"]] == ["rolling", "good", *["rolling", "failed"] * 2]
    assert {page["version"] for page in operator.pages()} == {"v1"}


def declare_broken(operator: Operator, attempt: int) -> None:
    flavor = {"user_data": json.dumps({"attempt": {"content": str(attempt)}})}  # so that it is another version
    changes = {"image": "never", "health": health("20s"), "flavor": flavor}
    operator.write(web={"size": 4, "rollout": ROLLOUT, **changes})


def assert_gone_back(controller: Controller, hypervisor: Hypervisor, good: Mapping[str, str]) -> None:
    controller.says("rolled back from revision")
    assert hypervisor.images() == good


@pytest.mark.long
def test_a_cluster_stays_as_declared(operator: Operator, hypervisor: Hypervisor) -> None:
    """Another version, a stop half-way, a machine that is lost: the controller sees to all of it."""
    operator.write(web={"size": 2, "image": "v1", "health": health("120s")})
    with operator.controller() as controller:
        controller.says("converged")
        old = hypervisor.images()
        operator.write(web={"size": 2, "image": "v2", "health": health("120s")})
        controller.says("cluster.yml has changed")
        controller.says("to replace")
        assert controller.stop() == 0
    half = hypervisor.images()
    assert old.items() <= half.items(), "nothing was taken away before its successor was ready"
    assert len(half) <= 3
    assert sorted(m["facts"]["domain"] for m in operator.machines()) == hypervisor.domains()

    with operator.controller() as controller:
        controller.says("converged")
        new = hypervisor.images()
        assert len(new) == 2
        assert half.keys() - old.keys() <= new.keys(), "what was created before the stop is taken over"
        assert {page["version"] for page in operator.pages()} == {"v2"}

        victim = operator.machines()[0]
        hypervisor.pull_the_plug(victim["facts"]["domain"])

        eventually(lambda: victim["instance"] not in hypervisor.images(), "the lost machine is cleared away")
        controller.says("converged", times=2)
        assert len(hypervisor.images()) == 2
        assert new.keys() - hypervisor.images().keys() == {victim["instance"]}
        assert {page["version"] for page in operator.pages()} == {"v2"}
        assert controller.stop() == 0
    assert "no changes" in operator.infra("plan", "--detailed-exitcode")
