"""The id of the default security group of the default VPC: `python examples/aws/default_group.py [REGION]`."""
# ruff: noqa: T201  # it is there to print

import sys

import boto3

ec2 = boto3.client("ec2", region_name=sys.argv[1] if len(sys.argv) > 1 else "eu-central-1")
(vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
filters = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
(group,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
print(group["GroupId"])
