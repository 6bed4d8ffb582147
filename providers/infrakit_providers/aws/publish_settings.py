"""How images are published: a provider's `publish` mapping, and what of it cannot be."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator

from infrakit_providers.aws.fields import KmsKey, Region
from infrakit_providers.cloud.fields import Form, Strict, listing, unique

_KEY_ARN: Final = "arn:"
_ALIAS: Final = ":alias/"
_MULTI_REGION: Final = "key/mrk-"

Bucket = Annotated[str, Form(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", "be the name of an S3 bucket")]
"""S3 User Guide, "General purpose bucket naming rules"."""
AccountId = Annotated[str, Form(r"^[0-9]{12}$", "be an account's id, twelve digits in quotes")]
Regions = Annotated[Sequence[Region], BeforeValidator(listing), AfterValidator(unique)]
Accounts = Annotated[Sequence[AccountId], BeforeValidator(listing), AfterValidator(unique)]


class Publish(Strict):
    """How images get to AWS, and who else gets them.

    `direct` writes blocks to a snapshot (EBS direct APIs), `parallel` of them at once. `s3` goes by an object in a
    `bucket` of the provider's region, below `prefix`, which the role `role_name` reads (VM Import's own, `vmimport`,
    where none is written). `encrypt` with the key `kms_key`, or the account's default one.
    """

    upload: Literal["direct", "s3"] = "direct"
    bucket: Bucket | None = None
    prefix: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9!_.*'()-]+/)*$", max_length=512)] | None = None
    role_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")] | None = None
    parallel: int = Field(default=16, ge=1, le=64)
    encrypt: bool = False
    kms_key: KmsKey | None = None
    copy_to: Regions = ()
    share_with: Accounts = ()

    @property
    def folder(self) -> str:
        """What the keys of objects begin with."""
        return "infrakit/" if self.prefix is None else self.prefix

    @field_validator("kms_key")
    @classmethod
    def _must_be_one_key(cls, key: str | None) -> str | None:
        if key is not None and (not key.startswith(_KEY_ARN) or _ALIAS in key):
            raise ValueError(
                "snapshots are written with a key's ARN (arn:aws:kms:...:key/...), not an id or an alias"
            )
        return key

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if self.upload == "s3" and self.bucket is None:
            raise ValueError("upload: s3 needs a bucket of the provider's region")
        if self.upload == "direct":
            for name in ("bucket", "prefix", "role_name"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for upload: s3; leave it out")
        if self.kms_key is not None and not self.encrypt:
            raise ValueError("kms_key is for encrypted snapshots: write encrypt: true too, or leave it out")
        if self.share_with and self.encrypt and self.kms_key is None:
            raise ValueError(
                "a snapshot that the account's default key encrypts cannot be shared: write a kms_key that the other "
                "accounts may use, or leave encrypt or share_with out"
            )
        if self.copy_to and self.kms_key is not None and _MULTI_REGION not in self.kms_key:
            raise ValueError("copy_to needs a kms_key that other regions have, too: a multi-Region key (key/mrk-...)")
        return self

    def key_in(self, region: str) -> str | None:
        """Return the key by its name in a region: a multi-Region key has the same id everywhere."""
        if self.kms_key is None:
            return None
        parts = self.kms_key.split(":")
        return ":".join([*parts[:3], region, *parts[4:]])
