"""The kinds of values that a user may write for AWS: units, ids, names and ARNs. It knows no meaning of any."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from infrakit_py.model.quantities import parse_duration, parse_size

MAX_USER_TAGS: Final = 30
"""EC2 allows 50 tags a resource (User Guide, "Tag restrictions"); 20 of them are kept for ours."""
_MAX_KEY: Final = 128
_MAX_VALUE: Final = 256
_RESERVED: Final = ("aws:", "infrakit.")


class Strict(BaseModel):
    """A mapping in which nothing is converted and nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a text: a pattern for programs, and words for people."""

    pattern: str
    words: str

    def checked(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"must {self.words}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


def _duration(written: object) -> float:
    if isinstance(written, str):
        return parse_duration(written)
    raise ValueError(f"not a duration: {written!r} (write it with its unit: 30s, 5m or 1h)")


def _size(written: object) -> int:
    if isinstance(written, str):
        return parse_size(written)
    raise ValueError(f"not a size: {written!r} (write it with its unit: 20GiB)")


def _unique(items: Sequence[str]) -> tuple[str, ...]:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise ValueError(f"{item} is there twice; leave one of them out")
    return tuple(items)


def _list(written: object) -> object:
    if isinstance(written, str):
        raise ValueError(f"must be a list, such as [{written}]")
    if not isinstance(written, list | tuple):
        raise ValueError("must be a list")
    return written


def _listed(written: object) -> object:
    return [written] if isinstance(written, str) else written


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Check the limits of EC2's tags: User Guide, "Tag restrictions"."""
    for key, value in tags.items():
        if reserved := next((prefix for prefix in _RESERVED if key.lower().startswith(prefix)), None):
            raise ValueError(f"{key}: tags that start with {reserved} are not the user's; choose another key")
        if not 1 <= len(key) <= _MAX_KEY:
            raise ValueError(f"{key[:20]!r}: a tag's key has 1 to {_MAX_KEY} characters, not {len(key)}")
        if len(value) > _MAX_VALUE:
            raise ValueError(f"{key}: a tag's value has at most {_MAX_VALUE} characters, not {len(value)}")
    if len(tags) > MAX_USER_TAGS:
        raise ValueError(f"{len(tags)} tags: at most {MAX_USER_TAGS} (EC2 allows 50, the others are our own)")
    return tags


_Item = TypeVar("_Item")

Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str)]
"""Seconds, once validated."""
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str)]
"""Bytes, once validated."""
Items = Annotated[Sequence[_Item], BeforeValidator(_list), AfterValidator(tuple)]
Tags = Annotated[Mapping[str, str], AfterValidator(_tags)]

Region = Annotated[str, _Form(r"^[a-z]{2,4}(-[a-z]+)+-[0-9]+$", "look like eu-central-1")]
Zone = Annotated[str, _Form(r"^[a-z]{2,4}(-[a-z0-9]+){2,}$", "look like eu-central-1a")]
"""By its name: eu-central-1a, also Local Zones (us-east-1-bos-1a) and Wavelength Zones (us-east-1-wl1-bos-wlz-1)."""
SubnetId = Annotated[str, _Form(r"^subnet-[0-9a-f]{8,17}$", "look like subnet-0123456789abcdef0")]
SecurityGroupId = Annotated[str, _Form(r"^sg-[0-9a-f]{8,17}$", "look like sg-0123456789abcdef0")]
SnapshotId = Annotated[str, _Form(r"^snap-[0-9a-f]{8,17}$", "look like snap-0123456789abcdef0")]
HostId = Annotated[str, _Form(r"^h-[0-9a-f]{8,17}$", "look like h-0123456789abcdef0")]
InstanceType = Annotated[str, _Form(r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", "look like m5.large")]
Device = Annotated[str, _Form(r"^(/dev/)?(sd|xvd)[a-z]{1,2}[0-9]{0,2}$", "look like /dev/sdf")]
Name = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=255)]
RoleArn = Annotated[
    str, _Form(r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$", "look like arn:aws:iam::123456789012:role/NAME")
]
InstanceProfile = Annotated[
    str,
    _Form(
        r"^([A-Za-z0-9_+=,.@-]{1,128}|arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/\S+)$",
        "be the name or the ARN of an instance profile",
    ),
]
"""IAM's names of instance profiles: IAM API Reference, CreateInstanceProfile."""
KmsKey = Annotated[
    str,
    _Form(
        r"^(arn:aws[a-z-]*:kms:\S+|alias/[A-Za-z0-9/_-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        "be a key's id or ARN, or alias/NAME",
    ),
]
"""A key's id or ARN, or an alias or its ARN: what EC2 takes for KmsKeyId."""
TargetGroup = Annotated[
    str,
    _Form(
        r"^([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?|arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/\S+)$",
        "be the name or the ARN of a target group",
    ),
]
"""Names have at most 32 letters, digits and hyphens: ELBv2 API Reference, CreateTargetGroup."""

Zones = Annotated[Sequence[Zone], Field(min_length=1), BeforeValidator(_list), AfterValidator(_unique)]
SubnetIds = Annotated[Sequence[SubnetId], Field(min_length=1), BeforeValidator(_list), AfterValidator(_unique)]
SecurityGroupIds = Annotated[Sequence[SecurityGroupId], BeforeValidator(_list), AfterValidator(_unique)]
TargetGroups = Annotated[Sequence[TargetGroup], BeforeValidator(_list), AfterValidator(_unique)]
InstanceTypes = Annotated[
    Sequence[InstanceType],
    Field(min_length=1),
    AfterValidator(_unique),
    BeforeValidator(_list),
    BeforeValidator(_listed, json_schema_input_type=InstanceType | Sequence[InstanceType]),
]
"""In order of preference. One may be written without a list."""
