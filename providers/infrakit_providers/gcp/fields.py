"""The kinds of values that a user may write for GCP: names, paths and labels, and the parts of a path."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from infrakit_providers.cloud.fields import Form, listed, listing, unique

MAX_LABELS: Final = 64
"""Of a resource: Compute Engine documentation, "Label resources"."""
MAX_USER_LABELS: Final = 40
"""What of them are the user's; the others are kept for ours."""
MAX_METADATA_VALUE: Final = 262_144
MAX_METADATA: Final = 524_288
"""Bytes of one value, and of all keys and values together: API reference, Metadata."""
_OUR_METADATA: Final = ("user-data", "infrakit")
_MAX_NETWORK_TAGS: Final = 64
_RESERVED: Final = ("infrakit", "goog")
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")
_METADATA_KEY: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_AUTH: Final = "https://www.googleapis.com/auth/"

_NAME: Final = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
"""RFC 1035, as Compute Engine names its resources."""
_PROJECT: Final = r"([a-z0-9][a-z0-9.-]*[a-z0-9]:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_REGION: Final = r"[a-z]+(-[a-z]+)+[0-9]{1,2}"
_IN_PROJECT: Final = rf"((https://(www|compute)\.googleapis\.com/compute/v1/)?projects/{_PROJECT}/)?"
_IMAGE: Final = re.compile(
    rf"((https://(www|compute)\.googleapis\.com/compute/v1/)?projects/(?P<project>{_PROJECT})/)?"
    rf"global/images/(?P<family>family/)?(?P<name>{_NAME})"
)


@dataclass(frozen=True, slots=True)
class ImagePath:
    """An image of a project, or a family of images, which only points to its newest one. As text: its path."""

    project: str
    name: str
    is_family: bool

    def __str__(self) -> str:
        return f"projects/{self.project}/global/images/{'family/' if self.is_family else ''}{self.name}"


def image_path(reference: str, project: str) -> ImagePath | None:
    """Return what a reference names, by default in `project`; None for what is no reference to an image."""
    found = _IMAGE.fullmatch(reference)
    if found is None:
        return None
    return ImagePath(found["project"] or project, found["name"], found["family"] is not None)


def region_of(zone: str) -> str:
    """Return the region that a zone lies in: of europe-west1-b, europe-west1."""
    return zone.rpartition("-")[0]


def project_of(path: str) -> str | None:
    """Return the project that a path names, if it names one."""
    _, found, rest = path.rpartition("projects/")
    return rest.split("/")[0] if found else None


def _an_image(reference: str) -> str:
    path = image_path(reference, "own")
    if path is None:
        raise ValueError("must look like projects/PROJECT/global/images/NAME, or global/images/NAME")
    if path.is_family:
        raise ValueError("a family's newest image differs from day to day; write an image of it")
    return reference


def _labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Check the limits of labels: Compute Engine documentation, "Label resources" (letters of ASCII only)."""
    for key, value in labels.items():
        if reserved := next((prefix for prefix in _RESERVED if key.startswith(prefix)), None):
            raise ValueError(f"{key}: labels that start with {reserved} are not the user's; choose another key")
        if _LABEL_KEY.fullmatch(key) is None:
            raise ValueError(
                f"{key[:63]!r}: a label's key has 1 to 63 lowercase letters, digits, _ and -, a letter first"
            )
        if _LABEL_VALUE.fullmatch(value) is None:
            raise ValueError(f"{key}: a label's value has at most 63 lowercase letters, digits, _ and -")
    if len(labels) > MAX_USER_LABELS:
        raise ValueError(
            f"{len(labels)} labels: at most {MAX_USER_LABELS} (GCE allows {MAX_LABELS}, the others are our own)"
        )
    return labels


def _metadata(metadata: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in metadata.items():
        if key == _OUR_METADATA[0] or key.startswith(_OUR_METADATA[1]):
            hint = "user data is the flavor's" if key == _OUR_METADATA[0] else "choose another key"
            raise ValueError(f"{key}: this metadata is not the user's; {hint}")
        if _METADATA_KEY.fullmatch(key) is None:
            raise ValueError(f"{key[:128]!r}: a metadata key has 1 to 128 letters, digits, _ and -")
        if len(value.encode()) > MAX_METADATA_VALUE:
            raise ValueError(f"{key}: a metadata value has at most 256KiB, not {len(value.encode())} bytes")
    if metadata_size(metadata) >= MAX_METADATA:
        raise ValueError(f"{metadata_size(metadata)} bytes: all metadata together must have less than 512KiB")
    return metadata


def metadata_size(metadata: Mapping[str, str]) -> int:
    """Return bytes as GCE counts them: keys and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())


def _scope(scope: str) -> str:
    return scope if scope.startswith("https://") else _AUTH + scope


def _named(words: str, *more: str) -> Form:
    """Return the form of a name, or of one of several paths."""
    return Form("^(" + "|".join((_NAME, *more)) + ")$", words)


Project = Annotated[str, Form(f"^{_PROJECT}$", "be a project's id, such as my-project-123 (6 to 30 characters)")]
Region = Annotated[str, Form(f"^{_REGION}$", "look like europe-west1")]
Zone = Annotated[str, Form(f"^{_REGION}-[a-z][a-z0-9]*$", "look like europe-west1-b")]
Endpoint = Annotated[
    str, Form(r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", "look like https://compute.example.com, without a path")
]
MachineType = Annotated[str, Form(r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$", "look like e2-standard-2")]
ResourceName = Annotated[
    str, _named("be a name of at most 63 lowercase letters, digits and hyphens that starts with a letter")
]
Network = Annotated[
    str,
    _named("be a network's name, or projects/PROJECT/global/networks/NAME", f"{_IN_PROJECT}global/networks/{_NAME}"),
]
Subnetwork = Annotated[
    str,
    _named(
        "be a subnetwork's name, or projects/PROJECT/regions/REGION/subnetworks/NAME",
        f"{_IN_PROJECT}regions/{_REGION}/subnetworks/{_NAME}",
    ),
]
BackendService = Annotated[
    str,
    _named("be a backend service's name, or regions/REGION/NAME for one of a region", f"regions/{_REGION}/{_NAME}"),
]
ImageReference = Annotated[str, AfterValidator(_an_image)]
"""An image that lasts: no family."""
KmsKey = Annotated[
    str,
    Form(
        r"^projects/[^/\s]+/locations/[a-z0-9-]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+(/cryptoKeyVersions/[0-9]+)?$",
        "look like projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY",
    ),
]
ServiceAccount = Annotated[
    str, Form(r"^(default|[^@\s]+@[^@\s]+\.[^@\s]+)$", "be a service account's email address, or default")
]
Scope = Annotated[
    str,
    Form(
        r"^(https://\S+|[a-z][a-z0-9._-]*)$", "be a scope's URL, or its part after https://www.googleapis.com/auth/"
    ),
    AfterValidator(_scope),
]
"""Its URL, once validated."""
AcceleratorType = Annotated[str, Form(r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$", "look like nvidia-tesla-t4")]
UserDataKey = Literal["user-data", "startup-script"]

Labels = Annotated[Mapping[str, str], AfterValidator(_labels)]
Metadata = Annotated[Mapping[str, str], AfterValidator(_metadata)]
Zones = Annotated[Sequence[Zone], Field(min_length=1), BeforeValidator(listing), AfterValidator(unique)]
Scopes = Annotated[Sequence[Scope], Field(min_length=1), BeforeValidator(listing), AfterValidator(unique)]
NetworkTags = Annotated[
    Sequence[ResourceName], Field(max_length=_MAX_NETWORK_TAGS), BeforeValidator(listing), AfterValidator(unique)
]
ResourceNames = Annotated[Sequence[ResourceName], BeforeValidator(listing), AfterValidator(unique)]
BackendServices = Annotated[Sequence[BackendService], BeforeValidator(listing), AfterValidator(unique)]
UserDataKeys = Annotated[Sequence[UserDataKey], Field(min_length=1), BeforeValidator(listing), AfterValidator(unique)]
MachineTypes = Annotated[
    Sequence[MachineType],
    Field(min_length=1),
    AfterValidator(unique),
    BeforeValidator(listing),
    BeforeValidator(listed, json_schema_input_type=MachineType | Sequence[MachineType]),
]
"""In order of preference. One may be written without a list."""
