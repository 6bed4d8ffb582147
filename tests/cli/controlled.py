"""A controller at work, as its operator starts it, and somebody elsewhere who asks it by its API."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cli.shell import INFRA, Result, Shell, cluster, eventually

WRITER = "writer-0123456789-secret"
READER = "reader-0123456789-secret"
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Controlled:
    """Two terminals: `there` the controller runs, `here` somebody asks it, by the network alone."""

    there: Shell
    here: Shell
    url: str

    @property
    def server(self) -> dict[str, str]:
        return {"INFRAKIT_SERVER": self.url, "INFRAKIT_TOKEN": WRITER}

    def infra(
        self, *arguments: str | Path, stdin: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Result:
        return self.here.infra(*arguments, stdin=stdin, environment={**self.server, **(environment or {})})

    @contextmanager
    def started(self, *arguments: str, out: Path) -> "Iterator[subprocess.Popen[bytes]]":
        """Run a command that asks the controller; it is gone when the context ends."""
        with out.open("wb") as file:
            process = subprocess.Popen(
                [*INFRA, *arguments],
                cwd=self.here.work,
                env=self.here.environment(self.server),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def cluster(self, name: str, **groups: Mapping[str, Any]) -> dict[str, Any]:
        """Return a cluster on the simulated cloud of the controller's machine."""
        return cluster(name, provider={"database": str(self.there.database)}, **groups)

    def declare(self, name: str, **groups: Mapping[str, Any]) -> None:
        """Declare a cluster, and see it converge."""
        file = self.here.write(self.cluster(name, **groups), file=f"{name}.yml")
        done = self.infra("apply", file.name, "--wait", "--timeout", "60s")
        assert done.code == 0, done

    def machines(self, cluster: str) -> list[str]:
        """Return the machines of a cluster that really are there."""
        return [machine.name for machine in self.there.machines() if machine.tags["infrakit.cluster"] == cluster]

    def standing(self, cluster: str) -> Any:
        (found,) = self.infra("status", "--cluster", cluster, "--json").json["clusters"]
        return found


@contextmanager
def controlled(
    root: Path, sources: Mapping[str, Any] | None = None, certificate: Path | None = None
) -> Iterator[Controlled]:
    """Run a controller, with its API on a free port of this machine, as long as the context is open.

    With a `certificate`, and its key in the same file, the API speaks TLS.
    """
    there, here = (_shell(root / name) for name in ("there", "here"))
    tokens = there.work / "tokens"
    tokens.write_text(f"ops write {WRITER}\nguest read {READER}\n")
    tokens.chmod(0o600)
    settings = {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Controller",
        "name": "c1",
        **({"sources": dict(sources)} if sources else {}),
        "api": {"listen": "127.0.0.1:0", "tokens": "tokens", **_tls(certificate)},
    }
    (there.work / "controller.yml").write_text(yaml.safe_dump(settings))
    said = there.root / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*INFRA, "controller", "--config", "controller.yml", "--json"],
            cwd=there.work,
            env=there.environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: bool(_address(said)) or process.poll() is not None, f"it listens: {said}")
        assert process.poll() is None, said.read_text()
        yield Controlled(there, here, _address(said))
    finally:
        _stop(process)


def _tls(certificate: Path | None) -> Mapping[str, Any]:
    return {"tls": {"cert": str(certificate), "key": str(certificate)}} if certificate is not None else {}


def _shell(root: Path) -> Shell:
    for directory in ("work", "home"):
        (root / directory).mkdir(parents=True)
    return Shell(root)


def _address(said: Path) -> str:
    return next((line["text"] for line in _lines(said) if line.get("event") == "listening"), "")


def _lines(said: Path) -> Sequence[Mapping[str, Any]]:
    lines = said.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
