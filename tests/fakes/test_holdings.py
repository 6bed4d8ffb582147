"""Volumes, interfaces, addresses and templates, by themselves and with instances."""

from typing import Any

from tests.fakes.account import Account, Opens, tagged
from tests.fakes.ec2.settings import LINUX, SUBNETS


def _volume(account: Account, zone: str = "a", **wanted: Any) -> str:
    made = account.ec2.create_volume(AvailabilityZone=f"eu-central-1{zone}", Size=5, **wanted)
    return made["VolumeId"]


def test_a_volume_is_made_once_for_a_token(account: Account) -> None:
    tags = tagged({"of": "c"}, "volume")
    assert len({_volume(account, ClientToken="t", TagSpecifications=tags) for _ in range(2)}) == 1
    wanted = {"AvailabilityZone": "eu-central-1a", "Size": 6, "ClientToken": "t"}
    assert account.refused("create_volume", **wanted) == "IdempotentParameterMismatch"


def test_a_volume_outlives_the_instance_that_it_was_attached_to(account: Account) -> None:
    volume, (id_,) = _volume(account), account.boot()
    account.ec2.attach_volume(VolumeId=volume, InstanceId=id_, Device="/dev/sdf")
    devices = [one["DeviceName"] for one in account.see(id_)[0]["BlockDeviceMappings"]]
    assert devices == ["/dev/xvda", "/dev/sdf"]
    account.end(id_)
    (kept,) = account.ec2.describe_volumes()["Volumes"]
    assert (kept["VolumeId"], kept["State"]) == (volume, "available")
    account.ec2.delete_volume(VolumeId=volume)
    assert account.ec2.describe_volumes()["Volumes"] == []


def test_a_volume_that_cannot_be_attached_is_refused(account: Account) -> None:
    (id_, other), volume = account.run(2), _volume(account)

    def attach(volume: str = volume, instance: str = id_, device: str = "/dev/sdf") -> str:
        return account.refused("attach_volume", VolumeId=volume, InstanceId=instance, Device=device)

    assert attach() == "IncorrectState"
    account.clock.sleep(2)
    assert attach(_volume(account, "b")) == "InvalidVolume.ZoneMismatch"
    assert attach(device="/dev/xvda") == "InvalidParameterValue"
    assert attach("vol-00000000000000000") == "InvalidVolume.NotFound"
    account.ec2.attach_volume(VolumeId=volume, InstanceId=id_, Device="/dev/sdf")
    assert attach(instance=other) == "VolumeInUse"
    assert account.refused("delete_volume", VolumeId=volume) == "VolumeInUse"
    account.ec2.detach_volume(VolumeId=volume)
    account.ec2.attach_volume(VolumeId=volume, InstanceId=other, Device="/dev/sdf")


def test_a_disk_of_a_launch_stays_where_it_says_so(account: Account) -> None:
    disk: Any = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "DeleteOnTermination": False}}
    (id_,) = account.boot(BlockDeviceMappings=[disk])
    assert len(account.fake.volumes()) == 2
    account.end(id_)
    assert [(one.gibibytes, one.instance) for one in account.fake.volumes()] == [(5, "")]


def test_an_interface_can_be_attached_as_a_second_one(account: Account) -> None:
    (id_,), made = account.boot(), account.ec2.create_network_interface(SubnetId=SUBNETS["a"], ClientToken="t")
    interface = made["NetworkInterface"]["NetworkInterfaceId"]
    again = account.ec2.create_network_interface(SubnetId=SUBNETS["a"], ClientToken="t")
    assert again["NetworkInterface"]["NetworkInterfaceId"] == interface
    answer = account.ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=id_, DeviceIndex=1)
    assert len(account.see(id_)[0]["NetworkInterfaces"]) == 2
    assert account.refused("delete_network_interface", NetworkInterfaceId=interface) == "InvalidParameterValue"
    account.ec2.detach_network_interface(AttachmentId=answer["AttachmentId"])
    account.ec2.delete_network_interface(NetworkInterfaceId=interface)
    assert len(account.fake.interfaces()) == 1


def test_an_address_moves_only_where_that_is_allowed(account: Account) -> None:
    one, two = account.boot(2)
    address = account.ec2.allocate_address(TagSpecifications=tagged({"of": "c"}, "elastic-ip"))
    id_ = address["AllocationId"]
    account.ec2.associate_address(AllocationId=id_, InstanceId=one)
    assert account.see(one)[0]["PublicIpAddress"] == address["PublicIp"]
    assert (
        account.refused("associate_address", AllocationId=id_, InstanceId=two, AllowReassociation=False)
        == "Resource.AlreadyAssociated"
    )
    moved = account.ec2.associate_address(AllocationId=id_, InstanceId=two, AllowReassociation=True)
    assert "PublicIpAddress" not in account.see(one)[0]
    assert account.refused("release_address", AllocationId=id_) == "InvalidIPAddress.InUse"
    account.ec2.disassociate_address(AssociationId=moved["AssociationId"])
    account.ec2.release_address(AllocationId=id_)
    assert account.ec2.describe_addresses()["Addresses"] == []


def test_an_address_is_free_again_once_its_instance_is_gone(account: Account) -> None:
    (id_,), address = account.boot(), account.ec2.allocate_address()
    account.ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=id_)
    account.end(id_)
    (seen,) = account.ec2.describe_addresses(Filters=[{"Name": "domain", "Values": ["vpc"]}])["Addresses"]
    assert "AssociationId" not in seen


def _template(account: Account) -> dict[str, Any]:
    made = account.ec2.create_launch_template(
        LaunchTemplateName="web",
        LaunchTemplateData={"ImageId": LINUX, "InstanceType": "m5.large", "UserData": "eA=="},
    )
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}


def test_a_launch_takes_from_its_template_what_it_does_not_say(account: Account) -> None:
    template = _template(account)
    (one,) = account.reserve(ImageId=None, InstanceType="m5.xlarge", LaunchTemplate=template)["Instances"]
    assert (one["ImageId"], one["InstanceType"]) == (LINUX, "m5.xlarge")
    account.ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])
    assert account.ec2.describe_launch_templates()["LaunchTemplates"] == []


def test_a_fleet_takes_the_next_place_where_one_has_too_few_and_says_so(opens: Opens) -> None:
    account = opens(capacity={"a": 0, "b": 2})
    overrides: list[Any] = [{"InstanceType": "m5.large", "SubnetId": SUBNETS[zone]} for zone in "abc"]
    wanted: Any = {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": _template(account), "Overrides": overrides}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 5, "DefaultTargetCapacityType": "spot"},
        "TagSpecifications": tagged({"of": "c"}),
        "ClientToken": "t",
    }
    fleet = account.ec2.create_fleet(**wanted)
    assert [error["ErrorCode"] for error in fleet["Errors"]] == ["InsufficientInstanceCapacity"]
    assert [len(group["InstanceIds"]) for group in fleet["Instances"]] == [2, 3]
    again = account.ec2.create_fleet(**wanted)
    assert (again["FleetId"], again["Instances"]) == (fleet["FleetId"], fleet["Instances"])
    tags = account.fake.tags_of(fleet["Instances"][0]["InstanceIds"][0])
    assert tags == {"of": "c", "aws:ec2:fleet-id": fleet["FleetId"]}
    assert len(account.listed(instance__lifecycle="spot")) == 5
