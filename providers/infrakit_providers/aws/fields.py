"""The kinds of values that a user may write for AWS: ids, names and ARNs. It knows no meaning of any."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from infrakit_providers.cloud.fields import Form, listed, listing, unique

MAX_USER_TAGS: Final = 30
"""EC2 allows 50 tags a resource (User Guide, "Tag restrictions"); 20 of them are kept for ours."""
_MAX_KEY: Final = 128
_MAX_VALUE: Final = 256
_RESERVED: Final = ("aws:", "infrakit.")


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


Tags = Annotated[Mapping[str, str], AfterValidator(_tags)]

Region = Annotated[str, Form(r"^[a-z]{2,4}(-[a-z]+)+-[0-9]+$", "look like eu-central-1")]
Zone = Annotated[str, Form(r"^[a-z]{2,4}(-[a-z0-9]+){2,}$", "look like eu-central-1a")]
"""By its name: eu-central-1a, also Local Zones (us-east-1-bos-1a) and Wavelength Zones (us-east-1-wl1-bos-wlz-1)."""
SubnetId = Annotated[str, Form(r"^subnet-[0-9a-f]{8,17}$", "look like subnet-0123456789abcdef0")]
SecurityGroupId = Annotated[str, Form(r"^sg-[0-9a-f]{8,17}$", "look like sg-0123456789abcdef0")]
SnapshotId = Annotated[str, Form(r"^snap-[0-9a-f]{8,17}$", "look like snap-0123456789abcdef0")]
HostId = Annotated[str, Form(r"^h-[0-9a-f]{8,17}$", "look like h-0123456789abcdef0")]
InstanceType = Annotated[str, Form(r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", "look like m5.large")]
Device = Annotated[str, Form(r"^(/dev/)?(sd|xvd)[a-z]{1,2}[0-9]{0,2}$", "look like /dev/sdf")]
RoleArn = Annotated[
    str, Form(r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$", "look like arn:aws:iam::123456789012:role/NAME")
]
InstanceProfile = Annotated[
    str,
    Form(
        r"^([A-Za-z0-9_+=,.@-]{1,128}|arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/\S+)$",
        "be the name or the ARN of an instance profile",
    ),
]
"""IAM's names of instance profiles: IAM API Reference, CreateInstanceProfile."""
KmsKey = Annotated[
    str,
    Form(
        r"^(arn:aws[a-z-]*:kms:\S+|alias/[A-Za-z0-9/_-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        "be a key's id or ARN, or alias/NAME",
    ),
]
"""A key's id or ARN, or an alias or its ARN: what EC2 takes for KmsKeyId."""
TargetGroup = Annotated[
    str,
    Form(
        r"^([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?|arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/\S+)$",
        "be the name or the ARN of a target group",
    ),
]
"""Names have at most 32 letters, digits and hyphens: ELBv2 API Reference, CreateTargetGroup."""

Zones = Annotated[Sequence[Zone], Field(min_length=1), BeforeValidator(listing), AfterValidator(unique)]
SubnetIds = Annotated[Sequence[SubnetId], Field(min_length=1), BeforeValidator(listing), AfterValidator(unique)]
SecurityGroupIds = Annotated[Sequence[SecurityGroupId], BeforeValidator(listing), AfterValidator(unique)]
TargetGroups = Annotated[Sequence[TargetGroup], BeforeValidator(listing), AfterValidator(unique)]
InstanceTypes = Annotated[
    Sequence[InstanceType],
    Field(min_length=1),
    AfterValidator(unique),
    BeforeValidator(listing),
    BeforeValidator(listed, json_schema_input_type=InstanceType | Sequence[InstanceType]),
]
"""In order of preference. One may be written without a list."""
