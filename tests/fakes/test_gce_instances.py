"""Instances of the Compute Engine stand-in: how they come to be, live, change and go."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.cloud import compute_v1

from tests.fakes.gce.project import IMAGE, B, C, Project, Refused, instance, many, open_project, refusal
from tests.fakes.gce.settings import DEFAULT_ACCOUNT, PROJECT

ID = "6f1c1b5e-54ab-4f3b-8d3c-0f00d0000001"


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project(boot_seconds=10, delete_seconds=4, stop_seconds=3) as project:
        yield project


def test_an_instance_is_provisioned_staged_runs_stops_and_is_gone(project: Project) -> None:
    inserted = project.insert("web-1")
    states = [project.see("web-1")["status"]]
    for _ in range(2):
        project.clock.sleep(5)
        states.append(project.see("web-1")["status"])
    deleted = project.call("DELETE", f"zones/{B}/instances/web-1")
    states.append(project.see("web-1")["status"])
    assert states == ["PROVISIONING", "STAGING", "RUNNING", "STOPPING"]
    project.clock.sleep(4)
    with pytest.raises(Refused, match="was not found"):
        project.see("web-1")
    assert project.names() == []
    assert [project.again(one)["status"] for one in (inserted, deleted)] == ["DONE", "DONE"]
    assert project.fake.disks() == []


def test_an_operation_is_pending_runs_and_is_done_when_its_work_is(project: Project) -> None:
    op = project.insert("web-1", request_id=ID)
    seen = [op["status"]]
    for seconds in (1, 8, 1):
        project.clock.sleep(seconds)
        seen.append(project.again(op)["status"])
    assert seen == ["PENDING", "RUNNING", "RUNNING", "DONE"]
    done = project.again(op)
    assert (done["operationType"], done["progress"], done["clientOperationId"]) == ("insert", 100, ID)
    assert done["targetLink"] == project.see("web-1")["selfLink"]
    assert done["targetId"] == project.see("web-1")["id"]
    assert done["insertTime"] < done["startTime"] < done["endTime"]


def test_googles_client_inserts_waits_looks_labels_and_deletes(project: Project) -> None:
    instances, operations = project.client("Instances"), project.client("ZoneOperations")
    where = {"project": PROJECT, "zone": B}
    made = compute_v1.Instance(
        name="web-1",
        machine_type=f"zones/{B}/machineTypes/e2-small",
        labels={"role": "web"},
        disks=[
            compute_v1.AttachedDisk(
                boot=True,
                auto_delete=True,
                initialize_params=compute_v1.AttachedDiskInitializeParams(source_image=IMAGE, disk_size_gb=10),
            )
        ],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        scheduling=compute_v1.Scheduling(provisioning_model="SPOT", instance_termination_action="DELETE"),
    )
    op = instances.insert_unary(**where, instance_resource=made)
    project.clock.sleep(10)
    assert operations.wait(**where, operation=op.name).status == compute_v1.Operation.Status.DONE
    seen = instances.get(**where, instance="web-1")
    assert (seen.status, dict(seen.labels), seen.disks[0].disk_size_gb) == ("RUNNING", {"role": "web"}, 10)
    assert (seen.scheduling.provisioning_model, seen.scheduling.automatic_restart) == ("SPOT", False)
    with pytest.raises(Conflict) as caught:
        instances.insert_unary(**where, instance_resource=made)
    assert refusal(caught.value) == (409, "alreadyExists")
    asked = compute_v1.InstancesSetLabelsRequest(labels={"role": "db"}, label_fingerprint=seen.label_fingerprint)
    instances.set_labels_unary(**where, instance="web-1", instances_set_labels_request_resource=asked)
    project.clock.sleep(1)
    (listed,) = instances.list(request={**where, "filter": "labels.role=db"})
    assert listed.name == "web-1"
    instances.delete_unary(**where, instance="web-1")
    project.clock.sleep(4)
    with pytest.raises(NotFound):
        instances.get(**where, instance="web-1")


def test_a_repeated_request_is_answered_with_its_operation_whatever_else_it_says(project: Project) -> None:
    first = project.insert("web-1", request_id=ID)
    assert project.insert("web-2", request_id=ID, labels={"Not": "Allowed"})["name"] == first["name"]
    assert project.fake.names() == ["web-1"]
    project.clock.sleep(3599)
    assert project.insert("web-1", request_id=ID)["id"] == first["id"]


def test_a_request_id_is_remembered_for_an_hour(project: Project) -> None:
    project.insert("web-1", request_id=ID)
    project.clock.sleep(3600)
    project.token = project.fake.front.doorkeeper.give_unasked()
    with pytest.raises(Refused) as caught:
        project.insert("web-1", request_id=ID)
    assert caught.value.reason == "alreadyExists"


def test_a_refused_request_uses_up_no_request_id(project: Project) -> None:
    with pytest.raises(Refused):
        project.insert("web-1", request_id=ID, labels={"Not": "Allowed"})
    project.insert("web-1", request_id=ID)
    assert project.fake.names() == ["web-1"]


@pytest.mark.parametrize("request_id", ["1", "00000000-0000-0000-0000-000000000000"], ids=["no-uuid", "zero"])
def test_a_request_id_must_be_a_uuid_and_not_zero(project: Project, request_id: str) -> None:
    with pytest.raises(Refused) as caught:
        project.insert("web-1", request_id=request_id)
    assert (caught.value.status, caught.value.reason) == (400, "invalid")


def test_a_name_is_taken_until_its_instance_is_gone_and_in_its_zone_only(project: Project) -> None:
    project.boot("web-1")
    project.insert("web-1", C)
    project.call("DELETE", f"zones/{B}/instances/web-1")
    with pytest.raises(Refused) as caught:
        project.insert("web-1")
    assert (caught.value.status, caught.value.reason) == (409, "alreadyExists")
    assert "status" not in caught.value.error
    project.clock.sleep(4)
    project.insert("web-1")


def test_a_new_instance_is_there_late_if_so_set() -> None:
    with open_project(accept_seconds=2, listing_lag=5, bulk_appear_seconds=1) as project:
        project.insert("web-1")
        project.bulk(many("web-2"))
        seen = []
        for seconds in (0, 1, 1, 3):
            project.clock.sleep(seconds)
            got = [name for name in ("web-1", "web-2") if _is_there(project, name)]
            seen.append((got, project.names()))
        assert seen == [([], []), (["web-2"], []), (["web-1", "web-2"], []), (["web-1", "web-2"], ["web-1", "web-2"])]


def _is_there(project: Project, name: str) -> bool:
    try:
        return bool(project.see(name))
    except Refused as exc:
        return exc.status != 404


def test_deletion_is_refused_to_the_protected_and_to_what_is_being_deleted(project: Project) -> None:
    project.boot("web-1", deletionProtection=True)
    with pytest.raises(Refused) as protected:
        project.call("DELETE", f"zones/{B}/instances/web-1")
    project.do(f"zones/{B}/instances/web-1/setDeletionProtection", deletionProtection="false")
    project.call("DELETE", f"zones/{B}/instances/web-1")
    with pytest.raises(Refused) as twice:
        project.call("DELETE", f"zones/{B}/instances/web-1")
    assert [(one.value.status, one.value.reason) for one in (protected, twice)] == [
        (400, "invalidResourceUsage"),
        (400, "resourceNotReady"),
    ]


def test_an_instance_is_shown_as_it_was_wanted(project: Project) -> None:
    wanted: dict[str, Any] = {
        "description": "the first",
        "hostname": "web-1.example.com",
        "minCpuPlatform": "Intel Skylake",
        "canIpForward": True,
        "shieldedInstanceConfig": {"enableSecureBoot": True},
        "guestAccelerators": [
            {"acceleratorType": f"zones/{B}/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 2}
        ],
        "scheduling": {"onHostMaintenance": "TERMINATE"},
        "serviceAccounts": [{"email": "default", "scopes": ["https://www.googleapis.com/auth/compute"]}],
        "tags": {"items": ["http", "ssh"]},
    }
    project.boot("web-1", machineType=f"projects/{PROJECT}/zones/{B}/machineTypes/n1-standard-1", **wanted)
    seen = project.see("web-1")
    for name in ("description", "hostname", "minCpuPlatform", "canIpForward", "shieldedInstanceConfig"):
        assert seen[name] == wanted[name]
    assert seen["guestAccelerators"][0]["acceleratorType"].startswith("https://www.googleapis.com/compute/v1/")
    assert seen["serviceAccounts"][0]["email"] == DEFAULT_ACCOUNT
    assert (seen["tags"]["items"], seen["scheduling"]["onHostMaintenance"]) == (["http", "ssh"], "TERMINATE")


def test_labels_change_at_their_operations_end_and_need_the_current_fingerprint(project: Project) -> None:
    project.boot("web-1", labels={"a": "1"})
    old = project.see("web-1")["labelFingerprint"]
    path = f"zones/{B}/instances/web-1/setLabels"
    op = project.call("POST", path, {"labels": {"b": "2"}, "labelFingerprint": old})
    assert project.fake.labels_of("web-1") == {"a": "1"}
    project.done(op)
    assert project.see("web-1")["labels"] == {"b": "2"}
    with pytest.raises(Refused) as caught:
        project.call("POST", path, {"labels": {}, "labelFingerprint": old})
    assert (caught.value.status, caught.value.reason) == (412, "conditionNotMet")


def test_metadata_needs_the_current_fingerprint_and_has_its_limits(project: Project) -> None:
    project.boot("web-1")
    fingerprint = project.see("web-1")["metadata"]["fingerprint"]
    path, items = f"zones/{B}/instances/web-1/setMetadata", [{"key": "user-data", "value": "hello"}]
    project.do(path, {"items": items, "fingerprint": fingerprint})
    assert project.fake.metadata_of("web-1") == {"user-data": "hello"}
    fresh = project.see("web-1")["metadata"]["fingerprint"]
    large = [{"key": f"k{number}", "value": "x" * 200_000} for number in range(3)]
    for body, reason in (
        ({"items": items, "fingerprint": fingerprint}, "conditionNotMet"),
        ({"items": [{"key": "k", "value": "x" * 262_145}], "fingerprint": fresh}, "invalid"),
        ({"items": large, "fingerprint": fresh}, "invalid"),
        ({"items": items * 2, "fingerprint": fresh}, "invalid"),
    ):
        with pytest.raises(Refused) as caught:
            project.call("POST", path, body)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("labels", "ok"),
    [
        ({"a": "", "b_-9": "x_-9"}, True),
        ({f"k{number}": "v" for number in range(64)}, True),
        ({f"k{number}": "v" for number in range(65)}, False),
        ({"1a": "v"}, False),
        ({"A": "v"}, False),
        ({"a.b": "v"}, False),
        ({"a" * 64: "v"}, False),
        ({"a": "v" * 64}, False),
        ({"a": "V"}, False),
    ],
    ids=["plain", "64", "65", "digit", "capital", "dot", "long-key", "long-value", "capital-value"],
)
def test_labels_are_what_google_allows(project: Project, labels: dict[str, str], ok: bool) -> None:
    if ok:
        project.insert("web-1", labels=labels)
        return
    with pytest.raises(Refused) as caught:
        project.insert("web-1", labels=labels)
    assert caught.value.reason == "invalid"


def _of_type(disk_type: str) -> dict[str, Any]:
    params = {"sourceImage": IMAGE, "diskType": f"zones/{B}/diskTypes/{disk_type}", "diskSizeGb": "10"}
    return {"boot": True, "initializeParams": params}


_BOOT = {"boot": True, "initializeParams": {"sourceImage": IMAGE}}
_REFUSED: dict[str, dict[str, Any]] = {
    "machine-type": {"machineType": f"zones/{B}/machineTypes/m5-large"},
    "machine-type-elsewhere": {"machineType": f"zones/{C}/machineTypes/e2-small"},
    "machine-type-by-name": {"machineType": "e2-small"},
    "arm-with-x86-image": {"machineType": f"zones/{B}/machineTypes/t2a-standard-1"},
    "image": {"disks": [{"boot": True, "initializeParams": {"sourceImage": "global/images/none"}}]},
    "no-disk": {"disks": []},
    "two-boot-disks": {"disks": [_BOOT, {**_BOOT, "deviceName": "other"}]},
    "small-disk": {"disks": [{"boot": True, "initializeParams": {"sourceImage": IMAGE, "diskSizeGb": "0"}}]},
    "disk-type": {
        "disks": [{"boot": True, "initializeParams": {"sourceImage": IMAGE, "diskType": f"zones/{B}/diskTypes/gp3"}}]
    },
    "no-network": {"networkInterfaces": []},
    "network": {"networkInterfaces": [{"network": "global/networks/none"}]},
    "custom-network-without-subnetwork": {"networkInterfaces": [{"network": "global/networks/private"}]},
    "foreign-external-address": {"networkInterfaces": [{"accessConfigs": [{"natIP": "1.2.3.4"}]}]},
    "address-outside": {"networkInterfaces": [{"networkIP": "10.9.9.9"}]},
    "service-account": {"serviceAccounts": [{"email": "nobody@x.iam.gserviceaccount.com", "scopes": ["s"]}]},
    "service-account-without-scopes": {"serviceAccounts": [{"email": "default"}]},
    "spot-that-restarts": {"scheduling": {"provisioningModel": "SPOT", "automaticRestart": True}},
    "spot-that-migrates": {"scheduling": {"provisioningModel": "SPOT", "onHostMaintenance": "MIGRATE"}},
    "gpu-that-migrates": {"machineType": f"zones/{B}/machineTypes/a2-highgpu-1g"},
    "gpu-on-a-type-without": {
        "scheduling": {"onHostMaintenance": "TERMINATE"},
        "guestAccelerators": [{"acceleratorType": f"zones/{B}/acceleratorTypes/nvidia-tesla-t4"}],
    },
    "hyperdisk-on-an-older-type": {"disks": [_of_type("hyperdisk-balanced")]},
    "standard-disk-on-a-newer-type": {
        "machineType": f"zones/{B}/machineTypes/c3-standard-4",
        "disks": [_of_type("pd-standard")],
    },
    "platform": {"minCpuPlatform": "Intel Skylake"},
    "confidential": {"confidentialInstanceConfig": {"enableConfidentialCompute": True}},
    "tag": {"tags": {"items": ["Web"]}},
    "unheeded": {"sourceMachineImage": "global/machineImages/one"},
}


@pytest.mark.parametrize("more", _REFUSED.values(), ids=_REFUSED.keys())
def test_an_insert_that_cannot_be_is_refused_and_makes_nothing(project: Project, more: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        project.insert("web-1", **more)
    assert caught.value.status == 400
    assert project.fake.names() == []
    assert project.fake.operations() == []
    assert project.fake.disks() == []


def test_an_instance_stops_and_starts_and_changes_its_ephemeral_address(project: Project) -> None:
    project.boot("web-1", networkInterfaces=[{"accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}])
    path, seen = f"zones/{B}/instances/web-1", []
    for act, seconds in (("stop", 0), ("", 3), ("start", 0), ("", 10)):
        if act:
            project.call("POST", f"{path}/{act}")
        project.clock.sleep(seconds)
        one = project.see("web-1")
        seen.append((one["status"], one["networkInterfaces"][0]["accessConfigs"][0].get("natIP")))
    assert [status for status, _ in seen] == ["STOPPING", "TERMINATED", "PROVISIONING", "RUNNING"]
    assert seen[1][1] is None
    assert seen[0][1] != seen[3][1]


def test_a_machine_that_powers_off_is_terminated_and_stays(project: Project) -> None:
    project.boot("web-1")
    project.fake.kill("web-1")
    seen = project.see("web-1")
    assert (seen["status"], "lastStopTimestamp" in seen) == ("TERMINATED", True)


@pytest.mark.parametrize(("action", "left"), [("STOP", "TERMINATED"), ("DELETE", "")])
def test_a_spot_vm_is_taken_with_notice(project: Project, action: str, left: str) -> None:
    project.boot("web-1", scheduling={"provisioningModel": "SPOT", "instanceTerminationAction": action})
    project.fake.preempt("web-1")
    assert project.see("web-1")["status"] == "STOPPING"
    (op,) = project.call("GET", f"zones/{B}/operations", filter="operationType=compute.instances.preempted")["items"]
    assert (op["status"], op["user"], op["targetLink"].rpartition("/")[2]) == ("DONE", "system", "web-1")
    project.clock.sleep(35)
    assert project.fake.state_of("web-1") == left


def test_what_happens_to_instances_from_outside_is_seen(project: Project) -> None:
    project.boot("web-1", labels={"role": "web"}, metadata={"items": [{"key": "k", "value": "v"}]})
    project.fake.sicken("web-1")
    project.fake.schedule_maintenance("web-1", starts_in=60)
    project.fake.write_console("web-1", "hello")
    seen = project.see("web-1")
    assert seen["status"] == "REPAIRING"
    assert seen["resourceStatus"]["upcomingMaintenance"]["maintenanceStatus"] == "PENDING"
    output = project.call("GET", f"zones/{B}/instances/web-1/serialPort", start="2")
    assert (output["contents"], output["next"]) == ("llo", "5")
    project.fake.sicken("web-1", sick=False)
    assert project.see("web-1")["status"] == "RUNNING"
    project.fake.clone("web-1", "web-2")
    project.fake.make_foreign()
    assert (project.fake.labels_of("web-2"), project.fake.metadata_of("web-2")) == ({"role": "web"}, {"k": "v"})
    project.fake.delete("web-1")
    project.clock.sleep(4)
    assert project.names() == ["foreign", "web-2"]
    assert project.fake.find("web-2").insert is not None


def test_mishaps_of_the_simulated_cloud_happen_here_too(project: Project) -> None:
    project.boot("web-1", "web-2")
    project.fake.mishap("kill", 1, "web-2")
    assert project.fake.names("TERMINATED") == ["web-2"]
    project.fake.mishap("no-capacity", target=B)
    assert "error" in project.done(project.insert("web-3"))
    project.fake.mishap("relief")
    project.fake.mishap("throttle", 1, "destroy")
    with pytest.raises(Refused) as caught:
        project.call("DELETE", f"zones/{B}/instances/web-1")
    assert caught.value.reason == "rateLimitExceeded"


def test_an_unknown_instance_is_told_by_googles_client(project: Project) -> None:
    with pytest.raises(GoogleAPICallError) as caught:
        project.client("Instances").get(project=PROJECT, zone=B, instance="none")
    assert refusal(caught.value) == (404, "notFound")


def test_names_are_checked(project: Project) -> None:
    for name in ("Web", "web_1", "1web", "w" * 64, "web-"):
        with pytest.raises(Refused) as caught:
            project.call("POST", f"zones/{B}/instances", instance(name))
        assert caught.value.reason == "invalid"
