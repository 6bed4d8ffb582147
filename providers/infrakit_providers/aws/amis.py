"""The AMIs of published images: found by their tags, registered by a name that is there once, taken away."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.kept import tags_of, vendor_code
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.waiting import awaited
from infrakit_py.errors import ImageMissing, ProviderError, Transient
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Now

AVAILABLE: Final = "available"
_ON_THE_WAY: Final = ("pending", "transient")
_TAKEN: Final = "InvalidAMIName.Duplicate"
_NO_SNAPSHOT: Final = frozenset({"InvalidSnapshot.NotFound", "InvalidSnapshot.InvalidState"})
_GONE: Final = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})
_VALUES_A_FILTER: Final = 200
_LISTED_WITHIN_SECONDS: Final = 120.0
AVAILABLE_WITHIN_SECONDS: Final = 3600.0
"""A copy to another region takes as long as its snapshot: minutes for each GiB."""


class Amis:
    """The account's own AMIs in a region, as far as they are published images. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock

    def of(self, keys: Collection[str]) -> Mapping[str, list[Raw]]:
        """Return the AMIs of what was published as `keys`, the one to boot from first, failed ones last."""
        wanted = sorted(set(keys))
        found: dict[str, list[Raw]] = {}
        for begin in range(0, len(wanted), _VALUES_A_FILTER):
            for one in self._listed(marks.published_as(wanted[begin : begin + _VALUES_A_FILTER])):
                found.setdefault(tags_of(one)[marks.KEY], []).append(one)
        return found

    def all(self) -> list[Raw]:
        return self._listed(marks.published())

    def register(self, image: Image, snapshot_id: str) -> str:
        """Make an AMI of a completed snapshot, and return its id; or that of the one which has the name already."""
        architecture, boot_mode = marks.ARCHITECTURES[image.architecture]
        root = {"SnapshotId": snapshot_id, "VolumeType": "gp3", "DeleteOnTermination": True}
        name = marks.ami_name(image)
        try:
            answer = self._caller.act(
                Kind.MUTATE,
                "ec2",
                "register_image",
                f"register image {image.name}",
                Name=name,
                Description=f"{image.name} {image.identity}",
                Architecture=architecture,
                BootMode=boot_mode,
                EnaSupport=True,
                VirtualizationType="hvm",
                RootDeviceName=marks.ROOT,
                BlockDeviceMappings=[{"DeviceName": marks.ROOT, "Ebs": root}],
                TagSpecifications=[marks.specification("image", image)],
            )
        except ProviderError as exc:
            code = vendor_code(exc)
            if code in _NO_SNAPSHOT:  # somebody else was quicker, and took the surplus away
                raise Transient(str(exc)) from exc
            if code != _TAKEN:
                raise
            return self._named(image, name, exc)
        return str(answer["ImageId"])

    def await_available(self, image_id: str) -> Raw:
        """Return an AMI once machines can boot from it. Transient where it fails, which takes it away, or goes."""

        def look() -> Raw | None:
            found = self._look(image_id)
            if found is None:
                raise Transient(f"aws: the AMI {image_id} is gone, or not listed yet")
            if found["State"] == AVAILABLE:
                return found
            if found["State"] in _ON_THE_WAY:
                return None
            said = found.get("StateReason", {}).get("Message") or "EC2 does not say why"
            self.deregister(image_id)
            raise Transient(f"aws: the AMI {image_id} is {found['State']}: {said}")

        return awaited(self._clock, look, f"the AMI {image_id}", seconds=AVAILABLE_WITHIN_SECONDS)

    def await_listed(self, image: Image) -> list[Raw]:
        """Return an image's AMIs once listings show them: by these everybody else knows that it is published."""
        key = marks.key_of(image)

        def look() -> list[Raw] | None:
            return self.of([key]).get(key)

        return awaited(self._clock, look, f"listing image {image.name}", seconds=_LISTED_WITHIN_SECONDS)

    def deregister(self, image_id: str) -> None:
        """Take an AMI away, but not its snapshot. Idempotent. Machines that were made from it go on."""
        try:
            self._caller.act(Kind.MUTATE, "ec2", "deregister_image", f"deregister {image_id}", ImageId=image_id)
        except ProviderError as exc:
            if vendor_code(exc) not in _GONE:
                raise

    def _look(self, image_id: str) -> Raw | None:
        try:
            answer = self._caller.ask("ec2", "describe_images", f"look at {image_id}", ImageIds=[image_id])
        except ImageMissing:
            return None
        return next(iter(answer["Images"]), None)

    def _named(self, image: Image, name: str, error: ProviderError) -> str:
        """Return the AMI that has a name. One that EC2 knows of, and does not list yet, is waited for."""

        def look() -> Raw | None:
            return next(iter(self._listed([{"Name": "name", "Values": [name]}])), None)

        found = awaited(self._clock, look, f"listing the AMI {name}", seconds=_LISTED_WITHIN_SECONDS)
        if tags_of(found).get(marks.KEY) != marks.key_of(image):
            raise ProviderError(
                f"aws: the AMI {found['ImageId']} has the name {name}, and not the tags of image {image.name}",
                hint="deregister it, or give it another name",
            ) from error
        return str(found["ImageId"])

    def _listed(self, filters: Any) -> list[Raw]:
        doing = "look for published images"
        pages = self._caller.pages("ec2", "describe_images", doing, Owners=["self"], Filters=filters)
        found = [one for page in pages for one in page["Images"]]
        return sorted(found, key=lambda one: (_rank(one), one.get("CreationDate", ""), one["ImageId"]))


def bootable(found: Collection[Raw]) -> Raw | None:
    """Return the AMI to boot from: the oldest that is available, so that all choose the same."""
    return next((one for one in found if one["State"] == AVAILABLE), None)


def _rank(ami: Raw) -> int:
    state = ami.get("State", "")
    return 0 if state == AVAILABLE else 1 if state in _ON_THE_WAY else 2
