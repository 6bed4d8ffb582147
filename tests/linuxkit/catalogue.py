"""What the stand-in has in the place of images of Docker Hub: programs of Debian, and scripts that do what they do.

A reference is known by its repository. Which version it names is only written down in the image, so that another one
gives other bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.images.programs import find_program
from tests.linuxkit.arguments import CommandError

GUEST = Path(__file__).parent / "guest"

Content = Callable[[], Mapping[str, bytes]]
"""Finds the programs of a component, and their libraries, by their paths in the image."""


@dataclass(frozen=True, slots=True)
class Component:
    """What runs in the place of an image: its command unless the YAML has one, its scripts (path: file), programs."""

    command: tuple[str, ...]
    scripts: Mapping[str, str] = field(default_factory=dict)
    programs: Content = dict
    directory: str = "/"


def _redis() -> Mapping[str, bytes]:
    # Debian's redis-server is a link to this program, which looks at its own name.
    redis = find_program("redis-tools", "usr/bin/redis-server", "usr/bin/redis-check-rdb")
    return {"usr/local/bin/redis-server": redis.content, **redis.libraries}


def _mke2fs() -> Mapping[str, bytes]:
    mke2fs = find_program("e2fsprogs", "usr/sbin/mke2fs", "sbin/mke2fs")
    return {"usr/sbin/mke2fs": mke2fs.content, **mke2fs.libraries}


_DHCPCD = {"sbin/dhcpcd": "dhcpcd", "etc/udhcpc.keep": "udhcpc.keep"}
_METADATA = {"usr/bin/metadata": "metadata", "bin/lay-out": "lay-out"}
COMPONENTS: Mapping[str, Component] = {
    "busybox": Component(("/bin/sh",)),
    "linuxkit/dhcpcd": Component(("/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf"), _DHCPCD),
    "linuxkit/format": Component(("/usr/bin/format",), {"usr/bin/format": "format"}, _mke2fs),
    "linuxkit/metadata": Component(("/usr/bin/metadata",), _METADATA),
    "linuxkit/mount": Component(("/usr/bin/mountie",), {"usr/bin/mountie": "mountie"}),
    "linuxkit/sysctl": Component(("/usr/bin/sysctl",), {"usr/bin/sysctl": "sysctl"}),
    "nginx": Component(("/usr/sbin/nginx", "-g", "daemon off;"), {"usr/sbin/nginx": "nginx"}),
    "redis": Component(("/usr/local/bin/redis-server",), programs=_redis, directory="/data"),
}
LEFT_OUT = ("getty", "modprobe", "ntpd", "openntpd", "rngd", "sshd", "sysfs")
"""Packages of LinuxKit that a test machine does without."""
INIT = ("ca-certificates", "containerd", "firmware", "init", "memlogd", "runc")
"""Packages of LinuxKit whose part the stand-in's own init plays."""


def repository(reference: str) -> str:
    """Return which repository a reference names: `redis` for `docker.io/library/redis:7@sha256:...`."""
    name, _, last = reference.partition("@")[0].rpartition("/")
    path = f"{name}/{last.partition(':')[0]}" if name else last.partition(":")[0]
    return path.removeprefix("docker.io/").removeprefix("library/")


def full_name(reference: str) -> str:
    """Return a reference as LinuxKit writes it in its log."""
    return f"docker.io/{reference if '/' in reference else f'library/{reference}'}"


def find(reference: str) -> Component | None:
    """Return what runs in the place of an image, None for what is left out. CommandError for an unknown one."""
    name = repository(reference)
    if name in COMPONENTS:
        return COMPONENTS[name]
    if name in [f"linuxkit/{package}" for package in LEFT_OUT]:
        return None
    raise missing(reference)


def require(reference: str, packages: tuple[str, ...]) -> None:
    """CommandError for an image that is none of these packages of LinuxKit."""
    if repository(reference) not in [f"linuxkit/{package}" for package in packages]:
        raise missing(reference)


def missing(reference: str) -> CommandError:
    return CommandError(
        f"failed to run build: could not pull image {full_name(reference)}: image not found in the offline catalogue"
    )
