"""Real etcd servers, as children of the test: killed, paused and resumed by their process ids."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import requests

from infrakit_py.model.controller import EtcdAddress

_PATIENCE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


def until(claim: Callable[[], object], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait for something to be so. The test fails where it never is."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, f"never so within {seconds} s: {what}"
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Tls:
    """Files: who signs, and the certificate that servers and clients here show."""

    ca: Path
    cert: Path
    key: Path


@dataclass
class Node:
    """One member. Its data outlives its process."""

    name: str
    directory: Path
    port: int
    peer_port: int
    options: Sequence[str]
    tls: Tls | None = None
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self, cluster: str) -> None:
        command = [
            "etcd", "--name", self.name, "--data-dir", str(self.directory / self.name),
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url,
            "--initial-cluster", cluster, "--logger", "zap",
            # Elections soon: a lease of a second or two is possible then.
            "--heartbeat-interval", "50", "--election-timeout", "500",
            *self.options,
        ]  # fmt: skip
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def is_leader(self) -> bool:
        status = self.ask("maintenance/status", {})
        return "leader" in status and status["leader"] == status["header"]["member_id"]

    def answers(self) -> bool:
        """Tell whether a majority stands behind it."""
        return "header" in self.ask("kv/range", {"key": "YQ=="})

    def ask(self, path: str, body: object, token: str = "") -> dict[str, Any]:
        """Return an answer; nothing where there is none."""
        verify = str(self.tls.ca) if self.tls else True
        cert = (str(self.tls.cert), str(self.tls.key)) if self.tls else None
        with suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": token} if token else {}
            answer = session.post(
                f"{self.url}/v3/{path}", json=body, verify=verify, cert=cert, timeout=2, headers=headers
            )
            return dict(answer.json())
        return {}

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)


@dataclass
class Servers:
    """An etcd cluster."""

    nodes: Sequence[Node]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(node.url for node in self.nodes)

    @property
    def leader(self) -> Node:
        """The leader, once there is one."""
        found: list[Node] = []

        def is_found() -> bool:
            found[:] = [node for node in self.nodes if node.is_leader()]
            return len(found) == 1

        until(is_found, "one leader")
        return found[0]

    def address(self, *urls: str, ttl_seconds: float = 2.0, prefix: str = "") -> EtcdAddress:
        """Return an address under a prefix of its own, unless one is given."""
        return EtcdAddress(urls or self.urls, prefix or f"/test-{uuid4().hex[:8]}", ttl_seconds)

    def start(self, *nodes: Node) -> None:
        for node in nodes or self.nodes:
            node.start(",".join(f"{each.name}={each.peer_url}" for each in self.nodes))


@contextmanager
def running(directory: Path, count: int, options: Sequence[str] = (), tls: Tls | None = None) -> Iterator[Servers]:
    """Run so many servers on this machine until the end."""
    require_etcd()
    ports = _free_ports(2 * count)
    nodes = [
        Node(f"n{number}", directory, ports[2 * number], ports[2 * number + 1], options, tls)
        for number in range(count)
    ]
    servers = Servers(nodes)
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.kill)
        servers.start()
        until(lambda: all(node.answers() for node in nodes), "all servers answer")
        yield servers


def require_etcd() -> None:
    if shutil.which("etcd") is None:
        if os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
            pytest.fail("etcd is required (INFRAKIT_REQUIRE_REAL=1) but not installed", pytrace=False)
        pytest.skip("etcd is not installed (Debian: apt-get install etcd-server)")


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One server for all tests that leave it as it is; each takes a prefix of its own."""
    with running(tmp_path_factory.mktemp("etcd"), 1, ("--unsafe-no-fsync",)) as servers:
        yield servers


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
