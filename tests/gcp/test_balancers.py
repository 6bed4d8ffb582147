"""Machines and their load balancers, on the fake Compute Engine: who lacks a place, who waits, who is broken."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from google.cloud import compute_v1

from infrakit_providers.cloud.standing import FINE, Standing
from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.calls import Rates
from infrakit_providers.gcp.clients import Clients
from infrakit_providers.gcp.instance_body import Choice, properties
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import Address
from infrakit_providers.gcp.settings import Limits, Settings
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import Transient
from infrakit_py.model.instance import InstanceId
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.errors import GceError
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply
from tests.gcp.ground import LINUX, REGION, SETTINGS, fake_gce
from tests.gcp.keeping import B, C, Meddled

D = f"{REGION}-d"
WEB = ("web",)
INTERNAL = (f"regions/{REGION}/web-internal",)
POOL = ("pools/web",)
EVERY = pytest.mark.parametrize("behind", [WEB, INTERNAL, POOL], ids=["global", "regional", "pool"])
UNKNOWN = InstanceId(f"{B}/nobody")
PLAIN = Machine.model_validate({"machine_types": "e2-small"})
HEALTH_SECONDS, DRAINING_SECONDS = 20.0, 30.0


class Scene:
    """Machines, and load balancers that find them healthy some time after they joined."""

    def __init__(self, fake: FakeGCE, clock: VirtualClock) -> None:
        self.fake = fake
        self.clock = clock
        self.clients = Clients(Settings.model_validate(SETTINGS), Path())
        self.caller = self.new_caller()
        self.balancers = Balancers(self.caller, clock)

    def new_caller(self) -> Meddled:
        return Meddled(self.clients, Rates(Limits()), self.clock, Random(1), 4)

    def another(self) -> Balancers:
        """Return what another process has of the project: it remembers nothing of this one."""
        return Balancers(self.new_caller(), self.clock)

    def boot(self, count: int = 1, zone: str = B) -> list[InstanceId]:
        begin = len(self.fake.names())
        addresses = [Address(zone, f"web-{begin + number}") for number in range(count)]
        body = {
            "count": count,
            "per_instance_properties": {one.name: {} for one in addresses},
            "instance_properties": properties(PLAIN, Choice(zone, "e2-small", LINUX, {})),
        }
        self.caller.act(
            "instances", "bulk_insert", "create them", zone=zone, bulk_insert_instance_resource_resource=body
        )
        self.clock.sleep(5)
        return [one.id for one in addresses]

    def serve(self, count: int = 1, zone: str = B, behind: Sequence[str] = WEB) -> list[InstanceId]:
        """Boot machines that the load balancer finds healthy."""
        ids = self.boot(count, zone)
        assert self.balancers.register(dict.fromkeys(ids, behind)) == {}
        self.clock.sleep(HEALTH_SECONDS)
        assert self.balancers.standings(dict.fromkeys(ids, behind), {}) == dict.fromkeys(ids, FINE)
        return ids

    def standing(self, id_: InstanceId, behind: Sequence[str] = WEB, since: float | None = None) -> Standing:
        return self.balancers.standings({id_: behind}, {} if since is None else {id_: since})[id_]

    def members(self, zone: str = B) -> set[str]:
        """Return the names of the machines in the instance group of a zone."""
        return set(self.fake.group_members(zone))

    def without_groups(self, *zones: str) -> None:
        """Let the backend service have no groups in these zones any more."""
        service = self.fake.world.services["global", "web"]
        service.groups = tuple(one for one in service.groups if one.zone not in zones)


@contextmanager
def staged(operation_seconds: float = 1.0) -> Iterator[Scene]:
    clock = VirtualClock()
    settings = FakeSettings(boot_seconds=2, health_seconds=HEALTH_SECONDS, operation_seconds=operation_seconds)
    with fake_gce(settings, clock) as fake:
        scene = Scene(fake, clock)
        yield scene
        scene.clients.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with staged() as scene:
        yield scene


def title(behind: Sequence[str]) -> str:
    (word,) = behind
    return f"target pool {word.removeprefix('pools/')}" if word.startswith("pools/") else f"backend service {word}"


def names(*ids: InstanceId) -> set[str]:
    return {id_.partition("/")[2] for id_ in ids}


# Notes.


@pytest.mark.parametrize(
    ("written", "behind"),
    [
        ({}, ()),
        ({"backend_services": ["web"]}, WEB),
        ({"backend_services": ["regions/europe-west1/web-internal"]}, INTERNAL),
        ({"target_pools": ["web"]}, POOL),
        (
            {
                "backend_services": [f"regions/europe-west1/{'a' * 60}", "b" * 63, "web"],
                "target_pools": ["c" * 63, "pools"],
            },
            (f"regions/europe-west1/{'a' * 60}", "b" * 63, "web", f"pools/{'c' * 63}", "pools/pools"),
        ),
    ],
    ids=["nothing", "global", "regional", "pool", "many long names"],
)
def test_what_a_machine_is_behind_is_read_from_its_labels(
    scene: Scene, written: Mapping[str, Sequence[str]], behind: Sequence[str]
) -> None:
    machine = Machine.model_validate({"machine_types": "e2-small", **written})
    labels = scene.balancers.notes(machine)
    assert scene.balancers.behind({"infrakit-group": "web", **labels}) == tuple(behind)
    assert all(len(text) <= 63 for label in labels.items() for text in label)
    assert not scene.fake.calls


# Serving.


@EVERY
def test_a_machine_without_a_place_lacks_it(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.boot()
    assert scene.standing(id_, behind) == Standing(lacks=f"its place in {title(behind)}")


@EVERY
def test_a_machine_waits_for_the_first_checks_and_is_fine_after_them(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.boot()
    assert scene.balancers.register({id_: behind}) == {}
    assert scene.standing(id_, behind) == Standing(awaits=f"{title(behind)}: first health checks")
    scene.clock.sleep(HEALTH_SECONDS)
    assert scene.standing(id_, behind) == FINE


@EVERY
def test_a_machine_that_fails_its_checks_is_impaired(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.serve(behind=behind)
    scene.fake.set_health(id_, False)
    assert scene.standing(id_, behind) == Standing(impaired=f"{title(behind)}: its health checks fail")
    scene.fake.set_health(id_, True)
    assert scene.standing(id_, behind) == FINE


def test_a_machine_that_never_becomes_healthy_is_impaired_in_the_end(scene: Scene) -> None:
    (id_,) = scene.boot()
    scene.fake.set_health(id_, False)
    scene.balancers.register({id_: WEB})
    assert scene.standing(id_).awaits
    scene.clock.sleep(60)
    assert scene.standing(id_).impaired


def test_a_machine_behind_two_services_must_have_its_place_in_both(scene: Scene) -> None:
    (id_,) = scene.serve()
    assert scene.standing(id_, (*WEB, *POOL)) == Standing(lacks="its place in target pool web")


def test_services_that_share_a_group_share_its_machines(scene: Scene) -> None:
    (id_,) = scene.boot()
    assert scene.balancers.register({id_: (*WEB, *INTERNAL)}) == {}
    scene.clock.sleep(HEALTH_SECONDS)
    assert scene.standing(id_, (*WEB, *INTERNAL)) == FINE
    assert scene.fake.calls["instanceGroups.addInstances"] == 1


def test_all_machines_are_looked_at_by_a_call_for_each_service_and_two_for_each_group(scene: Scene) -> None:
    ids = [*scene.serve(5, B), *scene.serve(5, C)]
    scene.fake.calls.clear()
    assert scene.balancers.standings({**dict.fromkeys(ids, WEB), UNKNOWN: ()}, {}) == dict.fromkeys(
        [*ids, UNKNOWN], FINE
    )
    assert scene.fake.calls == {
        "backendServices.get": 1,
        "instanceGroups.listInstances": 2,
        "backendServices.getHealth": 2,
    }


# Joining.


def test_machines_join_the_group_of_their_zone(scene: Scene) -> None:
    first, second = scene.boot(2, B), scene.boot(3, C)
    assert scene.balancers.register(dict.fromkeys([*first, *second], WEB)) == {}
    assert (scene.members(B), scene.members(C), scene.members(D)) == (names(*first), names(*second), set())


@EVERY
def test_joining_again_changes_nothing(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.serve(behind=behind)
    scene.fake.calls.clear()
    assert scene.balancers.register({id_: behind}) == {}
    assert scene.standing(id_, behind) == FINE
    assert not [one for one in scene.fake.calls if "add" in one]


def test_a_machine_that_somebody_else_puts_there_at_the_same_time_is_fine(scene: Scene) -> None:
    ids = scene.boot(3)
    other = scene.another()
    scene.caller.before["instance_groups.add_instances"] = lambda: other.register({ids[1]: WEB})
    assert scene.balancers.register(dict.fromkeys(ids, WEB)) == {}
    assert scene.members() == names(*ids)


@EVERY
def test_a_machine_that_is_not_there_spoils_no_other(scene: Scene, behind: Sequence[str]) -> None:
    ids = scene.boot(4)
    errors = scene.balancers.register(dict.fromkeys([*ids[:2], UNKNOWN, *ids[2:]], behind))
    assert set(errors) == {UNKNOWN}
    assert all(scene.standing(id_, behind).awaits for id_ in ids)


@EVERY
def test_a_lost_reply_costs_nothing(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.boot()
    for method in ("instanceGroups.addInstances", "targetPools.addInstance"):
        scene.fake.fail(method, "lost-reply")
    assert scene.balancers.register({id_: behind}) == {}
    assert scene.standing(id_, behind).awaits


def test_many_machines_join_by_few_calls(scene: Scene) -> None:
    ids = scene.boot(120)
    assert scene.balancers.register(dict.fromkeys(ids, WEB)) == {}
    assert scene.members() == names(*ids)
    assert scene.fake.calls["instanceGroups.addInstances"] == 2


# Leaving.


@pytest.mark.parametrize("behind", [WEB, INTERNAL], ids=["global", "regional"])
def test_a_machine_that_leaves_waits_until_its_connections_have_had_their_time(
    scene: Scene, behind: Sequence[str]
) -> None:
    (id_,) = scene.serve(behind=behind)
    since = scene.clock.now()
    draining = Standing(awaits=f"{title(behind)}: draining")
    assert scene.standing(id_, behind, since) == draining
    assert scene.balancers.deregister({id_: behind}) == {}
    assert scene.standing(id_, behind, since) == draining
    scene.clock.sleep(since + DRAINING_SECONDS - scene.clock.now() - 1)
    assert scene.standing(id_, behind, since) == draining
    scene.clock.sleep(1)
    assert scene.standing(id_, behind, since) == FINE
    assert scene.members() == set()


def test_a_target_pool_lets_go_at_once(scene: Scene) -> None:
    (id_,) = scene.serve(behind=POOL)
    since = scene.clock.now()
    assert scene.standing(id_, POOL, since) == Standing(awaits="target pool web: draining")
    assert scene.balancers.deregister({id_: POOL}) == {}
    scene.clock.sleep(5)
    assert scene.standing(id_, POOL, since) == FINE


@EVERY
def test_a_removal_that_goes_on_for_long_is_not_waited_for_but_heeded(behind: Sequence[str]) -> None:
    with staged(operation_seconds=8) as scene:
        (id_,) = scene.serve(behind=behind)
        since = scene.clock.now()
        assert scene.balancers.deregister({id_: behind}) == {}
        assert scene.clock.now() - since < 6
        assert scene.standing(id_, behind, since - 100).awaits
        scene.clock.sleep(8)
        assert scene.standing(id_, behind, since - 100) == FINE


@EVERY
def test_leaving_again_is_fine_and_so_is_who_was_never_there(scene: Scene, behind: Sequence[str]) -> None:
    first, second = scene.serve(2, behind=behind)
    for _ in range(2):
        assert scene.balancers.deregister({first: behind, UNKNOWN: behind}) == {}
        scene.clock.sleep(5)
    assert scene.standing(first, behind).lacks
    assert scene.standing(second, behind) == FINE


def test_a_machine_that_somebody_else_takes_out_gets_its_place_back(scene: Scene) -> None:
    (id_,) = scene.serve()
    scene.another().deregister({id_: WEB})
    scene.clock.sleep(5)
    assert scene.standing(id_) == Standing(lacks="its place in backend service web")
    assert scene.balancers.register({id_: WEB}) == {}
    assert scene.standing(id_) == Standing(awaits="backend service web: first health checks")
    scene.clock.sleep(HEALTH_SECONDS)
    assert scene.standing(id_) == FINE


# What is not there.


def test_a_service_without_a_group_in_a_machines_zone_is_told_with_what_to_do(scene: Scene) -> None:
    scene.without_groups(D)
    (lonely,), (other,) = scene.boot(zone=D), scene.boot(zone=B)
    missing = Standing(lacks=f"its place in backend service web, which has no instance group in {D}")
    assert scene.standing(lonely) == missing
    errors = scene.balancers.register({lonely: WEB, other: WEB})
    assert set(errors) == {lonely}
    assert str(errors[lonely]) == f"gcp: backend service web has no instance group in {D}"
    assert errors[lonely].hint == f"make an unmanaged instance group in {D}, and add it to the backend service"
    assert not errors[lonely].retryable
    assert scene.members(B) == names(other)
    assert scene.standing(lonely, since=scene.clock.now()) == FINE


@pytest.mark.parametrize(
    "behind", [("nope",), (f"regions/{REGION}/nope",), ("pools/nope",)], ids=["global", "regional", "pool"]
)
def test_what_does_not_exist_is_told_and_waited_for_by_nobody(scene: Scene, behind: Sequence[str]) -> None:
    (id_,) = scene.boot()
    assert scene.standing(id_, behind) == Standing(lacks=f"its place in {title(behind)}, which does not exist")
    errors = scene.balancers.register({id_: (*behind, *WEB)})
    assert f"{title(behind)} does not exist" in str(errors[id_])
    assert errors[id_].hint
    assert scene.members() == names(id_)
    assert scene.standing(id_, behind, since=scene.clock.now()) == FINE
    assert scene.balancers.deregister({id_: behind}) == {}


def test_a_group_that_vanished_is_as_good_as_none(scene: Scene) -> None:
    (id_,) = scene.serve()
    del scene.fake.world.groups[B, "web"]
    assert scene.standing(id_).lacks.endswith(f"which has no instance group in {B}")
    assert "no instance group" in str(scene.balancers.register({id_: WEB})[id_])
    assert scene.balancers.deregister({id_: WEB}) == {}
    assert scene.standing(id_, since=scene.clock.now()) == FINE


@pytest.mark.parametrize(("change", "refused"), [("add", True), ("remove", False)])
def test_a_group_that_vanishes_just_now_refuses_who_joins_and_nobody_who_leaves(
    scene: Scene, change: str, refused: bool
) -> None:
    joining, leaving = scene.boot(3), scene.serve(3)
    scene.caller.before[f"instance_groups.{change}_instances"] = lambda: scene.fake.world.groups.pop((B, "web"))
    if change == "add":
        errors = scene.balancers.register(dict.fromkeys(joining, WEB))
    else:
        errors = scene.balancers.deregister(dict.fromkeys(leaving, WEB))
    assert set(errors) == (set(joining) if refused else set())
    assert scene.fake.calls[f"instanceGroups.{change}Instances"] == (2 if change == "add" else 1)


@pytest.mark.parametrize(
    "method", ["backendServices.get", "instanceGroups.listInstances", "backendServices.getHealth"]
)
def test_what_cannot_be_looked_at_is_an_error_and_never_a_verdict(scene: Scene, method: str) -> None:
    (id_,) = scene.serve()
    scene.fake.fail(method, "transient", 20)
    with pytest.raises(Transient):
        scene.standing(id_)
    if method != "backendServices.getHealth":
        assert isinstance(scene.balancers.deregister({id_: WEB})[id_], Transient)


def test_who_may_not_change_a_group_is_told_so_once(scene: Scene) -> None:
    ids = scene.boot(10)
    scene.fake.deny("compute.instanceGroups.update")
    scene.fake.calls.clear()
    errors = scene.balancers.register(dict.fromkeys(ids, WEB))
    assert set(errors) == set(ids)
    assert all("compute.instanceGroups.update" in str(error) for error in errors.values())
    assert scene.fake.calls["instanceGroups.addInstances"] == 1


def test_a_managed_group_is_not_for_us_and_that_is_told(scene: Scene) -> None:
    ids = scene.boot(2)

    def refuse(world: World, asked: Asked) -> Reply:
        raise GceError(400, "invalid", "The instance group is managed.")

    scene.fake.front.handlers["instanceGroups.addInstances"] = refuse
    scene.caller.answers["instance_group_managers.get"] = compute_v1.InstanceGroupManager(name="web")
    errors = scene.balancers.register(dict.fromkeys(ids, WEB))
    assert set(errors) == set(ids)
    assert all("is managed, and only its manager fills it" in str(error) for error in errors.values())
    assert all(error.hint and "make an unmanaged instance group" in error.hint for error in errors.values())
    assert scene.fake.calls["instanceGroups.addInstances"] == 1


def test_groups_of_regions_and_of_endpoints_are_passed_over(scene: Scene) -> None:
    scene.caller.answers["backend_services.get"] = compute_v1.BackendService(
        backends=[
            compute_v1.Backend(group=f"projects/p/regions/{REGION}/instanceGroups/web"),
            compute_v1.Backend(group=f"projects/p/zones/{B}/networkEndpointGroups/web"),
        ]
    )
    (id_,) = scene.boot()
    assert scene.standing(id_).lacks.endswith(f"which has no instance group in {B}")


def test_a_group_for_failover_is_joined_only_where_there_is_no_other(scene: Scene) -> None:
    backends = [
        compute_v1.Backend(group=f"projects/infrakit-test/zones/{B}/instanceGroups/spare", failover=True),
        compute_v1.Backend(group=f"projects/infrakit-test/zones/{B}/instanceGroups/web"),
    ]
    scene.caller.answers["backend_services.get"] = compute_v1.BackendService(backends=backends)
    scene.fake.world.groups[B, "spare"] = replace(scene.fake.world.groups[B, "web"], name="spare", members={})
    (id_,) = scene.boot()
    assert scene.balancers.register({id_: WEB}) == {}
    assert (scene.members(), scene.fake.group_members(B, "spare")) == (names(id_), [])


def test_a_target_pool_that_checks_nothing_finds_all_well(scene: Scene) -> None:
    (id_,) = scene.serve(behind=POOL)
    scene.fake.front.handlers["targetPools.getHealth"] = lambda world, asked: {
        "kind": "compute#targetPoolInstanceHealth"
    }
    assert scene.standing(id_, POOL) == FINE
