"""The shape of a LinuxKit YAML, after LinuxKit's own schema and structs (its moby package: schema.go, config.go).

What LinuxKit certainly refuses is refused here; what only LinuxKit can judge is left to it.
"""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from infrakit_py.loading.linuxkit_containers import Container
from infrakit_py.loading.linuxkit_fields import MODEL, ImageReference, Metadata, Mode, Owner, Strings, VolumeName


class _Part(BaseModel):
    model_config = MODEL


class Kernel(_Part):
    """The kernel, without which nothing boots."""

    image: ImageReference = Field(description="reference of a container image that holds a kernel")
    cmdline: str = Field(default="", description="the kernel's command line")
    binary: str = Field(default="", description="the kernel's file in the image; default: kernel")
    tar: str = Field(default="", description="the archive of modules in the image; none: there is none")
    ucode: str = Field(default="", description="microcode in the image, for real processors")


class File(_Part):
    """A file, directory or link of the root file system."""

    path: str = Field(min_length=1, description="in the root file system")
    directory: bool = False
    symlink: str = Field(default="", description="what a link points to")
    contents: str = ""
    source: str = Field(default="", description="file whose content it gets; relative to the YAML file, or ~/NAME")
    metadata: Metadata = Field(default="", description="json or yaml: this very YAML file is its content")
    optional: bool = Field(default=False, description="leave it out where there is no source")
    mode: Mode = Field(default="", description="octal digits; default: 0600, of directories 0700")
    uid: Owner = 0
    gid: Owner = 0

    @model_validator(mode="after")
    def _one_content(self) -> "File":
        given = {
            "directory": self.directory,
            "symlink": self.symlink,
            "contents": "contents" in self.model_fields_set,
            "source": self.source,
            "metadata": self.metadata,
        }
        found = [name for name, is_there in given.items() if is_there]
        if len(found) != 1:
            rest = f"it has {' and '.join(found)}" if found else "it has none"
            raise ValueError(f"needs exactly one of contents, source, symlink, directory and metadata; {rest}")
        return self


class Volume(_Part):
    """A directory of the image that containers share."""

    name: VolumeName
    image: ImageReference | Literal[""] = Field(default="", description="what is in it at first")
    readonly: bool = False
    format: str = ""
    platforms: Strings = []


class Trust(_Part):
    """Whose images must be signed."""

    image: Strings = []
    org: Strings = []


class LinuxKitFile(_Part):
    """A whole file."""

    kernel: Kernel
    init: list[ImageReference] = Field(default=[], description="images that make the root file system, in order")
    volumes: list[Volume] = []
    onboot: list[Container] = Field(default=[], description="containers that run one after the other, at first")
    onshutdown: list[Container] = Field(default=[], description="containers that run one after the other, at last")
    services: list[Container] = Field(default=[], description="containers that run all the time")
    files: list[File] = Field(default=[], description="what is added to the root file system, in order")
    trust: Trust = Trust()
