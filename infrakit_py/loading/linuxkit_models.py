"""The shape of a LinuxKit YAML, after LinuxKit's own schema and structs (its moby package: schema.go, config.go).

What LinuxKit refuses is refused here, with its place; what only LinuxKit can judge is left to it.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_MODE: Final = re.compile(r"[0-7]{1,7}")
_VOLUME_NAME: Final = re.compile(r"[a-z0-9_-]*")
_REFERENCE: Final = re.compile(r"@pkg:\S+|[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
_ID: TypeAlias = str | int


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError('must be octal digits as text, such as "0644"')
    return text


def _reference(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        raise ValueError("must be the reference of a container image, such as linuxkit/init:TAG")
    return text


def _volume_name(text: str) -> str:
    if not _VOLUME_NAME.fullmatch(text):
        raise ValueError("must hold only a-z, 0-9, '_' and '-'")
    return text


Strings: TypeAlias = list[str]
ImageReference: TypeAlias = Annotated[str, AfterValidator(_reference)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Kernel(_Part):
    image: ImageReference
    cmdline: str = ""
    binary: str | None = None
    tar: str | None = None
    ucode: str | None = None


class IdMapping(_Part):
    hostID: int = 0  # as LinuxKit writes it
    containerID: int = 0
    size: int = 0


class Mount(_Part):
    destination: str | None = None
    type: str | None = None
    source: str | None = None
    options: Strings | None = None
    uidmappings: list[IdMapping] | None = None
    gidmappings: list[IdMapping] | None = None


class Device(_Part):
    path: str
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    mode: str | None = None


class Interface(_Part):
    name: str | None = None
    add: str | None = None
    peer: str | None = None
    createInRoot: bool = False


class Namespaces(_Part):
    cgroup: str | None = None
    ipc: str | None = None
    mnt: str | None = None
    net: str | None = None
    pid: str | None = None
    user: str | None = None
    uts: str | None = None


class Runtime(_Part):
    cgroups: Strings | None = None
    mounts: list[Mount] | None = None
    mkdir: Strings | None = None
    interfaces: list[Interface] | None = None
    bindNS: Namespaces | None = None
    namespace: str | None = None
    noRestart: bool | None = None


class Component(_Part):
    """A container of `onboot`, `onshutdown` or `services`. `resources` are the OCI runtime specification's."""

    name: str = Field(min_length=1)
    image: ImageReference
    capabilities: Strings | None = None
    capabilities_add: Strings | None = Field(default=None, alias="capabilities.add")
    ambient: Strings | None = None
    mounts: list[Mount] | None = None
    binds: Strings | None = None
    binds_add: Strings | None = Field(default=None, alias="binds.add")
    devices: list[Device] | None = None
    tmpfs: Strings | None = None
    command: Strings | None = None
    env: Strings | None = None
    cwd: str | None = None
    net: str | None = None
    pid: str | None = None
    ipc: str | None = None
    uts: str | None = None
    userns: str | None = None
    hostname: str | None = None
    readonly: bool | None = None
    maskedPaths: Strings | None = None
    readonlyPaths: Strings | None = None
    uid: _ID | None = None
    gid: _ID | None = None
    additionalGids: list[_ID] | None = None
    noNewPrivileges: bool | None = None
    oomScoreAdj: int | None = None
    rootfsPropagation: str | None = None
    cgroupsPath: str | None = None
    resources: dict[str, Any] | None = None
    sysctl: dict[str, str] | None = None
    rlimits: Strings | None = None
    uidMappings: list[IdMapping] | None = None
    gidMappings: list[IdMapping] | None = None
    annotations: dict[str, str] | None = None
    runtime: Runtime | None = None


class File(_Part):
    """A file, directory or link of the root file system."""

    path: str = Field(min_length=1)
    directory: bool = False
    symlink: str | None = None
    contents: str | None = None
    source: str | None = None
    metadata: Literal["json", "yaml"] | None = None
    optional: bool = False
    mode: Annotated[str, AfterValidator(_mode)] | None = None
    uid: _ID | None = None
    gid: _ID | None = None

    @model_validator(mode="after")
    def _one_content(self) -> "File":
        given = {
            "directory": self.directory,
            "symlink": self.symlink,
            "contents": self.contents is not None,
            "source": self.source,
            "metadata": self.metadata,
        }
        found = [name for name, is_there in given.items() if is_there]
        if len(found) != 1:
            rest = f"it has {' and '.join(found)}" if found else "it has none"
            raise ValueError(f"needs exactly one of contents, source, symlink, directory and metadata; {rest}")
        return self


class Volume(_Part):
    name: Annotated[str, AfterValidator(_volume_name)]
    image: ImageReference | None = None
    readonly: bool = False
    format: str | None = None
    platforms: Strings | None = None


class Trust(_Part):
    image: Strings | None = None
    org: Strings | None = None


class LinuxKitFile(_Part):
    """A whole file."""

    kernel: Kernel
    init: list[ImageReference] = []
    volumes: list[Volume] = []
    onboot: list[Component] = []
    onshutdown: list[Component] = []
    services: list[Component] = []
    files: list[File] = []
    trust: Trust | None = None
