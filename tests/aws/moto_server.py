"""moto's server for EC2 and its neighbours, as a process: a second opinion, by people who never saw our own fake."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Final

IMAGES: Final = Path(__file__).parents[2] / "examples" / "aws" / "moto-images.json"
"""The images that moto shall know, so that an example can name them."""
_READY: Final = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@contextmanager
def moto_server() -> Iterator[str]:
    """Serve at a free port of this machine, and return the URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", "0"],
        env={**os.environ, "MOTO_AMIS_PATH": str(IMAGES), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr
    with server.stderr as log:
        reader = Thread(target=_discard, args=(log,), daemon=True)
        try:
            url = _url(log)
            reader.start()
            yield url
        finally:
            server.kill()
            server.wait()
            if reader.is_alive():
                reader.join()


def _url(log: IO[str]) -> str:
    said = []
    for line in log:
        if found := _READY.search(line):
            return found[1]
        said.append(line)
    raise RuntimeError(f"moto's server ended at once: {''.join(said)}")


def _discard(log: IO[str]) -> None:
    """Read one line for each request, so that the server never waits for a full pipe."""
    for _ in log:
        pass
