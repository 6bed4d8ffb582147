"""What of a cluster is still at AWS: `python examples/aws/left.py NAME [REGION]`. Nothing: exit code 0; else 1."""
# ruff: noqa: T201  # it is there to print

import sys

import boto3

TAG = "tag:infrakit.cluster"
THERE = ["pending", "running", "shutting-down", "stopping", "stopped"]

name, region = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "eu-central-1"
ec2 = boto3.client("ec2", region_name=region)
ours = [{"Name": TAG, "Values": [name]}]
living = [*ours, {"Name": "instance-state-name", "Values": THERE}]
found = {
    "instances": sum(
        len(reservation["Instances"])
        for page in ec2.get_paginator("describe_instances").paginate(Filters=living)
        for reservation in page["Reservations"]
    ),
    "volumes": len(ec2.describe_volumes(Filters=ours)["Volumes"]),
    "network interfaces": len(ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"]),
    "addresses": len(ec2.describe_addresses(Filters=ours)["Addresses"]),
}
print(f"{name}:", ", ".join(f"{number} {what}" for what, number in found.items()))
sys.exit(any(found.values()))
