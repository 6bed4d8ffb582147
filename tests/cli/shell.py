"""`infra` as its user runs it: a process of its own, with a home, a state directory and a working directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.machines import Machine
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import SystemClock
from infrakit_py.model.instance import InstanceState

INFRA = (sys.executable, "-m", "infrakit_py")
ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @cached_property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- output\n{self.out}--- errors\n{self.err}"


@dataclass(frozen=True)
class Shell:
    """One user's terminal on one machine. `sites` hold what is installed there besides."""

    root: Path
    sites: tuple[Path, ...] = ()

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def database(self) -> Path:
        return self.work / ".infrakit" / "simulated.db"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"HOME": str(self.root / "home"), "INFRAKIT_STATE_DIR": str(self.state), "TERM": "xterm"}
        path = os.pathsep.join(map(str, (*self.sites, ROOT, ROOT / "providers", ROOT / "groups")))
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": path, **own, **(more or {})}

    def infra(
        self, *arguments: str | Path, stdin: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Result:
        """Run a command to its end. Its standard input is no terminal."""
        done = subprocess.run(
            [*INFRA, *map(str, arguments)],
            cwd=self.work,
            env=self.environment(environment),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        """Start a command and leave it running."""
        return subprocess.Popen(
            [*INFRA, *map(str, arguments)],
            cwd=self.work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, *documents: Mapping[str, Any], file: str = "cluster.yml") -> Path:
        """Write a file of YAML documents."""
        path = self.work / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        return path

    @contextmanager
    def cloud(self) -> Iterator[SimCloud]:
        """Open the simulated cloud past all that `infra` believes of it."""
        cloud = SimCloud(SimSettings(), SystemClock(), self.database)
        try:
            yield cloud
        finally:
            cloud.close()

    def machines(self) -> list[Machine]:
        """Return all machines that really are there, by name."""
        if not self.database.exists():
            return []
        with self.cloud() as cloud:
            there = [m for m in cloud.everything() if m.state not in (InstanceState.GONE, InstanceState.LEAVING)]
        return sorted(there, key=lambda machine: (machine.tags.get("infrakit.cluster", ""), machine.name))

    def names(self) -> list[str]:
        return [machine.name for machine in self.machines()]

    def ids(self) -> list[str]:
        return [machine.id for machine in self.machines()]

    def tree(self) -> dict[str, bytes]:
        """Return every file below the root with its content, but not the simulated cloud, which is the world."""
        files = (path for path in self.root.rglob("*") if not path.is_relative_to(self.database.parent))
        return {str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else b"" for path in files}


def cluster(
    name: str = "shop", *, provider: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a cluster on a fast simulated cloud, with images a1, a2 and a3."""
    return {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "providers": {"sim": {"plugin": "simulated", "boot_time": "100ms", **(provider or {})}},
        "images": {image: {"reference": image} for image in ("a1", "a2", "a3")},
        "groups": groups,
    }


def web(size: int = 3, image: str = "a1", **changes: Any) -> dict[str, Any]:
    """Return a group of interchangeable machines."""
    health = {"tcp": 80, "interval": "100ms", "unhealthy_after": 1, "grace": "60s"}
    return {"provider": "sim", "image": image, "size": size, "health": health, **changes}


def db(*names: str, image: str = "a1", **changes: Any) -> dict[str, Any]:
    """Return a group of named machines with data disks."""
    named = {key: value for key, value in web(image=image).items() if key != "size"}
    return {
        **named,
        "logical_ids": list(names or ("db-1", "db-2", "db-3")),
        "machine": {"data_disk": "1GiB"},
        **changes,
    }


def failing(**rollout: Any) -> dict[str, Any]:
    """Return the cluster that `converged` has, but for an image a2 of `web` that never gets well."""
    new = web(image="a2", rollout=rollout)
    sick = {**new, "health": {**new["health"], "grace": "500ms"}}
    return cluster(web=sick, db=db(), provider={"sick_images": ["a2"]})


def eventually(claim: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until a claim about another process holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
