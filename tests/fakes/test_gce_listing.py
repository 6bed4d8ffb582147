"""Listings of the Compute Engine stand-in: filters, pages, scopes, partial answers, and how fast they are."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud import compute_v1

from tests.fakes.gce.filters import read_filter
from tests.fakes.gce.project import B, C, Project, Refused, many, open_project
from tests.fakes.gce.settings import PROJECT, ZONES

THING = {
    "name": "web-1",
    "status": "RUNNING",
    "labels": {"infrakit-cluster": "shop", "role": "web", "empty": ""},
    "tags": {"items": ["http", "ssh"]},
    "deletionProtection": False,
    "disks": [{"diskSizeGb": "10", "index": 0}, {"diskSizeGb": "20", "index": 1}],
    "machineType": "https://www.googleapis.com/compute/v1/projects/p/zones/z/machineTypes/e2-small",
}


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project() as project:
        yield project


@pytest.mark.parametrize(
    ("written", "passes"),
    [
        ("labels.infrakit-cluster=shop", True),
        ("labels.infrakit-cluster = shop", True),
        ('labels.infrakit-cluster="shop"', True),
        ("labels.infrakit-cluster='shop'", True),
        ("labels.infrakit-cluster=sho", False),
        ("labels.infrakit-cluster!=shop", False),
        ("labels.other!=shop", True),
        ("labels.other=shop", False),
        ("labels.role:*", True),
        ("labels.empty:*", True),
        ("labels.other:*", False),
        ("NOT labels.other:*", True),
        ("-labels.role:*", False),
        ("labels.role:WE", True),
        ("machineType:e2-small", True),
        ("machineType=e2-small", False),
        ("status != TERMINATED", True),
        ("name = web-1", True),
        ("name eq web-.*", True),
        ("name eq web", False),
        ("name eq '(web|db)-[0-9]'", True),
        ("name ne web-.*", False),
        ("tags.items=ssh", True),
        ("disks.diskSizeGb=20", True),
        ("disks.index>0", True),
        ("disks.index>1", False),
        ("deletionProtection=false", True),
        ("deletionProtection=true", False),
        ("(labels.role=web) (status=RUNNING)", True),
        ("(labels.role=web) (status=TERMINATED)", False),
        ("labels.role=web AND status=TERMINATED", False),
        ("labels.role=db OR status=RUNNING", True),
        ("(labels.role=db) OR (labels.role=web) AND (status=TERMINATED)", False),
        ("(status=TERMINATED) AND ((labels.role=db) OR (labels.role=web))", False),
        ("NOT (labels.role=db OR labels.role=web)", False),
        (r'name="web\-1"', True),
        ("", True),
    ],
)
def test_a_filter_lets_through_what_it_says(written: str, passes: bool) -> None:
    assert read_filter(written, "Instance").matches(THING) is passes


@pytest.mark.parametrize(
    "written",
    [
        "labels",
        "nonsense=1",
        "name",
        "name=",
        "=a",
        "(name=a",
        "name=a)",
        "labels=x",
        "name eq [",
        "name = a b",
        "AND",
    ],
)
def test_a_filter_that_is_none_is_refused(project: Project, written: str) -> None:
    with pytest.raises(Refused) as caught:
        project.names(filter=written)
    assert (caught.value.status, caught.value.reason) == (400, "invalid")


def test_a_filter_that_demands_labels_says_so() -> None:
    assert read_filter("(labels.a=1) AND labels.b=2", "Instance").labels == {"a": "1", "b": "2"}
    assert read_filter("labels.a=1 OR labels.b=2", "Instance").labels == {}
    assert read_filter("NOT labels.a=1", "Instance").labels == {}


def test_listings_by_label_keep_up_with_labels(project: Project) -> None:
    project.boot("web-1", labels={"a": "1"})
    project.boot("web-2", labels={"a": "1"})
    fingerprint = project.see("web-1")["labelFingerprint"]
    project.do(f"zones/{B}/instances/web-1/setLabels", {"labels": {"a": "2"}, "labelFingerprint": fingerprint})
    assert project.names(filter="labels.a=1") == ["web-2"]
    assert project.names(filter="labels.a=2") == ["web-1"]
    assert project.names(filter="labels.a=3") == []
    project.do(f"zones/{B}/instances/web-2", verb="DELETE")
    assert project.names(filter="labels.a=1") == []


def test_an_instance_that_goes_while_it_gets_labels_is_listed_by_none() -> None:
    with open_project(operation_seconds=5, delete_seconds=1) as project:
        project.boot("web-1")
        fingerprint = project.see("web-1")["labelFingerprint"]
        body = {"labels": {"a": "1"}, "labelFingerprint": fingerprint}
        op = project.call("POST", f"zones/{B}/instances/web-1/setLabels", body)
        project.call("DELETE", f"zones/{B}/instances/web-1")
        project.done(op)
        assert project.names(filter="labels.a=1") == project.names() == []


def test_listings_go_by_name_in_pages_that_begin_where_the_last_one_ended(project: Project) -> None:
    project.bulk(many(*(f"web-{number}" for number in range(5))))
    first = project.call("GET", f"zones/{B}/instances", maxResults=2)
    project.call("DELETE", f"zones/{B}/instances/web-0")
    project.clock.sleep(2)
    second = project.call("GET", f"zones/{B}/instances", maxResults=2, pageToken=first["nextPageToken"])
    third = project.call("GET", f"zones/{B}/instances", maxResults=2, pageToken=second["nextPageToken"])
    pages = [[one["name"] for one in page["items"]] for page in (first, second, third)]
    assert pages == [["web-0", "web-1"], ["web-2", "web-3"], ["web-4"]]
    assert "nextPageToken" not in third


def test_operations_may_be_listed_the_newest_first(project: Project) -> None:
    for name in ("a", "b", "c"):
        project.insert(name)
        project.clock.sleep(1)
    query: dict[str, Any] = {"orderBy": "creationTimestamp desc", "maxResults": 2}
    first = project.call("GET", f"zones/{B}/operations", **query)
    second = project.call("GET", f"zones/{B}/operations", **query, pageToken=first["nextPageToken"])
    names = [one["targetLink"].rpartition("/")[2] for page in (first, second) for one in page["items"]]
    assert names == ["c", "b", "a"]


@pytest.mark.parametrize("query", [{"maxResults": 501}, {"pageToken": "x"}, {"orderBy": "status"}])
def test_pages_have_bounds(project: Project, query: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        project.names(**query)
    assert caught.value.reason == "invalid"


def test_an_empty_listing_has_no_items(project: Project) -> None:
    assert "items" not in project.call("GET", f"zones/{B}/instances")


def test_an_aggregated_listing_names_each_scope_also_those_without_anything(project: Project) -> None:
    project.boot("web-1")
    items = project.call("GET", "aggregated/instances")["items"]
    assert set(items) == {f"zones/{one}" for one in ZONES}
    assert [one["name"] for one in items[f"zones/{B}"]["instances"]] == ["web-1"]
    empty = items[f"zones/{C}"]
    assert (empty["warning"]["code"], "instances" in empty) == ("NO_RESULTS_ON_PAGE", False)


def test_googles_client_reads_all_pages_of_all_scopes(project: Project) -> None:
    for zone in (B, C):
        project.bulk(many(*(f"web-{number}" for number in range(7)), labels={"a": "1"}), zone)
    request = compute_v1.AggregatedListInstancesRequest(project=PROJECT, filter="labels.a=1", max_results=3)
    found = [
        (scope, one.name)
        for scope, some in project.client("Instances").aggregated_list(request=request)
        for one in some.instances
    ]
    assert sorted(found) == [(f"zones/{zone}", f"web-{number}") for zone in (B, C) for number in range(7)]
    assert project.fake.calls["instances.aggregatedList"] == 5


def test_only_what_is_wanted_is_answered(project: Project) -> None:
    project.boot("web-1", metadata={"items": [{"key": "k", "value": "v"}]}, labels={"a": "1"})
    mask = "items/*/instances(name,labels,networkInterfaces/networkIP),nextPageToken"
    shown = {"name": "web-1", "labels": {"a": "1"}, "networkInterfaces": [{"networkIP": "10.132.0.2"}]}
    for reply in (
        project.call("GET", "aggregated/instances", fields=mask),
        project.call("GET", "aggregated/instances", headers={"X-Goog-FieldMask": mask}),
    ):
        assert reply["items"][f"zones/{B}"] == {"instances": [shown]}
        assert reply["items"][f"zones/{C}"] == {}
        assert set(reply) == {"items"}
    assert project.call("GET", f"zones/{B}/instances", fields="items.name") == {"items": [{"name": "web-1"}]}
    assert set(project.call("GET", f"zones/{B}/instances", fields="*")) >= {"items", "kind", "selfLink"}


def test_googles_client_can_say_what_it_wants(project: Project) -> None:
    project.bulk(many("a", "b", "c"))
    mask = [("x-goog-fieldmask", "items(name,status),nextPageToken")]
    request = {"project": PROJECT, "zone": B, "max_results": 2}
    found = list(project.client("Instances").list(request=request, metadata=mask))
    assert [(one.name, one.status, one.id) for one in found] == [(name, "PROVISIONING", 0) for name in "abc"]


@pytest.mark.parametrize("mask", ["items/nonsense", "items(name", "items//name", "items/name/x", ","])
def test_what_cannot_be_wanted_is_refused(project: Project, mask: str) -> None:
    with pytest.raises(Refused) as caught:
        project.call("GET", f"zones/{B}/instances", fields=mask)
    assert (caught.value.status, caught.value.reason) == (400, "invalidParameter")


def test_a_zone_that_does_not_answer_fails_listings_unless_part_of_it_will_do(project: Project) -> None:
    project.boot("web-1")
    project.boot("web-2", zone=C)
    project.fake.lose_zone("c")
    for path in ("aggregated/instances", f"zones/{C}/instances", f"zones/{C}/instances/web-2"):
        with pytest.raises(Refused) as caught:
            project.call("GET", path)
        assert (caught.value.status, caught.value.reason) == (503, "backendError")
    reply = project.call("GET", "aggregated/instances", returnPartialSuccess="true")
    assert reply["unreachables"] == [f"zones/{C}"]
    assert reply["items"][f"zones/{C}"]["warning"]["code"] == "UNREACHABLE"
    assert [one["name"] for one in reply["items"][f"zones/{B}"]["instances"]] == ["web-1"]
    project.fake.lose_zone("c", unasked=True)
    assert project.call("GET", "aggregated/instances")["unreachables"] == [f"zones/{C}"]
    project.fake.lose_zone("c", lost=False)
    assert project.see("web-2", C)["name"] == "web-2"


def test_what_google_offers_is_listed_where_it_is(project: Project) -> None:
    in_d = {one["name"] for one in project.call("GET", "zones/europe-west1-d/machineTypes")["items"]}
    assert not in_d & {"c3-standard-4", "a2-highgpu-1g", "t2a-standard-1"}
    found = project.call("GET", "aggregated/machineTypes", filter="name=t2a-standard-1")["items"]
    assert [scope for scope, some in found.items() if "machineTypes" in some] == [f"zones/{B}"]
    assert project.call("GET", f"zones/{B}/machineTypes/t2a-standard-1")["architecture"] == "ARM64"
    assert project.call("GET", "regions/europe-west1")["zones"][0].endswith("/zones/europe-west1-b")
    assert [one["name"] for one in project.call("GET", "zones")["items"]] == sorted(ZONES)
    assert project.call("GET", "global/networks/private")["autoCreateSubnetworks"] is False
    subnets = project.call("GET", "regions/europe-west1/subnetworks")["items"]
    assert [one["ipCidrRange"] for one in subnets] == ["10.132.0.0/20", "10.10.0.0/24"]
    assert project.call("GET", f"zones/{B}/diskTypes/pd-ssd")["zone"].endswith(B)
    assert project.call("GET", f"zones/{B}/acceleratorTypes/nvidia-tesla-t4")["maximumCardsPerInstance"] == 4
    assert project.request("GET", f"/compute/v1/projects/{PROJECT}")["name"] == PROJECT


def test_a_family_is_its_newest_image_that_is_not_deprecated(project: Project) -> None:
    path = "global/images/family/linuxkit"
    assert project.call("GET", path)["name"] == "linuxkit-2"
    project.fake.deprecate_image("linuxkit-2")
    assert project.call("GET", path)["name"] == "linuxkit-1"
    assert project.call("GET", "global/images/linuxkit-2")["deprecated"] == {"state": "DEPRECATED"}
    project.fake.add_image("linuxkit-3", "linuxkit")
    assert project.call("GET", path)["name"] == "linuxkit-3"
    project.fake.remove_image("linuxkit-3")
    debian = project.request("GET", "/compute/v1/projects/debian-cloud/global/images/family/debian-12")
    assert debian["selfLink"].startswith("https://www.googleapis.com/compute/v1/projects/debian-cloud/")


def test_many_among_more_are_listed_by_pages() -> None:
    with open_project(subnet_bits=18) as project:
        for zone, number, labels in ((B, 700, {"a": "1"}), (C, 500, {"a": "1"}), (C, 300, {"a": "2"})):
            names = [f"web-{labels['a']}-{one}" for one in range(number)]
            project.bulk(many(*names, labels=labels), zone)
        project.clock.sleep(5)
        found, token = 0, ""
        while True:
            target = f"/compute/v1/projects/{PROJECT}/aggregated/instances?filter=labels.a%3D1&pageToken={token}"
            headers = {"authorization": f"Bearer {project.token}"}
            answer = json.loads(project.fake.front.answer("GET", target, headers, b"").body)
            found += sum(len(one.get("instances", [])) for one in answer["items"].values())
            if not (token := answer.get("nextPageToken", "")):
                break
        assert found == 1200
