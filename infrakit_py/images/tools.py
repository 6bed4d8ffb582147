"""Programs of the operating system that make disks: called, and explained where they are missing or fail."""

import os
import shutil
import subprocess
from typing import Final

from infrakit_py.errors import InfrakitError

PACKAGES: Final = {
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "syslinux": "syslinux",
    "qemu-img": "qemu-utils",
    "xorriso": "xorriso",
}
"""The Debian package of each program."""

_FIXED: Final = {"MTOOLS_SKIP_CHECK": "1", "TZ": "UTC", "LC_ALL": "C"}
_TIME_LIMIT_SECONDS: Final = 1800


class ToolError(InfrakitError):
    """A program is missing, or it failed."""


def run_tool(program: str, *arguments: str, epoch: int = 0) -> None:
    """Run a program to its end; what it dates, it dates `epoch` (Unix time in seconds). ToolError where it fails."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise ToolError(
            f"the program {program} is needed, and is not installed",
            hint=f"Debian: apt-get install {PACKAGES[program]}",
        )
    environment = {**os.environ, **_FIXED, "PATH": path, "SOURCE_DATE_EPOCH": str(epoch)}
    try:
        done = subprocess.run(
            (found, *arguments),
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_TIME_LIMIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolError(f"{program} failed: {exc}") from exc
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ToolError(f"{program} failed: {said[-1] if said else f'exit code {done.returncode}'}")
