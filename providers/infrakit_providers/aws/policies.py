"""The words of IAM: policy documents, their statements, names of resources. It knows neither calls nor machines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NotRequired, TypeAlias, TypedDict

from infrakit_py.model.tags import CLUSTER

Condition: TypeAlias = Mapping[str, Mapping[str, str | list[str]]]

_PARTITIONS: Final = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-isob-": "aws-iso-b", "us-iso-": "aws-iso"}
KEY_USES: Final = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""What EBS does with a key for its caller, besides grants: EBS User Guide, "How Amazon EBS encryption works"."""


class Statement(TypedDict):
    Sid: str
    Effect: str
    Action: list[str]
    Resource: list[str]
    Condition: NotRequired[Condition]


class Policy(TypedDict):
    Version: str
    Statement: list[Statement]


@dataclass(frozen=True, slots=True)
class Scope:
    """Of whom and where a policy speaks."""

    cluster: str
    region: str
    account: str

    @property
    def partition(self) -> str:
        known = (partition for start, partition in _PARTITIONS.items() if self.region.startswith(start))
        return next(known, "aws-eusc" if self.region.startswith("eusc-") else "aws")

    @property
    def suffix(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def asked_for(self) -> Condition:
        """A call that makes something must give it the cluster's tag."""
        return {"StringEquals": {f"aws:RequestTag/{CLUSTER}": self.cluster}}

    @property
    def owned(self) -> Condition:
        """What a call is about must carry the cluster's tag."""
        return {"StringEquals": {f"aws:ResourceTag/{CLUSTER}": self.cluster}}

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def ec2(self, *kinds: str) -> list[str]:
        return [self.arn("ec2", f"{kind}/*") for kind in kinds]


def allow(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Condition | None = None
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(set(actions)),
        "Resource": sorted(set(resources)),
    }
    if condition is not None:
        statement["Condition"] = condition
    return statement
