"""What instances of the Compute Engine stand-in hold: disks and addresses, and what may not be held."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.gce.project import IMAGE, REGION, B, C, Project, Refused, instance, open_project
from tests.fakes.gce.settings import SERVICE_ACCOUNT

BOOT = {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE}}
LABELLED = {"sourceImage": IMAGE, "labels": {"a": "1"}}
DEBIAN = "projects/debian-cloud/global/images"
DATA = {"source": f"zones/{B}/disks/data", "deviceName": "data"}
NAT = {"type": "ONE_TO_ONE_NAT", "name": "External NAT"}


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project() as project:
        yield project


def disk(project: Project, name: str) -> Any:
    return project.call("GET", f"zones/{B}/disks/{name}")


def address(project: Project, name: str) -> Any:
    return project.call("GET", f"regions/{REGION}/addresses/{name}")


def reserve(project: Project, name: str, **more: Any) -> Any:
    project.do(f"regions/{REGION}/addresses", {"name": name, **more})
    return address(project, name)


def refused(project: Project, path: str, body: Any = None, verb: str = "POST", **query: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        project.call(verb, path, body, **query)
    return caught.value.status, caught.value.reason


def test_disks_are_made_with_an_instance_as_it_wants_them(project: Project) -> None:
    params = {
        "diskName": "shop-data",
        "diskSizeGb": "20",
        "diskType": f"zones/{B}/diskTypes/pd-ssd",
        "labels": {"keep": "yes"},
        "description": "what must not be lost",
    }
    project.boot("web-1", disks=[BOOT, {"initializeParams": params}, {"initializeParams": {"diskSizeGb": "5"}}])
    data = disk(project, "shop-data")
    assert (data["sizeGb"], data["labels"], data["description"]) == ("20", {"keep": "yes"}, "what must not be lost")
    assert data["users"] == [project.see("web-1")["selfLink"]]
    assert data["type"].endswith("/diskTypes/pd-ssd")
    assert disk(project, "web-1")["sourceImage"].endswith("/images/linuxkit-2")
    devices = [(one["deviceName"], one["autoDelete"]) for one in project.see("web-1")["disks"]]
    assert devices == [("persistent-disk-0", True), ("persistent-disk-1", False), ("persistent-disk-2", False)]
    project.do(f"zones/{B}/instances/web-1", verb="DELETE")
    left = project.call("GET", "aggregated/disks")["items"][f"zones/{B}"]["disks"]
    assert [(one["name"], "users" in one) for one in left] == [("shop-data", False), ("web-1-2", False)]


def test_a_disk_that_another_instance_has_is_refused_and_a_name_that_is_taken(project: Project) -> None:
    project.do(f"zones/{B}/disks", {"name": "data", "sizeGb": "10"})
    project.boot("web-1", disks=[BOOT, DATA])
    taken = {"initializeParams": {"diskName": "data"}}
    path = f"zones/{B}/instances"
    assert refused(project, path, instance("web-2", disks=[BOOT, DATA])) == (400, "resourceInUseByAnotherResource")
    assert refused(project, path, instance("web-2", disks=[BOOT, taken])) == (409, "alreadyExists")
    assert refused(project, f"zones/{B}/disks", {"name": "data"}) == (409, "alreadyExists")
    assert refused(project, f"zones/{B}/disks/data", verb="DELETE") == (400, "resourceInUseByAnotherResource")
    assert project.fake.names() == ["web-1"]


def test_a_disk_is_made_labelled_and_deleted_by_itself(project: Project) -> None:
    op = project.call("POST", f"zones/{B}/disks", {"name": "data", "sizeGb": "10", "labels": {"a": "1"}})
    assert disk(project, "data")["status"] == "CREATING"
    project.done(op)
    before = disk(project, "data")
    assert before["status"] == "READY"
    labels = {"labels": {"a": "2"}, "labelFingerprint": before["labelFingerprint"]}
    project.do(f"zones/{B}/disks/data/setLabels", labels)
    assert refused(project, f"zones/{B}/disks/data/setLabels", labels) == (412, "conditionNotMet")
    assert [one["name"] for one in project.call("GET", f"zones/{B}/disks", filter="labels.a=2")["items"]] == ["data"]
    project.do(f"zones/{B}/disks/data", verb="DELETE")
    assert refused(project, f"zones/{B}/disks/data", verb="GET") == (404, "notFound")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"name": "Data"}, "invalid"),
        ({}, "required"),
        ({"name": "data", "sizeGb": "70000"}, "invalid"),
        ({"name": "data", "type": f"zones/{C}/diskTypes/pd-ssd"}, "invalid"),
        ({"name": "data", "type": "pd-ssd"}, "invalid"),
        ({"name": "data", "sourceImage": "global/images/none"}, "invalid"),
        ({"name": "data", "sourceImage": f"{DEBIAN}/family/debian-12", "sizeGb": "5"}, "invalid"),
        ({"name": "data", "replicaZones": []}, "unsupportedOperation"),
    ],
)  # fmt: skip
def test_a_disk_that_cannot_be_is_refused(project: Project, body: dict[str, Any], reason: str) -> None:
    assert refused(project, f"zones/{B}/disks", body) == (400, reason)
    assert project.fake.disks() == []


def test_a_disk_is_attached_and_detached_at_its_operations_end(project: Project) -> None:
    project.boot("web-1")
    project.do(f"zones/{B}/disks", {"name": "data"})
    path = f"zones/{B}/instances/web-1"
    op = project.call("POST", f"{path}/attachDisk", DATA)
    assert len(project.see("web-1")["disks"]) == 1
    project.done(op)
    assert [one["deviceName"] for one in project.see("web-1")["disks"]] == ["persistent-disk-0", "data"]
    project.do(f"{path}/setDiskAutoDelete", deviceName="data", autoDelete="true")
    assert project.see("web-1")["disks"][1]["autoDelete"] is True
    assert refused(project, f"{path}/detachDisk", deviceName="none") == (400, "invalid")
    assert refused(project, f"{path}/detachDisk", deviceName="persistent-disk-0") == (400, "invalidResourceUsage")
    project.do(f"{path}/detachDisk", deviceName="data")
    assert "users" not in disk(project, "data")
    project.do(path, verb="DELETE")
    assert [one.name for one in project.fake.disks()] == ["data"]


def test_a_disk_of_an_instance_that_went_meanwhile_is_free_again(project: Project) -> None:
    project.boot("web-1")
    project.do(f"zones/{B}/disks", {"name": "data"})
    project.call("DELETE", f"zones/{B}/instances/web-1")
    op = project.call("POST", f"zones/{B}/instances/web-1/attachDisk", DATA)
    assert project.done(op)["error"]["errors"][0]["code"] == "RESOURCE_NOT_FOUND"
    assert "users" not in disk(project, "data")


def test_disks_count_against_their_quota() -> None:
    with open_project(quotas={"SSD_TOTAL_GB": 100, "DISKS_TOTAL_GB": 10}) as project:
        ssd = f"zones/{B}/diskTypes/pd-ssd"
        assert "error" not in project.do(f"zones/{B}/disks", {"name": "a", "sizeGb": "100", "type": ssd})
        failed = project.do(f"zones/{B}/disks", {"name": "b", "sizeGb": "10", "type": ssd})
        assert failed["error"]["errors"][0]["code"] == "QUOTA_EXCEEDED"
        project.do(f"zones/{B}/disks", {"name": "c", "sizeGb": "10"})
        assert [one.name for one in project.fake.disks()] == ["a", "c"]


def test_an_address_is_reserved_given_and_given_back(project: Project) -> None:
    project.call("POST", f"regions/{REGION}/addresses", {"name": "front"})
    assert address(project, "front")["status"] == "RESERVING"
    project.clock.sleep(1)
    free = address(project, "front")
    assert (free["status"], free["addressType"]) == ("RESERVED", "EXTERNAL")
    nics = [{"network": "global/networks/default", "accessConfigs": [{**NAT, "natIP": free["address"]}]}]
    project.boot("web-1", networkInterfaces=nics)
    (nic,) = project.see("web-1")["networkInterfaces"]
    assert nic["accessConfigs"][0]["natIP"] == free["address"]
    used = address(project, "front")
    assert (used["status"], used["users"]) == ("IN_USE", [project.see("web-1")["selfLink"]])
    again = instance("web-2", networkInterfaces=nics)
    assert refused(project, f"zones/{B}/instances", again) == (400, "resourceInUseByAnotherResource")
    path = f"regions/{REGION}/addresses/front"
    assert refused(project, path, verb="DELETE") == (400, "resourceInUseByAnotherResource")
    project.do(f"zones/{B}/instances/web-1", verb="DELETE")
    assert address(project, "front")["status"] == "RESERVED"
    project.do(path, verb="DELETE")
    assert project.fake.addresses() == []


def test_an_internal_address_is_kept_for_who_names_it(project: Project) -> None:
    subnet = f"regions/{REGION}/subnetworks/private"
    inside = reserve(project, "inside", addressType="INTERNAL", subnetwork=subnet, labels={"a": "1"})
    chosen = reserve(project, "chosen", addressType="INTERNAL", subnetwork=subnet, address="10.10.0.77")
    assert (inside["address"], chosen["address"], inside["purpose"]) == ("10.10.0.2", "10.10.0.77", "GCE_ENDPOINT")
    nics = [{"subnetwork": subnet, "networkIP": inside["address"]}]
    project.boot("other", networkInterfaces=[{"subnetwork": subnet}])
    project.boot("web-1", networkInterfaces=nics)
    assert project.see("other")["networkInterfaces"][0]["networkIP"] == "10.10.0.3"
    assert address(project, "inside")["users"] == [project.see("web-1")["selfLink"]]
    path = f"zones/{B}/instances"
    assert refused(project, path, instance("web-2", networkInterfaces=nics)) == (
        400,
        "resourceInUseByAnotherResource",
    )
    taken = [{"subnetwork": subnet, "networkIP": "10.10.0.3"}]
    assert refused(project, path, instance("web-2", networkInterfaces=taken))[1] == "resourceInUseByAnotherResource"
    project.do(f"{path}/web-1", verb="DELETE")
    assert address(project, "inside")["status"] == "RESERVED"
    listed = project.call("GET", f"regions/{REGION}/addresses", filter="labels.a:*")["items"]
    assert [one["name"] for one in listed] == ["inside"]
    assert set(project.call("GET", "aggregated/addresses")["items"]) >= {"global", f"regions/{REGION}"}


def test_an_address_needs_the_current_fingerprint_for_other_labels(project: Project) -> None:
    before = reserve(project, "front")
    labels = {"labels": {"a": "1"}, "labelFingerprint": before["labelFingerprint"]}
    project.do(f"regions/{REGION}/addresses/front/setLabels", labels)
    assert address(project, "front")["labels"] == {"a": "1"}
    path = f"regions/{REGION}/addresses/front/setLabels"
    assert refused(project, path, labels) == (412, "conditionNotMet")


def test_addresses_count_against_their_quota() -> None:
    with open_project(quotas={"STATIC_ADDRESSES": 1}, quota_answer="request") as project:
        reserve(project, "a")
        assert refused(project, f"regions/{REGION}/addresses", {"name": "b"}) == (403, "quotaExceeded")


def test_an_external_address_comes_and_goes_while_an_instance_runs(project: Project) -> None:
    front = reserve(project, "front")
    project.boot("web-1")
    path = f"zones/{B}/instances/web-1"
    body = {"natIP": front["address"], **NAT}
    project.do(f"{path}/addAccessConfig", body, networkInterface="nic0")
    assert project.see("web-1")["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == front["address"]
    assert address(project, "front")["status"] == "IN_USE"
    assert refused(project, f"{path}/addAccessConfig", body, networkInterface="nic0") == (400, "invalid")
    query = {"networkInterface": "nic0", "accessConfig": "External NAT"}
    project.do(f"{path}/deleteAccessConfig", **query)
    assert "accessConfigs" not in project.see("web-1")["networkInterfaces"][0]
    assert address(project, "front")["status"] == "RESERVED"
    assert refused(project, f"{path}/deleteAccessConfig", **query) == (400, "invalid")


@pytest.mark.parametrize(
    ("permission", "more"),
    [
        ("compute.disks.create", {}),
        ("compute.disks.use", {"disks": [BOOT, DATA]}),
        ("compute.disks.setLabels", {"disks": [{**BOOT, "initializeParams": LABELLED}]}),
        ("compute.images.useReadOnly", {}),
        ("compute.subnetworks.use", {}),
        ("compute.subnetworks.useExternalIp", {"networkInterfaces": [{"accessConfigs": [NAT]}]}),
        ("compute.addresses.use", {"networkInterfaces": [{"accessConfigs": [{**NAT, "natIP": "front"}]}]}),
        ("compute.instances.setMetadata", {"metadata": {"items": [{"key": "k", "value": "v"}]}}),
        ("compute.instances.setTags", {"tags": {"items": ["web"]}}),
        ("compute.instances.setServiceAccount", {"serviceAccounts": [{"email": SERVICE_ACCOUNT, "scopes": ["s"]}]}),
        ("iam.serviceAccounts.actAs", {"serviceAccounts": [{"email": "default", "scopes": ["s"]}]}),
    ],
)  # fmt: skip
def test_what_an_insert_says_decides_on_the_permissions_it_takes(
    project: Project, permission: str, more: dict[str, Any]
) -> None:
    front = reserve(project, "front")
    project.do(f"zones/{B}/disks", {"name": "data"})
    body = instance("web-1", **more)
    config = body["networkInterfaces"][0].get("accessConfigs", [{}])[0]
    if config.get("natIP") == "front":
        config["natIP"] = front["address"]
    project.fake.deny(permission)
    assert refused(project, f"zones/{B}/instances", body) == (403, "forbidden")
    project.fake.deny(permission, denied=False)
    project.call("POST", f"zones/{B}/instances", body)
