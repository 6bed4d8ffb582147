"""Instances once they are there, and what others see of them."""

from typing import Any

import pytest

from infrakit_providers.simulated.faults import Fault
from tests.fakes.account import Account, Opens, refused, tagged
from tests.fakes.ec2.settings import LINUX, SUBNETS


def test_an_instance_boots_runs_leaves_is_gone_and_is_forgotten(account: Account) -> None:
    (id_,) = account.run()
    states = [account.state(id_)]
    for seconds in (1, 1):
        account.clock.sleep(seconds)
        states.append(account.state(id_))
    (change,) = account.ec2.terminate_instances(InstanceIds=[id_])["TerminatingInstances"]
    states += [change["CurrentState"]["Name"], account.state(id_)]
    account.clock.sleep(1)
    states.append(account.state(id_))
    assert states == ["pending", "pending", "running", "shutting-down", "shutting-down", "terminated"]
    account.clock.sleep(3600)
    assert account.refused("describe_instances", InstanceIds=[id_]) == "InvalidInstanceID.NotFound"


def test_a_terminated_instance_is_listed_with_its_tags(account: Account) -> None:
    (id_,) = account.boot(TagSpecifications=tagged({"infrakit.cluster": "c"}))
    account.end(id_)
    (seen,) = account.see(**{"tag:infrakit.cluster": "c"})
    assert (seen["State"]["Name"], seen["StateReason"]["Code"]) == ("terminated", "Client.UserInitiatedShutdown")
    assert seen["BlockDeviceMappings"] == seen["NetworkInterfaces"] == []


def test_a_new_instance_is_listed_late_and_found_by_id_at_once(opens: Opens) -> None:
    account = opens(listing_lag=3)
    (id_,) = account.run()
    assert account.listed() == account.listed(instance__state__name="pending") == []
    assert account.state(id_) == "pending"
    account.clock.sleep(3)
    assert account.listed() == [id_]


def test_even_the_id_of_a_new_instance_may_be_unknown_for_a_while(opens: Opens) -> None:
    account = opens(listing_lag=3, id_lag=1)
    (id_,) = account.run()
    assert account.refused("describe_instances", InstanceIds=[id_]) == "InvalidInstanceID.NotFound"
    account.clock.sleep(1)
    assert account.state(id_) == "pending"


def test_one_unknown_or_protected_instance_spares_all(account: Account) -> None:
    protected, *others = account.boot(1, DisableApiTermination=True) + account.boot(2)
    assert account.refused("terminate_instances", InstanceIds=[*others, protected]) == "OperationNotPermitted"
    assert (
        account.refused("terminate_instances", InstanceIds=[*others, "i-00000000000000000"])
        == "InvalidInstanceID.NotFound"
    )
    assert account.refused("terminate_instances", InstanceIds=[*others, "i-1"]) == "InvalidInstanceID.Malformed"
    assert len(account.fake.ids("running")) == 3
    account.ec2.modify_instance_attribute(InstanceId=protected, DisableApiTermination={"Value": False})
    account.end(protected, *others)
    assert account.fake.ids() == []


def test_a_protected_instance_spares_no_other_zone(account: Account) -> None:
    (protected,), (other,) = account.boot(DisableApiTermination=True), account.boot(SubnetId=SUBNETS["b"])
    assert account.refused("terminate_instances", InstanceIds=[protected, other]) == "OperationNotPermitted"
    assert (account.state(protected), account.state(other)) == ("running", "shutting-down")


def test_to_terminate_twice_is_fine(account: Account) -> None:
    (id_,) = account.boot()
    account.end(id_)
    account.end(id_)
    assert account.state(id_) == "terminated"


@pytest.mark.parametrize(
    ("fault", "left"), [(Fault.TRANSIENT, ["running"]), (Fault.LOST_REPLY, [])], ids=["not-done", "done"]
)
def test_a_call_that_fails_did_its_work_or_did_not(account: Account, fault: Fault, left: list[str]) -> None:
    (id_,) = account.boot()
    account.fake.fail("destroy", fault)
    assert account.refused("terminate_instances", InstanceIds=[id_]) == "InternalError"
    account.clock.sleep(1)
    assert [account.state(one) for one in account.fake.ids()] == left
    assert len(account.fake.volumes()) == len(account.fake.interfaces()) == len(left)


def test_pages_go_by_instance(account: Account) -> None:
    ids = account.run(7) + account.run(6)
    pages = list(account.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    seen = [[one["InstanceId"] for part in page["Reservations"] for one in part["Instances"]] for page in pages]
    assert [len(page) for page in seen] == [5, 5, 3]
    assert [one for page in seen for one in page] == ids
    assert len(pages[1]["Reservations"]) == 2


def test_pages_have_bounds(account: Account) -> None:
    ids = account.run()
    assert account.refused("describe_instances", MaxResults=4) == "InvalidParameterValue"
    assert account.refused("describe_instances", MaxResults=1001) == "InvalidParameterValue"
    assert account.refused("describe_instances", MaxResults=5, InstanceIds=ids) == "InvalidParameterCombination"


def test_filters_let_through_what_matches_all_of_them(account: Account) -> None:
    (one,) = account.boot(TagSpecifications=tagged({"role": "web-1", "infrakit.cluster": "c"}), ClientToken="t")
    (two,) = account.run(TagSpecifications=tagged({"role": "web-2"}), SubnetId=SUBNETS["b"])
    (three,) = account.run(TagSpecifications=tagged({"roles": "w*b"}))
    assert account.listed(**{"tag:role": "web-*"}) == [one, two]
    assert account.listed(**{"tag:role": "web-?", "availability-zone": "eu-central-1b"}) == [two]
    assert account.listed(**{"tag:roles": "w\\*b"}) == [three]
    assert account.listed(**{"tag-key": "role"}) == [one, two]
    assert account.listed(**{"tag:infrakit.cluster": "c"}) == [one]
    assert account.listed(instance__state__name=["pending", "stopped"]) == [two, three]
    assert account.listed(client__token="t") == [one]
    assert account.listed(subnet__id=SUBNETS["b"]) == [two]
    assert account.listed(instance__id=[one, three]) == [one, three]
    assert account.listed(vpc__id="vpc-0") == []


def test_an_unknown_filter_is_an_error(account: Account) -> None:
    filters = [{"Name": "instance-stat-name", "Values": ["running"]}]
    assert account.refused("describe_instances", Filters=filters) == "InvalidParameterValue"


def test_tags_can_be_added_replaced_and_removed(account: Account) -> None:
    (id_,) = account.run(TagSpecifications=tagged({"a": "1", "b": "2", "c": "3"}))
    volume = account.fake.volumes()[0].id
    account.ec2.create_tags(Resources=[id_, volume], Tags=[{"Key": "a", "Value": "x"}])
    account.ec2.delete_tags(Resources=[id_], Tags=[{"Key": "b"}, {"Key": "c", "Value": "other"}])
    assert account.fake.tags_of(id_) == {"a": "x", "c": "3"}
    assert account.fake.volumes()[0].tags == {"a": "x"}


def test_tags_are_all_set_or_none(account: Account) -> None:
    (id_,) = account.run(TagSpecifications=tagged({str(n): "" for n in range(49)}))
    pairs = [{"Key": "x", "Value": ""}, {"Key": "y", "Value": ""}]
    assert account.refused("create_tags", Resources=[id_], Tags=pairs) == "TagLimitExceeded"
    assert (
        account.refused("create_tags", Resources=[id_, "i-00000000000000000"], Tags=pairs[:1])
        == "InvalidInstanceID.NotFound"
    )
    assert len(account.fake.tags_of(id_)) == 49


def test_a_stopped_instance_keeps_its_disk_and_address_and_can_be_started(account: Account) -> None:
    (id_,) = account.boot()
    before = account.see(id_)[0]
    account.ec2.stop_instances(InstanceIds=[id_])
    assert account.state(id_) == "stopped"
    account.ec2.start_instances(InstanceIds=[id_])
    assert account.state(id_) == "pending"
    account.clock.sleep(2)
    after = account.see(id_)[0]
    assert after["State"]["Name"] == "running"
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["BlockDeviceMappings"] == before["BlockDeviceMappings"]


def test_a_machine_that_halts_stops_or_ends_as_its_launch_says(account: Account) -> None:
    (stays,), (goes,) = account.boot(), account.boot(InstanceInitiatedShutdownBehavior="terminate")
    for id_ in (stays, goes):
        account.fake.kill(id_)
    account.clock.sleep(1)
    assert (account.state(stays), account.state(goes)) == ("stopped", "terminated")
    assert account.see(stays)[0]["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_status_shows_what_runs_and_what_is_announced(account: Account) -> None:
    one, two = account.boot(2)
    (new,) = account.run()
    account.fake.impair(one)
    event = account.fake.schedule_event(two, "system-reboot", account.clock.now() + 60)
    statuses = account.ec2.describe_instance_status()["InstanceStatuses"]
    assert {seen["InstanceId"]: seen["InstanceStatus"]["Status"] for seen in statuses} == {one: "impaired", two: "ok"}
    filters: Any = [{"Name": "event.code", "Values": ["system-*"]}]
    (seen,) = account.ec2.describe_instance_status(Filters=filters)["InstanceStatuses"]
    assert [(one["InstanceEventId"], one["Code"]) for one in seen["Events"]] == [(event, "system-reboot")]
    every = account.ec2.describe_instance_status(IncludeAllInstances=True)["InstanceStatuses"]
    assert new in [one["InstanceId"] for one in every]


def test_a_spot_instance_is_given_notice_and_then_taken(account: Account) -> None:
    (id_,) = account.boot(InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.05"}})
    (seen,) = account.see(id_)
    assert seen["InstanceLifecycle"] == "spot"
    request = seen["SpotInstanceRequestId"]

    def status() -> str:
        answer = account.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request])
        return str(answer["SpotInstanceRequests"][0]["Status"]["Code"])

    codes = [status()]
    account.fake.interrupt_spot(id_, "instance-terminated-by-price")
    codes.append(status())
    assert account.state(id_) == "running"
    account.clock.sleep(120)
    codes.append(status())
    account.clock.sleep(1)
    assert codes == ["fulfilled", "marked-for-termination", "instance-terminated-by-price"]
    assert account.state(id_) == "terminated"
    assert account.see(id_)[0]["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_a_one_time_spot_instance_cannot_be_stopped(account: Account) -> None:
    ids = account.boot(InstanceMarketOptions={"MarketType": "spot"})
    assert account.refused("stop_instances", InstanceIds=ids) == "UnsupportedOperation"


def test_thousands_are_no_burden(account: Account) -> None:
    counts = {"MinCount": "1000", "MaxCount": "1000"}
    for _ in range(3):
        status, _text = account.raw("RunInstances", ImageId=LINUX, InstanceType="m5.large", **counts)
        assert status == 200
    _, text = account.raw("DescribeInstances")
    assert text.count("<instanceId>") == 3000


def test_dry_run_of_any_call_changes_nothing(account: Account) -> None:
    (id_,) = account.boot()
    assert refused(account.ec2, "terminate_instances", InstanceIds=[id_], DryRun=True) == "DryRunOperation"
    assert account.state(id_) == "running"
