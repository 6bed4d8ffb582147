"""A container of a LinuxKit YAML: an item of `onboot`, `onshutdown` or `services`."""

from typing import Final

from pydantic import BaseModel, Field, model_validator

from infrakit_py.loading.linuxkit_fields import (
    MODEL,
    Bind,
    Capabilities,
    ImageReference,
    Limit,
    Mode,
    Owner,
    Strings,
    Tmpfs,
)
from infrakit_py.loading.linuxkit_resources import Resources

_TYPES_BY_SOURCE: Final = ("mqueue", "devpts", "proc", "sysfs", "cgroup", "cgroup2")
_TYPES_WITHOUT_PLACE: Final = ("bind", "overlay", "tmpfs", "ext4", "btrfs", "xfs", "vfat", "iso9660")
"""Types of mounts for which LinuxKit knows no destination of its own; of others nothing is said here."""


class _Part(BaseModel):
    model_config = MODEL


class IdMapping(_Part):
    hostID: int = 0
    containerID: int = 0
    size: int = 0


class Mount(_Part):
    destination: str = Field(default="", description="where it appears in the container")
    type: str = ""
    source: str = ""
    options: Strings = []
    uidmappings: list[IdMapping] = []
    gidmappings: list[IdMapping] = []


class ContainerMount(Mount):
    """A mount of a container, which LinuxKit completes where it can. Source: ConfigInspectToOCI in its config.go."""

    @model_validator(mode="after")
    def _is_complete(self) -> "ContainerMount":
        if not self.type and self.source not in _TYPES_BY_SOURCE and self.destination != "/dev":
            raise ValueError("needs a type, such as bind or tmpfs")
        if not self.destination and self.type in _TYPES_WITHOUT_PLACE:
            raise ValueError(f"needs a destination: a mount of type {self.type} has none of its own")
        return self


class Device(_Part):
    path: str = Field(default="", description="of the device, or `all`")
    type: str = ""
    major: int = 0
    minor: int = 0
    mode: Mode = ""


class Interface(_Part):
    name: str = ""
    add: str = ""
    peer: str = ""
    createInRoot: bool = False


class Namespaces(_Part):
    """Where the namespaces of a new container are kept for others."""

    cgroup: str = ""
    ipc: str = ""
    mnt: str = ""
    net: str = ""
    pid: str = ""
    user: str = ""
    uts: str = ""


class Runtime(_Part):
    """What happens just before a container starts."""

    cgroups: Strings = []
    mounts: list[Mount] = []
    mkdir: Strings = []
    interfaces: list[Interface] = []
    bindNS: Namespaces = Namespaces()
    namespace: str = Field(default="", description="containerd's, instead of LinuxKit's own")
    noRestart: bool = False


class Container(_Part):
    """A component that runs. What is left out comes from the image's label `org.mobyproject.config`."""

    name: str = Field(min_length=1, description="its name for containerd")
    image: ImageReference = Field(description="reference of its container image, or @pkg:DIRECTORY")
    capabilities: Capabilities = []
    capabilities_add: Capabilities = Field(default=[], alias="capabilities.add")
    ambient: Capabilities = []
    mounts: list[ContainerMount] = []
    binds: list[Bind] = []
    binds_add: list[Bind] = Field(default=[], alias="binds.add")
    devices: list[Device] = []
    tmpfs: list[Tmpfs] = []
    command: Strings = []
    env: Strings = []
    cwd: str = ""
    net: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    hostname: str = ""
    readonly: bool = False
    maskedPaths: Strings = []
    readonlyPaths: Strings = []
    uid: Owner = 0
    gid: Owner = 0
    additionalGids: list[Owner] = []
    noNewPrivileges: bool = False
    oomScoreAdj: int = 0
    rootfsPropagation: str = ""
    cgroupsPath: str = ""
    resources: Resources = Resources()
    sysctl: dict[str, str] = {}
    rlimits: list[Limit] = []
    uidMappings: list[IdMapping] = []
    gidMappings: list[IdMapping] = []
    annotations: dict[str, str] = {}
    runtime: Runtime = Runtime()
