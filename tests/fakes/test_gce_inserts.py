"""Inserts of the Compute Engine stand-in: room, quotas, and many instances by one call."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.gce.project import B, Project, Refused, kind, many, open_project

ID = "6f1c1b5e-54ab-4f3b-8d3c-0f00d0000001"


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project(boot_seconds=10, delete_seconds=4, stop_seconds=3) as project:
        yield project


def test_a_stock_out_comes_after_the_insert_was_accepted() -> None:
    with open_project(capacity={"b": 1}, boot_seconds=10, stockout_seconds=3) as project:
        project.boot("web-1")
        op = project.insert("web-2")
        assert (op["status"], project.see("web-2")["status"]) == ("PENDING", "PROVISIONING")
        done = project.done(op)
        assert done["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
        assert (done["httpErrorStatusCode"], project.fake.names()) == (503, ["web-1"])
        assert [one.name for one in project.fake.disks()] == ["web-1"]
        project.fake.set_capacity("b", 2)
        project.insert("web-2")
        project.clock.sleep(10)
        assert project.fake.names("RUNNING") == ["web-1", "web-2"]


def test_capacity_may_be_that_of_a_machine_type() -> None:
    with open_project(capacity={"b": {"e2-medium": 1}}, stockout_details=True) as project:
        op = project.done(project.insert("web-1"))
        (error,) = op["error"]["errors"]
        assert error["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        assert error["errorDetails"][0]["errorInfo"]["metadatas"]["vmType"] == "e2-small"
        project.insert("web-2", machineType=f"zones/{B}/machineTypes/e2-medium")
        project.clock.sleep(10)
        assert project.fake.names("RUNNING") == ["web-2"]


def test_many_are_made_by_one_call_each_with_an_operation(project: Project) -> None:
    op = project.bulk(many(*(f"web-{number}" for number in range(20))), requestId=ID)
    assert op["instancesBulkInsertOperationMetadata"]["perLocationStatus"] == {
        f"zones/{B}": {
            "status": "CREATING",
            "targetVmCount": 20,
            "createdVmCount": 0,
            "failedToCreateVmCount": 0,
            "deletedVmCount": 0,
        }
    }
    done = project.done(op)
    status = done["instancesBulkInsertOperationMetadata"]["perLocationStatus"][f"zones/{B}"]
    assert (done["operationType"], status["status"], status["createdVmCount"]) == ("bulkInsert", "DONE", 20)
    children = project.call(
        "GET",
        f"zones/{B}/operations",
        filter=f"(operationGroupId={op['operationGroupId']}) (operationType=insert)",
    )["items"]
    assert {one["targetLink"].rpartition("/")[2] for one in children} == set(project.fake.names("RUNNING"))


def test_a_bulk_insert_makes_what_there_is_room_for_down_to_its_minimum() -> None:
    with open_project(capacity={"b": 3}) as project:
        op = project.done(project.bulk(many(*"abcde", least=2)))
        status = op["instancesBulkInsertOperationMetadata"]["perLocationStatus"][f"zones/{B}"]
        assert (status["createdVmCount"], status["failedToCreateVmCount"], "error" in op) == (3, 2, False)
        assert project.fake.names("RUNNING") == project.fake.names() == ["a", "b", "c"]
        failed = project.call("GET", f"zones/{B}/operations", filter="httpErrorStatusCode=503")["items"]
        assert {one["targetLink"].rpartition("/")[2] for one in failed} == {"d", "e"}


def test_a_bulk_insert_below_its_minimum_is_undone_and_says_why() -> None:
    with open_project(capacity={"b": 3}, delete_seconds=2) as project:
        op = project.bulk(many(*"abcde"))
        assert len(project.names()) == 5
        done = project.done(op)
        codes = [one["code"] for one in done["error"]["errors"]]
        assert codes == ["VM_MIN_COUNT_NOT_REACHED", "ZONE_RESOURCE_POOL_EXHAUSTED"]
        status = done["instancesBulkInsertOperationMetadata"]["perLocationStatus"][f"zones/{B}"]
        assert status["deletedVmCount"] == 3
        assert project.names() == []
        assert project.fake.disks() == []


def test_a_bulk_insert_may_be_refused_at_once_for_want_of_room() -> None:
    with open_project(capacity={"b": 3}, bulk_stockout_answer="request") as project:
        with pytest.raises(Refused) as caught:
            project.bulk(many(*"abcde"))
        assert (caught.value.status, caught.value.reason) == (503, "insufficientCapacity")
        assert project.fake.names() == []
        assert project.fake.operations() == []
        project.bulk(many(*"abcde", least=3))
        project.clock.sleep(5)
        assert project.fake.names() == ["a", "b", "c"]


@pytest.mark.parametrize("answer", ["request", "operation"])
def test_one_name_that_is_taken_spoils_a_bulk_insert(answer: str) -> None:
    with open_project(bulk_taken_answer=answer) as project:
        project.boot("b")
        if answer == "request":
            with pytest.raises(Refused) as caught:
                project.bulk(many(*"abc"))
            assert (caught.value.status, caught.value.reason) == (409, "alreadyExists")
        else:
            done = project.done(project.bulk(many(*"abc")))
            assert (done["error"]["errors"][0]["code"], done["httpErrorStatusCode"]) == (
                "RESOURCE_ALREADY_EXISTS",
                409,
            )
        assert project.fake.names() == ["b"]


def test_a_pattern_counts_on_from_the_greatest_number(project: Project) -> None:
    project.boot("web-0007", "web-9", "db-0009")
    properties = {"machineType": "e2-small", **kind()}
    project.bulk({"count": "2", "namePattern": "web-####", "instanceProperties": properties})
    assert project.names(filter="name eq web-000.") == ["web-0007", "web-0008", "web-0009"]


@pytest.mark.parametrize(
    "more",
    [
        {"count": "0"},
        {"count": "3"},
        {"minCount": "9"},
        {"namePattern": "a-##"},
        {"perInstanceProperties": {"Web": {}}},
        {"perInstanceProperties": {}},
        {"instanceProperties": {"machineType": f"zones/{B}/machineTypes/e2-small", **kind()}},
        {"locationPolicy": {}},
    ],
    ids=["none", "other-count", "minimum", "both", "name", "no-names", "type-by-url", "unheeded"],
)
def test_a_bulk_insert_that_cannot_be_is_refused(project: Project, more: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        project.bulk({**many("a", "b"), **more})
    assert caught.value.status == 400
    assert project.fake.names() == []


def test_a_quota_stops_inserts_by_its_name() -> None:
    with open_project(quotas={"CPUS": 4, "N2_CPUS": 2, "IN_USE_ADDRESSES": 1}) as project:
        project.boot("a", "b")
        (error,) = project.done(project.insert("c"))["error"]["errors"]
        assert error["message"] == "Quota 'CPUS' exceeded.  Limit: 4.0 in region europe-west1."
        assert error["code"] == "QUOTA_EXCEEDED"
        project.insert("c", machineType=f"zones/{B}/machineTypes/n2-standard-2")
        quotas = project.call("GET", "regions/europe-west1")["quotas"]
        assert {one["metric"]: (one["usage"], one["limit"]) for one in quotas}["N2_CPUS"] == (2.0, 2.0)
        project.fake.set_quota("CPUS", 6)
        project.insert("d", networkInterfaces=[{"accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}])
        project.clock.sleep(9)
        assert project.fake.names("RUNNING") == ["a", "b", "c", "d"]


def test_a_quota_may_refuse_at_once() -> None:
    with open_project(quotas={"INSTANCES": 2}, quota_answer="request") as project:
        with pytest.raises(Refused) as caught:
            project.bulk(many("a", "b", "c"))
        assert (caught.value.status, caught.value.reason) == (403, "quotaExceeded")
        project.bulk(many("a", "b", "c", least=1))
        project.clock.sleep(9)
        assert project.fake.names() == ["a", "b"]


def test_a_subnetwork_has_so_many_addresses(project: Project) -> None:
    nics = [{"subnetwork": "regions/europe-west1/subnetworks/private"}]
    op = project.bulk(many(*(f"n-{number}" for number in range(253)), least=1, networkInterfaces=nics))
    project.done(op)
    assert len(project.fake.names("RUNNING")) == 252
    failed = project.call("GET", f"zones/{B}/operations", filter="httpErrorStatusCode=400")["items"]
    assert failed[0]["error"]["errors"][0]["code"] == "IP_SPACE_EXHAUSTED"


@pytest.mark.parametrize(
    ("fault", "code"), [("capacity", "ZONE_RESOURCE_POOL_EXHAUSTED"), ("quota", "QUOTA_EXCEEDED")]
)
def test_an_insert_can_be_made_to_fail(project: Project, fault: str, code: str) -> None:
    project.fake.fail("provision", fault)
    assert project.done(project.insert("web-1"))["error"]["errors"][0]["code"] == code
    project.insert("web-1")
    assert project.fake.names() == ["web-1"]


def test_a_thousand_instances_take_one_call_and_a_moment(project: Project) -> None:
    project.bulk(many(*(f"web-{number}" for number in range(1000))))
    project.clock.sleep(10)
    assert len(project.fake.names("RUNNING")) == 1000
    assert project.fake.calls == {"instances.bulkInsert": 1}
