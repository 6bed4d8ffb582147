"""Published images in other regions and for other accounts: copied and shared as the settings say.

Whether that was done is read off the AMI's tags, so that a crash in the middle of it is not taken for its end. What
the settings no longer name stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from infrakit_providers.aws import marks
from infrakit_providers.aws.amis import Amis
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.kept import tags_of, vendor_code
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.places import PREFIX, gathered, spread
from infrakit_providers.aws.publish_settings import Publish
from infrakit_py.errors import ProviderError, TokenMismatch, Transient
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Now

COPIED: Final = f"{PREFIX}copied"
SHARED: Final = f"{PREFIX}shared"
_TAKEN: Final = "InvalidAMIName.Duplicate"


class Region(NamedTuple):
    """Another region of the account."""

    name: str
    caller: Caller
    amis: Amis


def is_handed_on(settings: Publish, ami: Raw) -> bool:
    """Tell whether an AMI was copied and shared as the settings want it. Pure."""
    held = tags_of(ami)
    return set(settings.copy_to) <= _noted(COPIED, held) and set(settings.share_with) <= _noted(SHARED, held)


class HandingOn:
    """Copies and shares AMIs. Every step may be repeated. Safe for threads."""

    def __init__(
        self, caller: Caller, settings: Publish, region: str, abroad: Callable[[str], Caller], clock: Now
    ) -> None:
        self._caller = caller
        self._settings = settings
        self._region = region
        self._abroad = abroad
        self._clock = clock

    def hand_on(self, image: Image, ami: Raw) -> None:
        """Copy and share what is not yet, wait for copies that are to be shared, and note it on the AMI."""
        if is_handed_on(self._settings, ami):
            return
        for region in self._settings.copy_to:
            caller = self._abroad(region)
            there = Region(region, caller, Amis(caller, self._clock))
            copy_id = self._copied(image, ami, there)
            if self._settings.share_with:
                self._share(there.caller, there.amis.await_available(copy_id))
        if self._settings.share_with:
            self._share(self._caller, ami)
        held = tags_of(ami)
        notes = {
            **spread(COPIED, sorted(_noted(COPIED, held) | set(self._settings.copy_to))),
            **spread(SHARED, sorted(_noted(SHARED, held) | set(self._settings.share_with))),
        }
        self._caller.act(
            Kind.TAG,
            "ec2",
            "create_tags",
            f"note on {ami['ImageId']} who has got it",
            Resources=[ami["ImageId"]],
            Tags=[{"Key": key, "Value": value} for key, value in notes.items()],
        )

    def _copied(self, image: Image, ami: Raw, there: Region) -> str:
        """Return the AMI of another region that is, or is becoming, a copy."""
        if found := there.amis.of([marks.key_of(image)]).get(marks.key_of(image)):
            return str(found[0]["ImageId"])
        encryption: dict[str, object] = {}
        if self._settings.encrypt:
            key = self._settings.key_in(there.name)
            encryption = {"Encrypted": True, **({"KmsKeyId": key} if key is not None else {})}
        try:
            answer = there.caller.act(
                Kind.MUTATE,
                "ec2",
                "copy_image",
                f"copy image {image.name} to {there.name}",
                Name=marks.ami_name(image),
                Description=f"{image.name} {image.identity}",
                SourceImageId=ami["ImageId"],
                SourceRegion=self._region,
                ClientToken=_token(ami["ImageId"], there.name),
                TagSpecifications=[marks.specification(kind, image) for kind in ("image", "snapshot")],
                **encryption,
            )
        except ProviderError as exc:
            if vendor_code(exc) == _TAKEN or isinstance(exc, TokenMismatch):  # by whom a listing will tell
                raise Transient(str(exc)) from exc
            raise
        return str(answer["ImageId"])

    def _share(self, caller: Caller, ami: Raw) -> None:
        """Let other accounts launch from an AMI, and make volumes of its snapshots, as launching elsewhere needs."""
        accounts = list(self._settings.share_with)
        caller.act(
            Kind.MUTATE,
            "ec2",
            "modify_image_attribute",
            f"share {ami['ImageId']}",
            ImageId=ami["ImageId"],
            LaunchPermission={"Add": [{"UserId": account} for account in accounts]},
        )
        for snapshot_id in marks.snapshots_in(ami):
            caller.act(
                Kind.MUTATE,
                "ec2",
                "modify_snapshot_attribute",
                f"share {snapshot_id}",
                SnapshotId=snapshot_id,
                Attribute="createVolumePermission",
                OperationType="add",
                UserIds=accounts,
            )


def _token(image_id: str, region: str) -> str:
    return f"infrakit-{image_id}-{region}"


def _noted(key: str, held: Mapping[str, str]) -> set[str]:
    words: Sequence[str] = gathered(key, held).split()
    return set(words)
