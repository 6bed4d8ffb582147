"""Whether images could be published here: asked by calls that only look, or that AWS only rehearses.

EBS direct knows no rehearsal, so whether its own calls are allowed shows only when they are made.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.images import Images
from infrakit_providers.aws.kept import vendor_code
from infrakit_providers.aws.publish_settings import Publish
from infrakit_providers.aws.rehearsals import NOT_ALLOWED, WHAT_TO_ALLOW, rehearsed, said
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.spec import Image, ImageFile, ImageForm
from infrakit_py.spi.provider import Finding, Grade

_NO_SNAPSHOT: Final = "snap-00000000000000000"
_NO_DISK: Final = ImageFile("", "0" * 64, 0)
_NO_BUCKET: Final = frozenset({"NoSuchBucket"})
_REGIONS: Final = {None: "us-east-1", "EU": "eu-west-1"}
"""What S3 calls by another name, or by none: S3 API Reference, GetBucketLocation."""
_CLOSED: Final = frozenset({"AllAccessDisabled", *NOT_ALLOWED})


class PublishExamination:
    """One look at what publishing needs. It changes nothing."""

    def __init__(self, caller: Caller, images: Images, settings: Publish, region: str) -> None:
        self._caller = caller
        self._images = images
        self._settings = settings
        self._region = region

    def run(self, images: Sequence[Image]) -> Iterator[Finding]:
        """Examine whatever is to be published of these, each once."""
        published = {marks.key_of(one): one for one in images if one.form is not ImageForm.REFERENCE}
        if not published:
            return
        for image in published.values():
            yield self._image(image)
        if self._settings.upload == "s3":
            yield self._bucket()
            yield self._import(next(iter(published.values())))
        yield self._registration(next(iter(published.values())))
        yield self._encryption()

    def _image(self, image: Image) -> Finding:
        about = f"image {image.name}"
        try:
            return Finding(about, Grade.OK, f"published as {self._images.ami_of(image)}")
        except ImageMissing:
            return Finding(about, Grade.OK, "not published yet: infra apply and infra image publish do that")
        except ProviderError as exc:
            return _unexamined(about, exc)

    def _bucket(self) -> Finding:
        name, about = self._settings.bucket or "", f"bucket {self._settings.bucket}"
        try:
            answer = self._caller.ask("s3", "get_bucket_location", f"look at the bucket {name}", Bucket=name)
        except ProviderError as exc:
            if vendor_code(exc) in _NO_BUCKET:
                hint = f"make it in {self._region}, or write publish.upload: direct, which needs none"
                return Finding(about, Grade.PROBLEM, "there is no such bucket", hint)
            if vendor_code(exc) in _CLOSED:
                return Finding(about, Grade.PROBLEM, "it is somebody else's, or may not be used", WHAT_TO_ALLOW)
            return _unexamined(about, exc)
        region = _REGIONS.get(answer.get("LocationConstraint"), answer.get("LocationConstraint"))
        if region != self._region:
            text = f"it is in {region}, and VM Import reads buckets of {self._region} only"
            return Finding(about, Grade.PROBLEM, text, "take a bucket of the provider's region")
        return Finding(about, Grade.OK, f"in {region}")

    def _import(self, image: Image) -> Finding:
        asked = {
            "DiskContainer": {
                "Format": "RAW",
                "UserBucket": {"S3Bucket": self._settings.bucket, "S3Key": f"{self._settings.folder}infrakit-doctor"},
            },
            "TagSpecifications": [marks.specification("import-snapshot-task", image, _NO_DISK)],
        }
        return rehearsed(self._caller, Kind.MUTATE, "import_snapshot", "import images", "import snapshots", asked)

    def _registration(self, image: Image) -> Finding:
        architecture, boot_mode = marks.ARCHITECTURES[image.architecture]
        asked = {
            "Name": "infrakit-doctor",
            "Architecture": architecture,
            "BootMode": boot_mode,
            "VirtualizationType": "hvm",
            "RootDeviceName": marks.ROOT,
            "BlockDeviceMappings": [{"DeviceName": marks.ROOT, "Ebs": {"SnapshotId": _NO_SNAPSHOT}}],
            "TagSpecifications": [marks.specification("image", image)],
        }
        return rehearsed(self._caller, Kind.MUTATE, "register_image", "register images", "register images", asked)

    def _encryption(self) -> Finding:
        """Find out whether the account encrypts all snapshots by a key of its own, with which none can be shared."""
        about = "encryption of images"
        try:
            doing = "ask whether EBS encrypts by default"
            by_default = bool(
                self._caller.ask("ec2", "get_ebs_encryption_by_default", doing)["EbsEncryptionByDefault"]
            )
        except ProviderError as exc:
            return _unexamined(about, exc)
        if self._settings.encrypt:
            return Finding(
                about, Grade.OK, f"by {self._settings.kms_key or 'the default key'}, as publish.encrypt says"
            )
        if by_default and self._settings.share_with:
            text = "the account encrypts every snapshot by its default key, and such ones cannot be shared"
            return Finding(
                about, Grade.PROBLEM, text, "write publish.encrypt: true and a kms_key that others may use"
            )
        return Finding(about, Grade.OK, "by the account's default" if by_default else "none")


def _unexamined(about: str, error: ProviderError) -> Finding:
    refused = vendor_code(error) in NOT_ALLOWED
    return Finding(about, Grade.WARNING, f"cannot be examined: {said(error)}", WHAT_TO_ALLOW if refused else "")
