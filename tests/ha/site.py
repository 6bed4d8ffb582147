"""Controllers that share an etcd and a cloud, each a process with a directory, a name and a line of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from infrakit_py.engine.sharding import owner_of
from tests.cli.shell import INFRA, Shell, cluster, eventually, web
from tests.etcd.servers import running
from tests.ha.audit import Pause, Told
from tests.ha.ledger import Ledger, Life, written_down
from tests.ha.line import Line, line_to
from tests.ha.owners import Owners, owners_of

LEADER: Final = ".sources"
SURGE: Final = 1
PATIENCE_SECONDS: Final = 90.0


@dataclass
class Member:
    """One controller: what runs now, and what it and those before it under its name have said."""

    site: "Site"
    name: str
    line: Line
    process: "subprocess.Popen[bytes] | None" = None
    lives: int = 0
    pauses: list[Pause] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.site.root / self.name

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "controller.yml"
        config.write_text(yaml.safe_dump(self._config()))
        shell = Shell(self.directory)
        (self.directory / "work").mkdir(exist_ok=True)
        self.lives += 1
        with self._path("out").open("wb") as out, self._path("err").open("wb") as err:
            self.process = subprocess.Popen(
                [*INFRA, "controller", "--config", str(config), "--json"],
                cwd=shell.work,
                env=shell.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None and self.process.poll() is None, self.said("err")
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as nobody can prevent or notice."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """Let it end in order, and return its exit code."""
        self.send(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(seconds)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Let it stand still as long as the context is open."""
        begin = time.time()
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.pauses.append(Pause(self.name, begin, time.time()))
            self.send(signal.SIGCONT)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Let it not reach etcd as long as the context is open. It goes on to reach the cloud."""
        self.line.cut()
        try:
            yield
        finally:
            self.line.join()

    def events(self) -> Iterator[dict[str, Any]]:
        """Return what it has said in all its lives. A line that was cut off by its death is left out."""
        for life in range(1, self.lives + 1):
            for line in self._path("out", life).read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def told(self) -> Iterator[Told]:
        for event in self.events():
            if "name" in event:
                at = datetime.fromisoformat(event["at"]).timestamp()
                instance = event.get("instance", "")
                yield Told(self.name, at, event["event"], event["cluster"], event["group"], event["name"], instance)

    def said(self, stream: str) -> str:
        return "".join(self._path(stream, life).read_text() for life in range(1, self.lives + 1))

    def _path(self, stream: str, life: int | None = None) -> Path:
        return self.directory / f"{life or self.lives}.{stream}"

    def _config(self) -> dict[str, Any]:
        return {
            "apiVersion": "infrakit-py/v1alpha1",
            "kind": "Controller",
            "name": self.name,
            "sources": {"files": [str(self.site.files)]},
            "store": {"etcd": {"endpoints": [self.line.url], "ttl": f"{self.site.ttl_seconds}s"}},
            "log": {"level": "warning"},
        }


@dataclass
class Site:
    """Everything: the clusters' files, the cloud, etcd and the controllers."""

    root: Path
    clusters: tuple[str, ...]
    size: int
    ttl_seconds: int
    ledger: Ledger
    etcd: str
    owners: Owners
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        return self.root / "clusters"

    def push(self, image: str, clusters: Sequence[str] = ()) -> None:
        """Declare another version, of all clusters or of some, as a checkout of Git does it: file by file."""
        for name in clusters or self.clusters:
            document = cluster(
                name,
                provider={"database": str(self.ledger.database), "boot_time": "300ms"},
                web=web(self.size, image, rollout={"max_surge": SURGE, "max_unavailable": 0}),
            )
            written = self.files / f".{name}.new"
            written.write_text(yaml.safe_dump(document))
            written.replace(self.files / f"{name}.yml")

    @property
    def leader(self) -> Member:
        """The member that reads the source, once one does."""
        eventually(lambda: self.owners.owner(LEADER) != "", "a leader")
        return self.members[self.owners.owner(LEADER)]

    @property
    def is_divided(self) -> bool:
        """Tell whether each cluster is kept by the one of all members that shall keep it."""
        return all(self.owners.owner(name) == owner_of(name, self.members) for name in self.clusters)

    def others(self, *but: Member) -> list[Member]:
        return [member for member in self.members.values() if member not in but]

    def made_of(self, image: str) -> int:
        """Return how many machines of a version work."""
        return sum(life.image == image for life in self.ledger.alive())

    def converged(self, image: str) -> bool:
        """Tell whether every cluster has what it shall have, and nothing else is there."""
        now = time.time()
        there = [(life.cluster, life.image) for life in self.ledger.alive() if life.ready_at <= now]
        return sorted(there) == sorted((name, image) for name in self.clusters for _ in range(self.size))

    def wait(self, claim: Callable[[], bool], what: str) -> None:
        eventually(claim, what, seconds=PATIENCE_SECONDS)

    def lives(self) -> Sequence[Life]:
        return self.ledger.lives()


@contextmanager
def site_of(root: Path, clusters: int, size: int, members: int, ttl_seconds: int) -> Iterator[Site]:
    """Set everything up, with all controllers started. Whatever becomes of the test, nothing outlives it."""
    with ExitStack() as stack:
        (root / "etcd").mkdir()
        (etcd,) = stack.enter_context(running(root / "etcd", 1, ("--unsafe-no-fsync",))).urls
        owners = stack.enter_context(owners_of(etcd))
        names = tuple(f"c{number:02}" for number in range(clusters))
        site = Site(root, names, size, ttl_seconds, written_down(root / "cloud.db"), etcd, owners)
        site.files.mkdir()
        site.push("a1")
        host, port = urlsplit(etcd).netloc.split(":")
        for number in range(members):
            name = f"m{number}"
            site.members[name] = Member(site, name, stack.enter_context(line_to(host, int(port))))
            stack.callback(_end, site.members[name])
            site.members[name].start()
        try:
            yield site
        except BaseException:
            for member in site.members.values():
                print(f"--- {member.name}", member.said("out"), member.said("err"), sep="\n")
            raise


def _end(member: Member) -> None:
    if member.process is not None and member.process.poll() is None:
        os.kill(member.process.pid, signal.SIGCONT)
    member.kill()
