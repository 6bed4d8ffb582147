"""Who is asking, what is published, what is allowed: STS, SSM parameters, service quotas."""

import re
from typing import Any, Final

from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import Session
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

_ROLE: Final = re.compile(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+")
_SHORTEST_SESSION: Final = 900


def get_caller_identity(world: World, asked: Asked) -> Reply:
    arn = world.caller.arn if world.caller else f"arn:aws:iam::{ACCOUNT}:user/operator"
    return {"UserId": "AIDA0F00D00000000001", "Account": ACCOUNT, "Arn": arn}


def assume_role(world: World, asked: Asked) -> Reply:
    """Give temporary credentials, which are refused once they have expired."""
    role, name = asked["RoleArn"], asked["RoleSessionName"]
    if not _ROLE.fullmatch(role):
        raise AwsError("ValidationError", f"{role} is invalid")
    if role.rpartition("/")[2] in world.closed_roles:
        raise AwsError("AccessDenied", f"User is not authorized to perform: sts:AssumeRole on resource: {role}", 403)
    seconds = asked.get("DurationSeconds", 3600)
    if not _SHORTEST_SESSION <= seconds <= 43_200:
        raise AwsError("ValidationError", f"DurationSeconds of {seconds} is invalid: from 900 to 43200")
    number = world.number()
    token, expires_at = f"session/{number}", world.now() + seconds
    assumed = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{name}"
    world.sessions[token] = Session(assumed, expires_at)
    return {
        "Credentials": {
            "AccessKeyId": f"ASIA{number:016}",
            "SecretAccessKey": "fake",
            "SessionToken": token,
            "Expiration": expires_at,
        },
        "AssumedRoleUser": {"AssumedRoleId": f"AROA0F00D00000000001:{name}", "Arn": assumed},
    }


def get_parameter(world: World, asked: Asked) -> Reply:
    name = asked["Name"]
    if name not in world.parameters:
        raise AwsError("ParameterNotFound", "")
    return {"Parameter": _parameter(world, name)}


def get_parameters(world: World, asked: Asked) -> Reply:
    names = asked["Names"]
    known = [one for one in names if one in world.parameters]
    unknown = [one for one in names if one not in world.parameters]
    return {"Parameters": [_parameter(world, one) for one in known], "InvalidParameters": unknown}


def _parameter(world: World, name: str) -> dict[str, Any]:
    arn = f"arn:aws:ssm:{world.settings.region}:{ACCOUNT}:parameter{name}"
    return {
        "Name": name,
        "Type": "String",
        "Value": world.parameters[name],
        "Version": 1,
        "ARN": arn,
        "DataType": "text",
    }


def list_service_quotas(world: World, asked: Asked) -> Reply:
    if asked["ServiceCode"] != "ec2":
        raise AwsError("NoSuchResourceException", f"no service {asked['ServiceCode']}")
    settings = world.settings
    quotas = (
        ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", settings.vcpu_quota),
        ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", settings.spot_vcpu_quota),
    )
    return {"Quotas": [_quota(world, *one) for one in quotas]}


def get_service_quota(world: World, asked: Asked) -> Reply:
    for one in list_service_quotas(world, asked)["Quotas"]:
        if one["QuotaCode"] == asked["QuotaCode"]:
            return {"Quota": one}
    raise AwsError("NoSuchResourceException", f"no quota {asked['QuotaCode']}")


def _quota(world: World, code: str, name: str, value: int | None) -> dict[str, Any]:
    return {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{world.settings.region}:{ACCOUNT}:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(100_000 if value is None else value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
