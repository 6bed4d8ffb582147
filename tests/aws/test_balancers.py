"""Machines and their target groups, on the fake ELBv2: who lacks a place, who waits, who is found broken."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ConnectionError as LostConnection

from infrakit_providers.aws.balancers import Balancers
from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.settings import Limits, Settings
from infrakit_providers.cloud.standing import Standing
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError, Transient
from tests.aws.ground import fake_ec2
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.settings import LINUX, VPC

WEB = ("web",)
FINE = Standing()
UNKNOWN = "i-0123456789abcdef0"
HEALTH_SECONDS, DRAINING_SECONDS = 20.0, 300.0


@dataclass
class Scene:
    fake: FakeEC2
    clock: VirtualClock
    clients: Clients
    balancers: Balancers

    def boot(self, count: int = 1, *, running: bool = True) -> list[str]:
        answer = self.clients.of("ec2").run_instances(
            ImageId=LINUX, InstanceType="t3.nano", MinCount=count, MaxCount=count
        )
        if running:
            self.clock.sleep(5)
        return [one["InstanceId"] for one in answer["Instances"]]

    def serve(self, count: int = 1) -> list[str]:
        """Boot machines that the load balancer finds healthy."""
        ids = self.boot(count)
        assert self.balancers.register(dict.fromkeys(ids, WEB)) == {}
        self.clock.sleep(HEALTH_SECONDS)
        return ids

    def new_group(self, name: str) -> str:
        answer = self.clients.of("elbv2").create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=VPC)
        return str(answer["TargetGroups"][0]["TargetGroupArn"])

    def standing(self, id_: str, *, draining: bool = False, groups: tuple[str, ...] = WEB) -> Standing:
        return self.balancers.standings({id_: groups}, {id_} if draining else ())[id_]

    def let_health_be(self, health: Mapping[str, str]) -> None:
        """Let the load balancer say this of every target, in states that the fake never has."""

        def say(parsed: dict[str, Any], **_: object) -> None:
            for one in parsed["TargetHealthDescriptions"]:
                one["TargetHealth"] = dict(health)

        events = self.clients.of("elbv2").meta.events
        events.register("after-call.elastic-load-balancing-v2.DescribeTargetHealth", say)


@pytest.fixture
def scene() -> Iterator[Scene]:
    clock = VirtualClock()
    settings = FakeSettings(
        boot_seconds=2, health_seconds=HEALTH_SECONDS, deregistration_seconds=DRAINING_SECONDS, subnet_bits=20
    )
    with fake_ec2(settings, clock) as fake:
        clients = Clients(Settings.model_validate({"region": "eu-central-1"}))
        caller = Caller(clients, Rates(Limits(), clock.now()), clock, Random(1))
        yield Scene(fake, clock, clients, Balancers(caller, clock))
        clients.close()


# Serving.


def test_a_machine_that_is_no_target_lacks_its_place(scene: Scene) -> None:
    (id_,) = scene.boot()
    assert scene.standing(id_) == Standing(lacks="its place in target group web")


def test_a_machine_waits_for_the_first_checks_and_is_fine_after_them(scene: Scene) -> None:
    (id_,) = scene.boot()
    assert scene.balancers.register({id_: WEB}) == {}
    assert scene.standing(id_) == Standing(awaits="target group web: initial health checks")
    scene.clock.sleep(HEALTH_SECONDS)
    assert scene.standing(id_) == FINE


@pytest.mark.parametrize("groups", [WEB, ("arn",)], ids=["name", "ARN"])
def test_a_machine_that_fails_its_checks_is_impaired_and_says_how(scene: Scene, groups: tuple[str, ...]) -> None:
    (id_,) = scene.serve()
    scene.fake.set_target_health(id_, "Target.ResponseCodeMismatch")
    groups = tuple(next(iter(scene.fake.world.target_groups)) if one == "arn" else one for one in groups)
    text = "target group web: Health checks failed with these codes: [503] (Target.ResponseCodeMismatch)"
    assert scene.standing(id_, groups=groups) == Standing(impaired=text)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ({"State": "unused", "Reason": "Target.NotInUse"}, FINE),
        ({"State": "unavailable", "Reason": "Target.HealthCheckDisabled"}, FINE),
        ({"State": "unused", "Reason": "Target.NotRegistered"}, Standing(lacks="its place in target group web")),
        ({"State": "unhealthy.draining"}, Standing(lacks="its place in target group web")),
        (
            {"State": "unused", "Reason": "Target.InvalidState", "Description": "Target is in the stopped state"},
            Standing(awaits="target group web: Target is in the stopped state (Target.InvalidState)"),
        ),
        (
            {"State": "unhealthy", "Reason": "Elb.InternalError"},
            Standing(impaired="target group web: Elb.InternalError"),
        ),
        ({"State": "new in 2030"}, Standing(awaits="target group web: new in 2030")),
    ],
    ids=lambda value: value.get("Reason", value["State"]) if isinstance(value, dict) else "",
)
def test_every_state_of_a_target_has_its_meaning(scene: Scene, health: Mapping[str, str], expected: Standing) -> None:
    (id_,) = scene.serve()
    scene.let_health_be(health)
    assert scene.standing(id_) == expected


def test_a_machine_behind_two_groups_must_have_its_place_in_both(scene: Scene) -> None:
    scene.new_group("api")
    (id_,) = scene.serve()
    assert scene.standing(id_, groups=("web", "api")) == Standing(lacks="its place in target group api")


def test_all_machines_of_a_group_are_looked_at_by_one_call(scene: Scene) -> None:
    arn = scene.new_group("api")
    first, second, third = scene.serve(3)
    scene.balancers.register({third: (arn,)})
    scene.fake.calls.clear()
    found = scene.balancers.standings({first: WEB, second: WEB, third: ("web", arn), UNKNOWN: ()})
    assert found == {
        first: FINE,
        second: FINE,
        third: Standing(awaits="target group api: initial health checks"),
        UNKNOWN: FINE,
    }
    assert scene.fake.calls == {"DescribeTargetHealth": 2}


def test_the_worst_of_several_ports_counts(scene: Scene) -> None:
    (id_,) = scene.serve()
    (arn,) = scene.fake.world.target_groups
    scene.clients.of("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": id_, "Port": 8080}])
    assert scene.standing(id_).awaits


# Draining.


def test_a_machine_that_drains_waits_until_it_is_let_go(scene: Scene) -> None:
    (id_,) = scene.serve()
    awaits = Standing(awaits="target group web: draining")
    assert scene.standing(id_, draining=True) == awaits
    assert scene.balancers.deregister({id_: WEB}) == {}
    assert scene.standing(id_, draining=True) == awaits
    scene.clock.sleep(DRAINING_SECONDS)
    assert scene.standing(id_, draining=True) == FINE


def test_a_machine_that_somebody_else_lets_go_lacks_its_place_and_gets_it_back(scene: Scene) -> None:
    (id_,) = scene.serve()
    scene.balancers.deregister({id_: WEB})
    assert scene.standing(id_) == Standing(lacks="its place in target group web")
    assert scene.balancers.register({id_: WEB}) == {}
    scene.clock.sleep(HEALTH_SECONDS)
    assert scene.standing(id_) == FINE


def test_letting_go_again_is_fine_and_takes_no_longer(scene: Scene) -> None:
    (id_,) = scene.serve()
    scene.balancers.deregister({id_: WEB})
    scene.clock.sleep(DRAINING_SECONDS - 1)
    assert scene.balancers.deregister({id_: WEB}) == {}
    scene.clock.sleep(1)
    assert scene.standing(id_, draining=True) == FINE
    assert scene.balancers.deregister({id_: WEB}) == {}


def test_an_unknown_target_spoils_no_other_that_is_let_go(scene: Scene) -> None:
    ids = scene.serve(2)
    assert scene.balancers.deregister(dict.fromkeys([ids[0], UNKNOWN, ids[1]], WEB)) == {}
    assert set(scene.fake.targets().values()) == {"draining"}


# Registering.


def test_registering_again_changes_nothing(scene: Scene) -> None:
    (id_,) = scene.serve()
    assert scene.balancers.register({id_: WEB}) == {}
    assert scene.standing(id_) == FINE


def test_many_machines_are_registered_by_few_calls(scene: Scene) -> None:
    ids = scene.boot(250)
    assert scene.balancers.register(dict.fromkeys(ids, WEB)) == {}
    assert set(scene.fake.targets()) == set(ids)
    assert scene.fake.calls["RegisterTargets"] == 3
    assert scene.fake.calls["DescribeTargetGroups"] == 1


def test_machines_that_do_not_run_spoil_no_other_and_may_come_again(scene: Scene) -> None:
    ids = scene.boot(5)
    late = scene.boot(2, running=False)
    errors = scene.balancers.register(dict.fromkeys([ids[0], late[0], *ids[1:], late[1], UNKNOWN], WEB))
    assert set(errors) == {*late, UNKNOWN}
    assert all(isinstance(errors[id_], Transient) for id_ in late)
    assert not errors[UNKNOWN].retryable
    assert set(scene.fake.targets()) == set(ids)
    scene.clock.sleep(5)
    assert scene.balancers.register(dict.fromkeys(late, WEB)) == {}


def test_a_refusal_that_names_nobody_is_taken_apart(scene: Scene) -> None:
    ids = scene.boot(5)

    def hide(parsed: dict[str, Any], **_: object) -> None:
        if "Error" in parsed:
            parsed["Error"]["Message"] = "One or more targets are invalid"

    scene.clients.of("elbv2").meta.events.register("after-call.elastic-load-balancing-v2.RegisterTargets", hide)
    assert set(scene.balancers.register(dict.fromkeys([*ids[:2], UNKNOWN, *ids[2:]], WEB))) == {UNKNOWN}
    assert set(scene.fake.targets()) == set(ids)


def test_a_lost_reply_costs_nothing(scene: Scene) -> None:
    (id_,) = scene.boot()
    events, name = scene.clients.of("elbv2").meta.events, "after-call.elastic-load-balancing-v2.RegisterTargets"

    def lose(**_: object) -> None:
        events.unregister(name, lose)
        raise LostConnection(error=OSError("the reply was lost"))

    events.register(name, lose)
    assert scene.balancers.register({id_: WEB}) == {}
    assert set(scene.fake.targets()) == {id_}


# Groups that are not there.


def test_a_group_that_does_not_exist_is_told_with_what_to_do(scene: Scene) -> None:
    (id_, other) = scene.boot(2)
    assert scene.standing(id_, groups=("nope",)) == Standing(
        lacks="its place in target group nope, which does not exist"
    )
    errors = scene.balancers.register({id_: ("nope", "web"), other: WEB})
    assert set(errors) == {id_}
    assert "target group nope does not exist" in str(errors[id_])
    assert errors[id_].hint
    assert not errors[id_].retryable
    assert set(scene.fake.targets()) == {id_, other}


def test_nobody_waits_for_a_group_that_does_not_exist(scene: Scene) -> None:
    (id_,) = scene.boot()
    assert scene.standing(id_, draining=True, groups=("nope",)) == FINE
    assert scene.balancers.deregister({id_: ("nope",)}) == {}


def test_a_group_that_is_missing_is_not_asked_for_at_each_listing(scene: Scene) -> None:
    (id_,) = scene.boot()
    for _ in range(5):
        assert scene.standing(id_, groups=("api",)).lacks
    assert scene.fake.calls["DescribeTargetGroups"] == 1
    scene.new_group("api")
    assert scene.balancers.register({id_: ("api",)}) == {}
    assert scene.standing(id_, groups=("api",)).awaits


def test_a_group_that_is_made_anew_is_found_again(scene: Scene) -> None:
    (id_,) = scene.serve()
    elbv2 = scene.clients.of("elbv2")
    assert scene.standing(id_) == FINE
    elbv2.delete_target_group(TargetGroupArn=next(iter(scene.fake.world.target_groups)))
    assert scene.standing(id_).lacks == "its place in target group web, which does not exist"
    scene.new_group("web")
    scene.clock.sleep(60)
    assert scene.standing(id_) == Standing(lacks="its place in target group web")
    assert scene.balancers.register({id_: WEB}) == {}
    assert scene.standing(id_).awaits


def test_what_cannot_be_looked_at_is_an_error_and_never_a_verdict(scene: Scene) -> None:
    (id_,) = scene.serve()

    def refuse(**_: object) -> None:
        raise LostConnection(error=OSError("no route"))

    events = scene.clients.of("elbv2").meta.events
    events.register("before-call.elastic-load-balancing-v2.DescribeTargetHealth", refuse)
    with pytest.raises(ProviderError, match="look at target group web"):
        scene.standing(id_)
