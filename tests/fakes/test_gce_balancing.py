"""Groups, backend services and target pools of the Compute Engine stand-in: who is in them, and how they are."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.gce.project import REGION, B, C, Project, Refused, open_project
from tests.fakes.gce.settings import PROJECT

GROUP, POOL = f"zones/{B}/instanceGroups/web", f"regions/{REGION}/targetPools/web"


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project() as project:
        yield project


def refused(project: Project, path: str, body: Any = None, verb: str = "POST", **query: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        project.call(verb, path, body, **query)
    return caught.value.status, caught.value.reason


def members(project: Project) -> list[tuple[str, str]]:
    listed = project.call("POST", f"{GROUP}/listInstances", {}).get("items", [])
    return [(one["instance"].rpartition("/")[2], one["status"]) for one in listed]


def link(name: str, zone: str = B) -> dict[str, str]:
    return {"instance": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}/instances/{name}"}


def test_an_instance_joins_a_group_and_leaves_it(project: Project) -> None:
    project.boot("web-1", "web-2")
    project.do(f"{GROUP}/addInstances", {"instances": [link("web-1"), link("web-2")]})
    assert members(project) == [("web-1", "RUNNING"), ("web-2", "RUNNING")]
    assert project.call("GET", GROUP)["size"] == 2
    again = {"instances": [link("web-1")]}
    assert refused(project, f"{GROUP}/addInstances", again) == (400, "memberAlreadyExists")
    project.do(f"{GROUP}/removeInstances", again)
    assert members(project) == [("web-2", "RUNNING")]
    assert refused(project, f"{GROUP}/removeInstances", again) == (400, "memberNotFound")
    project.do(f"zones/{B}/instances/web-2", verb="DELETE")
    assert members(project) == []


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (link("none"), (404, "notFound")),
        (link("elsewhere", C), (400, "invalid")),
        ({"instance": "web-1"}, (400, "invalid")),
        ({}, (400, "required")),
    ],
    ids=["unknown", "elsewhere", "no-link", "nothing"],
)
def test_only_instances_of_its_zone_join_a_group(
    project: Project, reference: dict[str, str], answer: tuple[int, str]
) -> None:
    project.boot("elsewhere", zone=C)
    assert refused(project, f"{GROUP}/addInstances", {"instances": [reference]}) == answer
    assert refused(project, f"{GROUP}/addInstances", {}) == (400, "required")


@pytest.mark.parametrize("path", ["global/backendServices/web", f"regions/{REGION}/backendServices/web-internal"])
def test_a_backend_service_tells_the_health_of_its_groups(path: str) -> None:
    with open_project(health_seconds=5) as project:
        project.boot("web-1")
        project.do(f"{GROUP}/addInstances", {"instances": [link("web-1")]})
        assert project.call("GET", path)["connectionDraining"] == {"drainingTimeoutSec": 30}
        states = [_health(project, path)]
        project.clock.sleep(5)
        states.append(_health(project, path))
        project.fake.set_health("web-1", False)
        states.append(_health(project, path))
        project.fake.set_health("web-1", True)
        project.fake.kill("web-1")
        states.append(_health(project, path))
        assert states == ["UNHEALTHY", "HEALTHY", "UNHEALTHY", "UNHEALTHY"]
        foreign = {"group": "zones/europe-north1-a/instanceGroups/web"}
        assert refused(project, f"{path}/getHealth", foreign) == (400, "invalid")


def _health(project: Project, path: str) -> str:
    group = project.call("GET", path)["backends"][0]["group"]
    (status,) = project.call("POST", f"{path}/getHealth", {"group": group})["healthStatus"]
    assert status["instance"] == project.see("web-1")["selfLink"]
    return str(status["healthState"])


def test_backend_services_groups_and_pools_are_there_from_the_start(project: Project) -> None:
    (service,) = project.call("GET", "global/backendServices")["items"]
    (inside,) = project.call("GET", f"regions/{REGION}/backendServices")["items"]
    assert (service["name"], inside["name"]) == ("web", "web-internal")
    assert [one["group"].split("/")[-3] for one in service["backends"]] == [f"{REGION}-{zone}" for zone in "bcd"]
    groups = project.call("GET", "aggregated/instanceGroups")["items"]
    assert [scope for scope, some in groups.items() if "instanceGroups" in some] == [
        f"zones/{REGION}-{zone}" for zone in "bcd"
    ]
    assert [one["name"] for one in project.call("GET", f"regions/{REGION}/targetPools")["items"]] == ["web"]


def test_a_target_pool_has_members_keeps_links_to_the_dead_and_tells_health(project: Project) -> None:
    project.boot("web-1")
    body = {"instances": [link("web-1")]}
    project.do(f"{POOL}/addInstance", body)
    project.do(f"{POOL}/addInstance", body)
    assert project.call("GET", POOL)["instances"] == [link("web-1")["instance"]]
    (status,) = project.call("POST", f"{POOL}/getHealth", link("web-1"))["healthStatus"]
    assert status["healthState"] == "HEALTHY"
    project.do(f"zones/{B}/instances/web-1", verb="DELETE")
    assert project.call("GET", POOL)["instances"] == [link("web-1")["instance"]]
    project.do(f"{POOL}/removeInstance", body)
    assert "instances" not in project.call("GET", POOL)
    assert refused(project, f"{POOL}/removeInstance", body) == (400, "invalid")
