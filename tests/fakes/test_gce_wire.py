"""What the Compute Engine stand-in takes and answers: strictness, credentials, limits, faults, a second client."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import google.auth
import pytest
import requests
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from google.auth import jwt
from google.auth.transport.requests import AuthorizedSession
from google.cloud import compute_v1
from googleapiclient.discovery import build  # type: ignore[import-untyped] # it has no types
from googleapiclient.errors import HttpError  # type: ignore[import-untyped] # it has no types

from infrakit_py.clock import VirtualClock
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.actions import HANDLERS
from tests.fakes.gce.auth import UNIVERSE
from tests.fakes.gce.checking import Misfit, check_of
from tests.fakes.gce.document import document, method
from tests.fakes.gce.permissions import ALWAYS
from tests.fakes.gce.project import B, Project, Refused, instance, many, open_project
from tests.fakes.gce.settings import PROJECT, SERVICE_ACCOUNT
from tests.fakes.proxy import DropReply, FaultProxy

LIST = f"/compute/v1/projects/{PROJECT}/zones/{B}/instances"


@pytest.fixture
def project() -> Iterator[Project]:
    with open_project() as project:
        yield project


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ({"machinetype": "e2-small"}, "badRequest", 'Unknown name "machinetype"'),
        ({"disks": [{"bootable": True}]}, "badRequest", "Unknown name \"bootable\" at 'resource.disks[0]'"),
        ({"deletionProtection": "true"}, "badRequest", "TYPE_BOOL"),
        ({"labels": {"a": 1}}, "badRequest", "TYPE_STRING"),
        ({"disks": {}}, "badRequest", "is no list"),
        ({"disks": [{"initializeParams": {"diskSizeGb": 10}}]}, "badRequest", "diskSizeGb"),
        ({"disks": [{"initializeParams": {"diskSizeGb": "ten"}}]}, "badRequest", "TYPE_INT64"),
        ({"scheduling": {"provisioningModel": "CHEAP"}}, "badRequest", "TYPE_ENUM"),
        ({"labelFingerprint": "?"}, "badRequest", "TYPE_BYTES"),
        ({"scheduling": {"minNodeCpus": 2**31}}, "badRequest", "TYPE_INT32"),
        ({"name": None}, "badRequest", "TYPE_STRING"),
        ({"name": "Web"}, "invalid", "must be a match of regex"),
        ([], "badRequest", "is no object"),
    ],
)
def test_a_body_that_the_document_does_not_know_is_refused(
    project: Project, body: Any, reason: str, words: str
) -> None:
    with pytest.raises(Refused) as caught:
        project.call("POST", f"zones/{B}/instances", {**instance("web-1"), **body} if body else body)
    assert (caught.value.status, caught.value.reason) == (400, reason)
    assert words in caught.value.message
    assert project.fake.names() == []


def test_a_name_is_required(project: Project) -> None:
    body = instance("web-1")
    del body["name"]
    with pytest.raises(Refused) as caught:
        project.call("POST", f"zones/{B}/instances", body)
    assert (caught.value.status, caught.value.reason) == (400, "required")


@pytest.mark.parametrize(
    "query", [{"zones": "x"}, {"maxResults": "many"}, {"requestId": "x"}, {"returnPartialSuccess": "1"}]
)
def test_a_parameter_that_the_document_does_not_know_is_refused(project: Project, query: Mapping[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        project.call("GET", f"zones/{B}/instances", **query)
    assert caught.value.status == 400


def test_parameters_of_any_method_are_taken(project: Project) -> None:
    query: dict[str, Any] = {
        "alt": "json",
        "prettyPrint": "false",
        "quotaUser": "me",
        "key": "k",
        "$alt": "json;enum-encoding=int",
    }
    assert project.call("GET", f"zones/{B}/instances", **query)["kind"] == "compute#instanceList"


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", f"/compute/v1/projects/{PROJECT}/global/firewalls", 501),
        ("GET", f"/compute/v1/projects/{PROJECT}/global/nonsense", 404),
        ("PUT", LIST, 404),
        ("GET", "/compute/beta/projects", 404),
        ("GET", f"/compute/v1/projects/{PROJECT}/zones/nowhere/instances", 400),
        ("GET", "/compute/v1/projects/another/zones", 404),
        ("GET", "/compute/v1/projects/debian-cloud/zones", 403),
    ],
    ids=["no-handler", "no-method", "no-verb", "no-version", "no-zone", "no-project", "not-ours"],
)
def test_what_is_not_there_is_told_apart(project: Project, verb: str, path: str, status: int) -> None:
    with pytest.raises(Refused) as caught:
        project.request(verb, path)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "reply",
    [
        {"kind": "compute#instanceList", "statuss": "x"},
        {"items": [{"deletionProtection": "true"}]},
        {"items": [{"status": "RUNING"}]},
        {"items": [{"id": 5}]},
        {"items": {}},
    ],
    ids=["unknown", "type", "enum", "int64-as-number", "no-list"],
)
def test_an_answer_of_the_fakes_own_that_the_document_does_not_know_is_a_mistake(reply: dict[str, Any]) -> None:
    with FakeGCE(FakeSettings(), VirtualClock()) as fake:
        project = Project(fake, VirtualClock())
        fake.front.handlers["instances.list"] = lambda world, asked: reply
        with pytest.raises(Refused) as caught:
            project.names()
        assert caught.value.status == 500
        assert len(fake.mistakes) == 1


def test_a_call_needs_credentials_and_they_must_be_good(project: Project) -> None:
    for authorization in ("", "Bearer", "Bearer nonsense", "Bearer a.b.c", "Basic abc"):
        with pytest.raises(Refused) as caught:
            project.call("GET", "zones", headers={"Authorization": authorization})
        assert (caught.value.status, caught.value.error["status"]) == (401, "UNAUTHENTICATED")


def test_signed_tokens_run_out_and_must_be_signed_by_the_key(project: Project) -> None:
    signer, now = project.credentials.signer, int(time.time())
    good = {"iss": SERVICE_ACCOUNT, "sub": SERVICE_ACCOUNT, "iat": now, "exp": now + 60, "aud": "x"}
    sign: Any = jwt.encode
    tokens = [sign(signer, claims).decode() for claims in (good, {**good, "exp": now - 1}, {**good, "iss": "x"})]
    head, body, signature = tokens[0].split(".")
    forged = f"{head}.{body}.{'A' * len(signature)}"
    assert project.call("GET", "zones", headers={"Authorization": f"Bearer {tokens[0]}"})
    for token in (*tokens[1:], forged):
        with pytest.raises(Refused) as caught:
            project.call("GET", "zones", headers={"Authorization": f"Bearer {token}"})
        assert caught.value.reason == "authError"


def test_application_default_credentials_work_and_outlive_a_revocation(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(project.fake.credentials))
    credentials, name = google.auth.default(scopes=["https://www.googleapis.com/auth/compute"])
    assert (name, credentials.universe_domain) == (PROJECT, UNIVERSE)
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        assert session.get(project.fake.url + LIST).status_code == 200
        project.fake.revoke()
        assert session.get(project.fake.url + LIST).status_code == 200
    project.client("Instances").list(project=PROJECT, zone=B)


def test_a_token_that_was_given_out_runs_out_on_the_fakes_clock(project: Project) -> None:
    assert project.call("GET", "zones")
    project.clock.sleep(3600)
    with pytest.raises(Refused, match="invalid authentication credentials"):
        project.call("GET", "zones")


def test_an_assertion_that_is_badly_signed_gets_no_token(project: Project) -> None:
    grant = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c"
    for body in (b"", grant):
        status, answer = project.fake.front.doorkeeper.give(body)
        assert (status, answer["error"]) == (400, "invalid_grant")


def test_what_is_denied_is_refused_and_told_when_asked_for(project: Project) -> None:
    project.fake.deny("compute.instances.create")
    project.fake.deny("compute.instances.setLabels")
    path, permission = f"/v1/projects/{PROJECT}:testIamPermissions", "compute.instances.create"
    reply = project.request("POST", path, {"permissions": [permission, "compute.instances.get"]})
    assert reply == {"permissions": ["compute.instances.get"]}
    with pytest.raises(Refused) as caught:
        project.insert("web-1")
    assert (caught.value.status, caught.value.reason) == (403, "forbidden")
    assert caught.value.message == f"Required '{permission}' permission for 'projects/{PROJECT}'"
    project.fake.deny(permission, denied=False)
    with pytest.raises(Refused, match="setLabels"):
        project.insert("web-1", labels={"a": "1"})
    project.insert("web-1")
    reply = project.call("POST", f"zones/{B}/instances/web-1/testIamPermissions", {"permissions": [permission]})
    assert reply == {"permissions": [permission]}


@pytest.mark.parametrize("body", [{"permission": []}, {"permissions": ["compute.*"]}, {"permissions": ["x"] * 101}])
def test_only_permissions_that_there_can_be_are_tested(project: Project, body: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        project.request("POST", f"/v1/projects/{PROJECT}:testIamPermissions", body)
    assert caught.value.status == 400


def test_each_method_that_is_answered_says_what_it_takes() -> None:
    assert set(ALWAYS) == set(HANDLERS)
    for name, permissions in ALWAYS.items():
        resource = name.partition(".")[0]
        assert all(one.startswith(f"compute.{resource}.") for one in permissions)
        assert method(name).id == f"compute.{name}"


def test_calls_are_counted_by_kind_in_minutes_of_the_clock() -> None:
    per_minute = {"get": 2, "list": 1, "mutate": 1, "operation": 1}
    with open_project(limits="gce", per_minute=per_minute) as project:
        op = project.insert("web-1")
        project.names()
        project.see("web-1")
        project.see("web-1")
        project.again(op)
        for call in (
            lambda: project.insert("web-2"),
            project.names,
            lambda: project.see("web-1"),
            lambda: project.again(op),
        ):
            with pytest.raises(Refused) as caught:
                call()
            assert (caught.value.status, caught.value.reason) == (403, "rateLimitExceeded")
            assert caught.value.error["errors"][0]["domain"] == "usageLimits"
        project.clock.sleep(60 - project.clock.now() % 60 - 0.1)
        with pytest.raises(Refused):
            project.names()
        project.clock.sleep(0.1)
        assert project.names() == ["web-1"]


def test_at_most_ten_bulk_inserts_are_under_way_at_once() -> None:
    with open_project(limits="gce", boot_seconds=10) as project:
        for number in range(10):
            project.bulk(many(f"web-{number}"))
        with pytest.raises(Refused) as caught:
            project.bulk(many("web-10"))
        assert caught.value.reason == "rateLimitExceeded"
        project.clock.sleep(10)
        project.bulk(many("web-10"))


@pytest.mark.parametrize(
    ("call", "fault", "status", "left"),
    [
        ("instances.delete", "transient", 503, ["web-1"]),
        ("destroy", "lost-reply", 503, []),
        ("", "throttled", 403, ["web-1"]),
    ],
)
def test_a_call_that_fails_did_its_work_or_did_not(
    project: Project, call: str, fault: str, status: int, left: list[str]
) -> None:
    project.boot("web-1")
    project.fake.fail(call, fault)
    with pytest.raises(Refused) as caught:
        project.call("DELETE", f"zones/{B}/instances/web-1")
    assert caught.value.status == status
    project.clock.sleep(2)
    assert project.fake.names() == left


def test_only_calls_that_there_are_can_be_made_to_fail(project: Project) -> None:
    for call, fault in (("instances.create", "transient"), ("destroy", "capacity"), ("provision", "cut-short")):
        with pytest.raises(ValueError, match=call):
            project.fake.fail(call, fault)


def test_a_lost_insert_is_found_by_its_request_id_over_a_broken_line(project: Project) -> None:
    request = {"project": PROJECT, "zone": B, "request_id": "6f1c1b5e-54ab-4f3b-8d3c-0f00d0000001"}
    with FaultProxy(project.fake.url) as proxy:
        proxy.add("/instances", DropReply())
        options = {"api_endpoint": proxy.url, "universe_domain": UNIVERSE}
        client = compute_v1.InstancesClient(credentials=project.credentials, client_options=options)
        body = compute_v1.Instance.from_json(json.dumps(instance("web-1")))
        with pytest.raises(requests.exceptions.ConnectionError):
            client.insert_unary(request={**request, "instance_resource": body})
        op = client.insert_unary(request={**request, "instance_resource": body})
    assert op.client_operation_id == request["request_id"]
    assert project.fake.names() == ["web-1"]
    assert len(project.fake.operations()) == 1


def test_calls_fail_at_a_rate_that_the_seed_draws() -> None:
    def failures() -> list[bool]:
        with open_project(failure_rate=0.3) as project:
            return [_fails(project) for _ in range(50)]

    first = failures()
    assert 5 < sum(first) < 25
    assert first == failures()


def _fails(project: Project) -> bool:
    try:
        project.names()
    except Refused:
        return True
    return False


def test_googles_client_tells_errors_by_their_reasons(project: Project) -> None:
    instances = project.client("Instances")
    project.fake.fail("instances.get", "throttled")
    with pytest.raises(Forbidden) as limited:
        instances.get(project=PROJECT, zone=B, instance="web-1", retry=None)
    assert limited.value.errors[0]["reason"] == "rateLimitExceeded"
    project.fake.lose_zone("b")
    with pytest.raises(ServiceUnavailable):
        instances.get(project=PROJECT, zone=B, instance="web-1", retry=None)


def test_googles_other_client_makes_the_same_round(project: Project) -> None:
    with build(
        "compute",
        "v1",
        static_discovery=True,
        cache_discovery=False,
        credentials=project.credentials,
        client_options={"api_endpoint": f"{project.fake.url}/compute/v1/", "universe_domain": UNIVERSE},
    ) as client:
        where = {"project": PROJECT, "zone": B}
        op = client.instances().insert(**where, body=instance("web-1", labels={"a": "1"})).execute()
        project.clock.sleep(5)
        assert client.zoneOperations().wait(**where, operation=op["name"]).execute()["status"] == "DONE"
        listed = client.instances().list(**where, filter="labels.a=1", fields="items(name,status)").execute()
        assert listed == {"items": [{"name": "web-1", "status": "RUNNING"}]}
        with pytest.raises(HttpError) as caught:
            client.instances().insert(**where, body=instance("web-1")).execute()
        assert caught.value.error_details[0]["reason"] == "alreadyExists"
        client.instances().delete(**where, instance="web-1").execute()
    project.clock.sleep(5)
    assert project.names() == []


def test_all_of_the_document_can_be_checked_by() -> None:
    for name in document()["schemas"]:
        with pytest.raises(Misfit):
            check_of(name)(0, name)
