"""A stand-in for the program `linuxkit`, which neither Debian nor PyPI has.

It takes the command line and the YAML that LinuxKit takes, gives the files that LinuxKit gives, and assembles images
that boot and do what the YAML says: its `files`, its `onboot` and its services, with programs of Debian in the place
of those of Docker Hub. What it does not know it refuses. It knows nothing of infrakit-py, nor infrakit-py of it.

For tests of failures: STANDIN_FAIL=format leaves an empty file and fails, STANDIN_FAIL=pull lacks an image,
STANDIN_SLEEP=SECONDS dawdles, STANDIN_VERSION is what it says it is, STANDIN_LOG=FILE gets a line for each call.
"""

import os
import sys
from pathlib import Path

from tests.images.debian import cache_directory

PROGRAM = Path(__file__).parent / "linuxkit"


def environment(directory: Path) -> dict[str, str]:
    """Return what to add to the environment of whoever is to find the stand-in as `linuxkit`.

    `directory` is for the caches of the caller and gets `linuxkit.log`, see `calls`. Packages of Debian stay in the
    cache of the tests, whatever the caller's HOME.
    """
    return {
        "PATH": f"{PROGRAM.parent}:{os.environ.get('PATH', os.defpath)}",
        "STANDIN_PYTHON": sys.executable,
        "STANDIN_LOG": str(directory / "linuxkit.log"),
        "XDG_CACHE_HOME": str(cache_directory().parent),
        "INFRAKIT_CACHE_DIR": str(directory / "cache"),
        "LINUXKIT_CACHE": str(directory / "linuxkit-cache"),
    }


def builds(directory: Path) -> list[str]:
    """Return the command line of each build so far by whoever has this environment."""
    log = directory / "linuxkit.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if line.split(" ")[0] == "build"]
