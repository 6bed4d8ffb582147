"""What an examination says of a project: on the fake Compute Engine, with one thing wrong at a time."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from infrakit_providers.gcp.diagnoses import Case, Quota, Reservation, Shape, of_reservation
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.permissions import needs
from infrakit_providers.gcp.quotas import demands
from infrakit_providers.gcp.settings import Settings
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import Examining, Finding, Grade, Provider, ProvisionRequest, Wanted
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError
from tests.fakes.gce.permissions import ALWAYS
from tests.fakes.gce.settings import SERVICE_ACCOUNT
from tests.fakes.gce.world import World
from tests.gcp.ground import LINUX, PROJECT, REGION, SETTINGS, fake_gce, image, opened

B, C, D = (f"{REGION}-{letter}" for letter in "bcd")
DEBIAN = "projects/debian-cloud/global/images/debian-12-bookworm-v20250610"
DATA_DISKS: Json = [{"name": "data", "size": "10GiB", "type": "pd-standard"}]
WHOLE: Mapping[str, Json] = {
    "machine_types": ["n1-standard-1"], "zones": [B], "data_disks": DATA_DISKS, "external_ip": "static",
    "internal_ip": "static", "service_account": SERVICE_ACCOUNT, "network": "private", "subnetwork": "private",
    "accelerators": [{"type": "nvidia-tesla-t4"}], "metadata": {"serial-port-enable": "TRUE"},
    "backend_services": ["web", f"regions/{REGION}/web-internal"], "target_pools": ["web"],
}  # fmt: skip


@dataclass
class Scene:
    """A project, and a provider of it."""

    fake: FakeGCE
    clock: VirtualClock
    provider: Provider

    def examine(self, *wanted: Wanted) -> list[Finding]:
        assert isinstance(self.provider, Examining)
        return list(self.provider.examine("shop", wanted))

    def found(self, about: str, *wanted: Wanted) -> Finding:
        findings = self.examine(*wanted)
        matching = [one for one in findings if one.about == about]
        assert len(matching) == 1, findings
        return matching[0]

    def refuse(self, method: str, error: GceError) -> None:
        """Let each call of a method fail."""

        def refused(*_: object) -> dict[str, Any]:
            raise error

        self.fake.front.handlers[method] = refused

    def change(self, method: str, **members: object) -> None:
        """Let each answer of a method have other members than it would have."""
        handler = self.fake.front.handlers[method]

        def changed(world: World, asked: Asked) -> dict[str, Any]:
            reply = handler(world, asked)
            return {**(reply.value if isinstance(reply, Checked) else reply), **members}

        self.fake.front.handlers[method] = changed

    def boot(self, count: int, group: str = "web") -> None:
        """Let machines of a group run."""
        requests = []
        for slot in map(str, range(count)):
            token = tags.token("shop", group, slot, 0)
            own = {
                tags.CLUSTER: "shop", tags.GROUP: group, tags.SLOT: slot, tags.INCARNATION: "0", tags.TOKEN: token,
            }  # fmt: skip
            requests.append(ProvisionRequest(token, f"{group}-{slot}", own, image(), {"machine_types": "e2-small"}))
        outcomes = self.provider.provision(requests)
        assert all(one.error is None for one in outcomes), outcomes
        self.clock.sleep(60)


@contextmanager
def scene(settings: FakeSettings | None = None, written: Mapping[str, Json] = SETTINGS) -> Iterator[Scene]:
    clock = VirtualClock()
    with fake_gce(settings, clock) as fake:
        provider = opened(clock, written)
        yield Scene(fake, clock, provider)
        provider.close()


@pytest.fixture(name="shop")
def _shop() -> Iterator[Scene]:
    with scene() as one:
        yield one


def wants(count: int = 3, group: str = "web", of: Image | None = None, **machine: Json) -> Wanted:
    return wants_such(machine, count, group, of)


def wants_such(machine: Mapping[str, Json], count: int = 3, group: str = "web", of: Image | None = None) -> Wanted:
    written: dict[str, Json] = {"machine_types": "e2-small", **machine}
    return Wanted(group, written, of or image(), count, named="data_disks" in machine)


def test_all_is_well_where_all_is_well(shop: Scene) -> None:
    findings = shop.examine(wants_such(WHOLE))
    assert {(one.about, one.detail) for one in findings if one.grade is not Grade.OK} == set()
    assert [one.about for one in findings] == [
        "credentials", f"project {PROJECT}", "permissions", f"service account {SERVICE_ACCOUNT}",
        f"region {REGION}", "machines", "group web: zones", "group web: image", "group web: machine types",
        "group web: accelerators", "group web: metadata", "group web: network", "group web: backend service web",
        f"group web: backend service regions/{REGION}/web-internal", "group web: target pool web",
        "quota CPUS", "quota DISKS_TOTAL_GB", "quota INSTANCES", "quota IN_USE_ADDRESSES", "quota SSD_TOTAL_GB",
        "quota STATIC_ADDRESSES", "other quotas",
    ]  # fmt: skip


def test_nothing_is_changed(shop: Scene) -> None:
    shop.boot(2)
    before = shop.fake.picture()
    shop.examine(wants_such(WHOLE))
    after = shop.fake.picture()
    assert {**after, "calls": {}} == {**before, "calls": {}}


def test_an_examination_makes_few_calls(shop: Scene) -> None:
    before = sum(shop.fake.calls.values())
    shop.examine(*(wants(group=f"group-{number}") for number in range(20)))
    assert sum(shop.fake.calls.values()) - before <= 12


def test_the_least_role_allows_an_examination(shop: Scene) -> None:
    wanted = wants_such(WHOLE)
    machine = Machine.model_validate(dict(wanted.machine))
    allowed = needs([(machine, wanted.named, wanted.image)], Settings.model_validate(dict(SETTINGS))).own
    for permission in {one for some in ALWAYS.values() for one in some} - {*allowed}:
        shop.fake.deny(permission)
    assert {one.grade for one in shop.examine(wanted)} == {Grade.OK}


def test_whose_the_credentials_are_is_told(shop: Scene) -> None:
    assert shop.found("credentials", wants()) == Finding("credentials", Grade.OK, SERVICE_ACCOUNT)


def test_without_credentials_it_says_how_to_give_some(tmp_path: Path) -> None:
    with scene() as shop, patch.dict(os.environ, {"CLOUDSDK_CONFIG": str(tmp_path), "HOME": str(tmp_path)}):
        del os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
        [one] = shop.examine(wants())
    assert (one.about, one.grade) == ("credentials", Grade.PROBLEM)
    assert "gcloud auth application-default login" in one.hint


def test_credentials_that_nobody_takes_end_the_examination(shop: Scene, tmp_path: Path) -> None:
    document = json.loads(Path(shop.fake.credentials).read_text())
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps({**document, "client_email": f"nobody@{PROJECT}.iam.gserviceaccount.com"}))
    with patch.dict(os.environ, {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}):
        [one] = shop.examine(wants())
    assert (one.about, one.grade) == ("credentials", Grade.PROBLEM)
    assert "get new ones" in one.hint


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (
            GceError(403, "accessNotConfigured", "Compute Engine API has not been used in project 1 before"),
            "has not been used", f"gcloud services enable compute.googleapis.com --project {PROJECT}",
        ),
        (GceError(404, "notFound", f"The resource 'projects/{PROJECT}' was not found"), "was not found", "id"),
    ],
    ids=["API", "project"],
)  # fmt: skip
def test_a_project_that_is_of_no_use_ends_the_examination(
    shop: Scene, error: GceError, words: str, hint: str
) -> None:
    shop.refuse("projects.get", error)
    credentials, project = shop.examine(wants())
    assert credentials.grade is Grade.OK
    assert (project.about, project.grade) == (f"project {PROJECT}", Grade.PROBLEM)
    assert words in project.detail
    assert hint in project.hint


def test_an_endpoint_that_cannot_be_reached_ends_the_examination() -> None:
    with scene(written={**SETTINGS, "endpoint": "http://127.0.0.1:9"}) as shop:
        findings = shop.examine(wants())
    assert [(one.about, one.grade) for one in findings] == [
        ("credentials", Grade.OK), (f"project {PROJECT}", Grade.PROBLEM)
    ]  # fmt: skip
    assert "endpoint" in findings[1].hint


def test_a_project_that_may_not_be_looked_at_ends_nothing(shop: Scene) -> None:
    shop.fake.deny("compute.projects.get")
    findings = shop.examine(wants())
    assert findings[1].grade is Grade.WARNING
    assert "cannot be examined: forbidden" in findings[1].detail
    assert "infra iam gcp" in findings[1].hint
    assert len(findings) > 5


@pytest.mark.parametrize(
    ("zones", "grade", "words"),
    [
        ({}, Grade.OK, f"zones {B}, {C}, {D}"),
        ({B: "DOWN"}, Grade.WARNING, f"zones {C}, {D} are up, and {B} not"),
        ({B: "DOWN", C: "DOWN", D: "DOWN"}, Grade.PROBLEM, "no zone is up"),
    ],
)
def test_a_regions_zones_are_told(shop: Scene, zones: Mapping[str, str], grade: Grade, words: str) -> None:
    _set_zones(shop, zones)
    one = shop.found(f"region {REGION}", wants())
    assert one.grade is grade
    assert words in one.detail


def test_a_region_that_there_is_not_ends_the_examination() -> None:
    with scene(written={**SETTINGS, "region": "europe-west7"}) as shop:
        findings = shop.examine(wants())
    assert (findings[-1].about, findings[-1].grade) == ("region europe-west7", Grade.PROBLEM)


def test_permissions_that_are_lacking_are_named(shop: Scene) -> None:
    shop.fake.deny("compute.instances.create")
    shop.fake.deny("compute.disks.create")
    one = shop.found("permissions", wants())
    assert one.grade is Grade.PROBLEM
    assert one.detail.splitlines() == [
        "not allowed in the project as a whole: compute.disks.create",
        "not allowed in the project as a whole: compute.instances.create",
    ]
    assert "infra iam gcp" in one.hint


def test_an_account_that_is_perhaps_not_ours_to_give_is_warned_of(shop: Scene) -> None:
    shop.fake.deny("iam.serviceAccounts.actAs")
    wanted = wants(service_account=SERVICE_ACCOUNT)
    one = shop.found(f"service account {SERVICE_ACCOUNT}", wanted)
    assert one.grade is Grade.WARNING
    assert f"add-iam-policy-binding {SERVICE_ACCOUNT}" in one.hint
    assert shop.found("permissions", wanted).grade is Grade.OK


def test_permissions_in_other_projects_are_named_and_not_examined(shop: Scene) -> None:
    one = shop.found("permissions in project debian-cloud", wants(of=image(DEBIAN)))
    assert one.grade is Grade.OK
    assert "not examined" in one.detail
    assert "compute.images.useReadOnly" in one.detail


@pytest.mark.parametrize(
    ("about", "wanted", "grade", "words"),
    [
        ("image", wants(of=image("global/images/none")), Grade.PROBLEM, "there is no image"),
        ("image", wants(of=image("global/images/family/none")), Grade.PROBLEM, "there is no image"),
        (
            "image", wants(machine_types="t2a-standard-1", zones=[B]), Grade.PROBLEM,
            f"{LINUX} is for X86_64, and t2a-standard-1 is ARM64",
        ),
        (
            "image", wants(disks=[{"image": "global/images/none"}]), Grade.PROBLEM,
            "global/images/none: there is no such image for a disk",
        ),
        ("image", wants(confidential="sev", machine_types="n2d-standard-2"), Grade.PROBLEM, "SEV_CAPABLE"),
        ("machine types", wants(machine_types="e2-huge"), Grade.PROBLEM, f"there is no e2-huge in {B}, {C}, {D}"),
        ("machine types", wants(machine_types="c3-standard-4", zones=[D]), Grade.PROBLEM, "no c3-standard-4"),
        (
            "machine types", wants(machine_types=["c3-standard-4", "e2-small"]), Grade.WARNING,
            f"there is no c3-standard-4 in {D}",
        ),
        (
            "machine types", wants(machine_types="c3-standard-4"), Grade.WARNING,
            f"there will be no machines in {D}",
        ),
        ("machine types", wants(machine_types=["e2-small", "e2-huge"]), Grade.WARNING, "there is no e2-huge"),
        ("zones", wants(zones=[B, f"{REGION}-x"]), Grade.PROBLEM, f"{REGION}-x does not exist"),
        ("network", wants(network="none"), Grade.PROBLEM, "there is no network none"),
        ("network", wants(network="private"), Grade.PROBLEM, "a machine must name its subnetwork"),
        ("network", wants(subnetwork="none"), Grade.PROBLEM, "there is no subnetwork none"),
        (
            "network", wants(network="default", subnetwork="private"), Grade.PROBLEM,
            "the subnetwork private is of the network private, not default",
        ),
        (
            "network", wants(subnetwork="private", ipv6="external"), Grade.PROBLEM,
            "machines shall have external addresses of IPv6, and private has none",
        ),
        ("backend service none", wants(backend_services=["none"]), Grade.PROBLEM, "does not exist"),
        ("target pool none", wants(target_pools=["none"]), Grade.PROBLEM, f"there is none in {REGION}"),
        (
            "accelerators", wants(machine_types="n1-standard-1", accelerators=[{"type": "nvidia-none"}]),
            Grade.PROBLEM, "there is no nvidia-none",
        ),
        (
            "metadata", wants(metadata={"one": "x" * 250_000, "two": "x" * 180_000}), Grade.WARNING,
            "are left for user data",
        ),
    ],
)  # fmt: skip
def test_what_a_group_names_must_be_there_and_fit(
    shop: Scene, about: str, wanted: Wanted, grade: Grade, words: str
) -> None:
    one = shop.found(f"group web: {about}", wanted)
    assert one.grade is grade
    assert words in one.detail


@pytest.mark.parametrize(
    ("state", "grade"), [("DEPRECATED", Grade.WARNING), ("OBSOLETE", Grade.PROBLEM), ("DELETED", Grade.PROBLEM)]
)
def test_an_image_that_is_being_withdrawn_is_told_of(shop: Scene, state: str, grade: Grade) -> None:
    shop.fake.world.images[PROJECT, "linuxkit-1"].deprecated = state
    one = shop.found("group web: image", wants())
    assert one.grade is grade
    assert f"{LINUX} is {state}" in one.detail


@pytest.mark.parametrize(
    ("changed", "wanted", "grade", "words"),
    [
        ({"status": "PENDING"}, wants(), Grade.PROBLEM, "is PENDING, not READY"),
        ({"diskSizeGb": "20"}, wants(boot_disk={"size": "10GiB"}), Grade.PROBLEM, "and the image needs 20GiB"),
        ({"diskSizeGb": "20"}, wants(boot_disk={"size": "20GiB"}), Grade.OK, "20GiB"),
        (
            {"architecture": "ARCHITECTURE_UNSPECIFIED"}, wants(machine_types="t2a-standard-1", zones=[B]),
            Grade.WARNING, "does not say what it is for",
        ),
        (
            {"guestOsFeatures": []}, wants(shielded_vm={}), Grade.PROBLEM,
            "shielded_vm needs an image with the feature UEFI_COMPATIBLE",
        ),
        ({"guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}]}, wants(shielded_vm={}), Grade.OK, "READY"),
        (
            {"guestOsFeatures": []}, wants(nic_type="gvnic"), Grade.PROBLEM,
            "nic_type: gvnic needs an image with the feature GVNIC",
        ),
    ],
)  # fmt: skip
def test_an_image_must_suit_the_machines(
    shop: Scene, changed: Mapping[str, Json], wanted: Wanted, grade: Grade, words: str
) -> None:
    shop.change("images.get", **changed)
    one = shop.found("group web: image", wanted)
    assert one.grade is grade
    assert words in one.detail


@pytest.mark.parametrize(
    ("changed", "wanted", "words"),
    [
        ({"purpose": "REGIONAL_MANAGED_PROXY"}, wants(), "is not for machines"),
        ({"stackType": "IPV6_ONLY", "ipv6AccessType": "INTERNAL"}, wants(), "has no addresses of IPv4"),
        (
            {"stackType": "IPV4_IPV6", "ipv6AccessType": "INTERNAL"},
            wants(subnetwork="private", ipv6="external"), "private has only internal ones",
        ),
    ],
)  # fmt: skip
def test_a_subnetwork_must_suit_the_machines(
    shop: Scene, changed: Mapping[str, Json], wanted: Wanted, words: str
) -> None:
    shop.change("subnetworks.get", **changed)
    one = shop.found("group web: network", wanted)
    assert one.grade is Grade.PROBLEM
    assert words in one.detail


def test_a_network_without_a_subnetwork_in_the_region_is_a_problem(shop: Scene) -> None:
    north = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/regions/europe-north1/subnetworks/default"
    shop.change("networks.get", subnetworks=[north])
    one = shop.found("group web: network", wants())
    assert (one.grade, one.detail) == (Grade.PROBLEM, f"the network default has no subnetwork in {REGION}")


def test_a_legacy_network_needs_no_subnetwork(shop: Scene) -> None:
    shop.change("networks.get", IPv4Range="10.240.0.0/16", autoCreateSubnetworks=False, subnetworks=[])
    one = shop.found("group web: network", wants())
    assert (one.grade, one.detail) == (Grade.OK, "default, without subnetworks")


@pytest.mark.parametrize(("count", "is_enough"), [(126, True), (127, False)])
def test_groups_that_share_a_subnetwork_need_addresses_for_all(shop: Scene, count: int, is_enough: bool) -> None:
    findings = shop.examine(wants(count, subnetwork="private"), wants(126, "db", subnetwork="private"))
    found = {one.about: one for one in findings}
    assert ("subnetwork private" not in found) is is_enough
    if not is_enough:
        one = found["subnetwork private"]
        assert one.grade is Grade.PROBLEM
        assert "253 machines wanted in all, and 10.10.0.0/24 has 252 addresses" in one.detail


def group_in(zone: str, kind: str = "instanceGroups", name: str = "web") -> dict[str, str]:
    where = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}"
    return {"group": f"{where}/{kind}/{name}"}


def test_a_backend_service_must_have_an_instance_group_in_each_zone(shop: Scene) -> None:
    backends = [group_in(B), group_in(C, "networkEndpointGroups", "neg")]
    shop.change("backendServices.get", backends=backends)
    one = shop.found("group web: backend service web", wants(backend_services=["web"]))
    assert one.grade is Grade.PROBLEM
    assert one.detail == f"it has no instance group in {C}, {D}, but networkEndpointGroups/neg"
    assert shop.found("group web: backend service web", wants(backend_services=["web"], zones=[B])).grade is Grade.OK


def test_backend_services_without_a_common_group_are_warned_of(shop: Scene) -> None:
    internal = f"regions/{REGION}/web-internal"
    shop.change("regionBackendServices.get", backends=[group_in(zone, name="other") for zone in (B, C, D)])
    one = shop.found("group web: backend services", wants(backend_services=["web", internal]))
    assert one.grade is Grade.WARNING
    assert f"no instance group in common in {B}, {C}, {D}" in one.detail


@pytest.mark.parametrize(
    ("permission", "about", "grade"),
    [
        ("compute.zones.list", f"region {REGION}", Grade.PROBLEM),
        ("compute.instances.list", "machines", Grade.PROBLEM),
        ("compute.machineTypes.list", f"machine types of {B}", Grade.WARNING),
        ("compute.acceleratorTypes.get", "group web: accelerators", Grade.WARNING),
        ("compute.images.get", "group web: image", Grade.PROBLEM),
        ("compute.subnetworks.get", "group web: network", Grade.WARNING),
        ("compute.backendServices.get", "group web: backend service web", Grade.WARNING),
        ("compute.targetPools.get", "group web: target pool web", Grade.WARNING),
        ("compute.regions.get", "quotas", Grade.WARNING),
    ],
)
def test_what_cannot_be_looked_at_is_a_finding_and_ends_nothing(
    shop: Scene, permission: str, about: str, grade: Grade
) -> None:
    shop.fake.deny(permission)
    findings = shop.examine(wants_such(WHOLE))
    [one] = [one for one in findings if one.about == about]
    assert one.grade is grade
    assert one.detail.startswith(f"cannot be examined: forbidden: Required '{permission}' permission")
    assert "infra iam gcp" in one.hint
    others = [other for other in findings if other.grade is not Grade.OK and other.about != about]
    assert [other.about for other in others] == ["permissions"]


def test_a_call_that_fails_for_a_while_is_a_warning(shop: Scene) -> None:
    shop.refuse("targetPools.get", GceError(503, "backendError", "try again"))
    one = shop.found("group web: target pool web", wants(target_pools=["web"]))
    assert (one.grade, one.detail) == (Grade.WARNING, "cannot be examined: backendError: try again")


@pytest.mark.parametrize(
    ("quotas", "wanted", "about", "grade", "words"),
    [
        ({"CPUS": 10}, wants(4), "quota CPUS", Grade.OK, f"8 more wanted, 0 of 10 in {REGION} in use"),
        ({"CPUS": 9}, wants(4), "quota CPUS", Grade.WARNING, "more than 80% then"),
        ({"CPUS": 7}, wants(4), "quota CPUS", Grade.PROBLEM, "8 more wanted, 0 of 7"),
        ({"N2_CPUS": 7}, wants(4, machine_types="n2-standard-2"), "quota N2_CPUS", Grade.PROBLEM, "8 more"),
        (
            {"PREEMPTIBLE_CPUS": 7}, wants(4, provisioning="spot"), "quota PREEMPTIBLE_CPUS", Grade.PROBLEM,
            "8 more wanted",
        ),
        ({"PREEMPTIBLE_CPUS": 0, "CPUS": 7}, wants(4, provisioning="spot"), "quota CPUS", Grade.PROBLEM, "8 more"),
        ({"INSTANCES": 3}, wants(4), "quota INSTANCES", Grade.PROBLEM, "4 more wanted, 0 of 3"),
        (
            {"IN_USE_ADDRESSES": 3}, wants(4, external_ip="ephemeral"), "quota IN_USE_ADDRESSES", Grade.PROBLEM,
            "4 more wanted",
        ),
        (
            {"SSD_TOTAL_GB": 70}, wants(4, boot_disk={"size": "20GiB"}), "quota SSD_TOTAL_GB", Grade.PROBLEM,
            "80 more wanted, 0 of 70",
        ),
        (
            {"DISKS_TOTAL_GB": 30}, wants(4, data_disks=DATA_DISKS), "quota DISKS_TOTAL_GB", Grade.WARNING,
            "40 more wanted, 0 of 30 in europe-west1 in use; enough only for members that have kept theirs",
        ),
    ],
)  # fmt: skip
def test_machines_that_are_missing_must_be_within_the_quotas(
    quotas: Mapping[str, float], wanted: Wanted, about: str, grade: Grade, words: str
) -> None:
    with scene(FakeSettings(quotas=quotas)) as shop:
        one = shop.found(about, wanted)
    assert one.grade is grade
    assert words in one.detail
    assert bool(one.hint) is (grade is not Grade.OK)


def test_all_groups_count_together_and_those_that_are_there_once() -> None:
    with scene(FakeSettings(quotas={"CPUS": 12})) as shop:
        shop.boot(3)
        one = shop.found("quota CPUS", wants(4), wants(2, "db"))
        assert (one.grade, one.detail) == (
            Grade.WARNING,
            f"6 more wanted, 6 of 12 in {REGION} in use: more than 80% then",
        )
        assert shop.found("machines", wants()).detail == "cluster shop has 3 machines here"


def test_a_quota_of_all_regions_together_is_examined(shop: Scene) -> None:
    shop.change("projects.get", quotas=[{"metric": "CPUS_ALL_REGIONS", "limit": 12.0, "usage": 7.0}])
    one = shop.found("quota CPUS_ALL_REGIONS", wants(3))
    assert (one.grade, one.detail) == (Grade.PROBLEM, "6 more wanted, 7 of 12 in all regions in use")


def test_what_a_region_does_not_count_is_said(shop: Scene) -> None:
    one = shop.found("other quotas", wants(machine_types="n1-standard-1", accelerators=[{"type": "nvidia-tesla-t4"}]))
    assert (one.grade, one.detail) == (Grade.OK, f"not examined, for {REGION} does not report NVIDIA_T4_GPUS")


def test_a_cluster_that_is_complete_needs_no_more(shop: Scene) -> None:
    shop.boot(3)
    assert not [one for one in shop.examine(wants(3)) if "quota" in one.about]


def test_where_nothing_is_wanted_access_is_examined(shop: Scene) -> None:
    about = [one.about for one in shop.examine()]
    assert about == ["credentials", f"project {PROJECT}", "permissions", f"region {REGION}", "machines"]


@pytest.mark.parametrize(
    ("found", "grade", "words"),
    [
        ([Reservation(B, "e2-small", 4), Reservation(C, "e2-small", 2)], Grade.OK, "mine: 6 machines free"),
        ([Reservation(B, "e2-small", 5)], Grade.WARNING, f"there is no reservation mine in {C}"),
        ([], Grade.PROBLEM, f"there is no reservation mine in {B}, {C}"),
        (
            [Reservation(B, "e2-small", 1), Reservation(C, "e2-small", 2)], Grade.PROBLEM,
            "5 machines to come, and 3 free in mine",
        ),
        (
            [Reservation(B, "e2-small", 4), Reservation(C, "n2-standard-2", 4)], Grade.PROBLEM,
            f"mine is of n2-standard-2 in {C}, and the group has none",
        ),
        (
            [Reservation(B, "e2-small", 4), Reservation(C, "e2-small", 4, "CREATING")], Grade.WARNING,
            f"mine is CREATING in {C}",
        ),
    ],
)  # fmt: skip
def test_a_reservation_must_have_room_for_the_machines(found: list[Reservation], grade: Grade, words: str) -> None:
    one = of_reservation(case(reservation="mine"), found)
    assert one.grade is grade
    assert words in one.detail


@pytest.mark.parametrize(
    ("written", "shape", "granted", "expected"),
    [
        ({"disks": [{"type": "local-ssd"}] * 2}, Shape("e2-small", 2), (), {"LOCAL_SSD_TOTAL_GB": 3750}),
        (
            {"disks": [{"type": "local-ssd"}], "provisioning": "spot"}, Shape("e2-small", 2),
            ("PREEMPTIBLE_LOCAL_SSD_GB",), {"PREEMPTIBLE_LOCAL_SSD_GB": 1875},
        ),
        (
            {"machine_types": "n1-standard-1", "accelerators": [{"type": "nvidia-tesla-t4", "count": 2}]},
            Shape("n1-standard-1", 1), (), {"CPUS": 5, "NVIDIA_T4_GPUS": 10},
        ),
        (
            {"machine_types": "a2-ultragpu-1g", "provisioning": "spot"},
            Shape("a2-ultragpu-1g", 12, accelerators={"nvidia-a100-80gb": 1}), ("PREEMPTIBLE_CPUS",),
            {"PREEMPTIBLE_CPUS": 60, "NVIDIA_A100_80GB_GPUS": 5},
        ),
        (
            {"machine_types": "c4-standard-2", "boot_disk": {"size": "20GiB"}}, Shape("c4-standard-2", 2), (),
            {"C4_CPUS": 10, "HDB_TOTAL_GB": 100},
        ),
        ({"disks": [{"size": "10GiB", "type": "pd-standard"}]}, Shape("e2-small", 2), (), {"DISKS_TOTAL_GB": 50}),
    ],
)  # fmt: skip
def test_each_part_of_a_machine_counts_where_google_counts_it(
    written: Mapping[str, Json], shape: Shape, granted: tuple[str, ...], expected: Mapping[str, float]
) -> None:
    allowed = [Quota(metric, 1, 0) for metric in granted]
    needed = demands([case(**written)], {shape.name: shape}, {}, allowed)
    assert {metric: needed[metric].surely for metric in expected} == expected


def case(**written: Json) -> Case:
    """Return five machines to come, in two zones."""
    machine = Machine.model_validate({"machine_types": "e2-small", **written})
    return Case("web", machine, None, (B, C), count=5, missing=5, named=False)


def _set_zones(shop: Scene, statuses: Mapping[str, str]) -> None:
    handler = shop.fake.front.handlers["zones.list"]

    def listed(*asked: object) -> dict[str, Any]:
        reply = handler(*asked)  # type: ignore[arg-type]
        assert isinstance(reply, dict)
        return {**reply, "items": [{**one, "status": statuses.get(one["name"], "UP")} for one in reply["items"]]}

    shop.fake.front.handlers["zones.list"] = listed
