"""A person at the command line, and a client of the machines: both inside the private host's namespace."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import yaml

from tests.hosts import PrivateLibvirtd
from tests.images import BuiltImage

APPLY_SECONDS: Final = 240.0
CONTROLLER_SECONDS: Final = 90.0
HTTP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1
_TIMESTAMP: Final = re.compile(r"\d\d:\d\d:\d\d ")
_IMAGE: Final = re.compile(r'key="infrakit.image" value="(\w+)"|key=\'infrakit.image\' value=\'(\w+)\'')


@dataclass(frozen=True)
class Operator:
    """Writes a cluster file and runs `infra` on it, with a state directory of its own."""

    host: PrivateLibvirtd
    directory: Path
    images: Mapping[str, BuiltImage]
    more_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.directory / "cluster.yml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def write(self, **groups: Mapping[str, object]) -> None:
        """Write cluster `shop` with these groups; what they leave out is filled in."""
        documents = {
            "apiVersion": "infrakit-py/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "shop"},
            "providers": {"local": {"plugin": "libvirt", "uri": self.host.uri, "virt_type": "qemu"}},
            "images": {
                name: {"kernel": str(i.kernel), "initrd": str(i.initrd), "cmdline": str(i.cmdline)}
                for name, i in self.images.items()
            },
            "groups": {name: {**_DEFAULTS, **changes} for name, changes in groups.items()},
        }
        self.file.write_text(yaml.safe_dump(documents))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "infrakit_py", *arguments, str(self.file)]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.directory),
            "INFRAKIT_STATE_DIR": str(self.state),
            **self.more_environment,
        }

    def infra(self, *arguments: str, expect: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        return self._ended(arguments, expect).stdout

    def complaint(self, *arguments: str) -> str:
        """Run a command that must fail, and return what it complained about."""
        return self._ended(arguments, 1).stderr

    def _ended(self, arguments: Sequence[str], expect: int) -> "subprocess.CompletedProcess[str]":
        command = self.host.command_inside(self.command(*arguments))
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=APPLY_SECONDS, check=False
        )
        print(done.stdout, done.stderr, sep="\n")
        assert done.returncode == expect, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def put_first_on_path(self, directory: Path) -> "Operator":
        """Return this operator with the programs of a directory at hand."""
        path = f"{directory}:{self.environment['PATH']}"
        return replace(self, more_environment={**self.more_environment, "PATH": path})

    def apply(self, *more: str, expect: int = 0) -> str:
        return self.infra("apply", "--auto-approve", *more, expect=expect)

    def kill_apply_after(self, events: int, seconds: float) -> bool:
        """Begin an apply, kill -9 it so long after it told of so many events; tell whether it was still running."""
        process = subprocess.Popen(
            self.host.command_inside(self.command("apply", "--auto-approve")),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout as lines:
            told = 0
            while told < events and (line := lines.readline()):
                told += bool(_TIMESTAMP.match(line))
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
            return False

    @contextmanager
    def controller(self) -> Iterator["Controller"]:
        """Let a controller run, and kill it if it still does at the end."""
        output = self.directory / "controller.out"
        with output.open("w") as file:
            command = self.command("controller")
            process = self.host.popen(command, env=self.environment, stdout=file, stderr=subprocess.STDOUT)
        controller = Controller(process, output)
        try:
            yield controller
        finally:
            controller.kill()
            print(controller.said)

    def machines(self, group: str = "web") -> list[dict[str, Any]]:
        document = json.loads(self.infra("status", "--json"))
        (cluster,) = document["clusters"]
        return [m for g in cluster["groups"] if g["group"] == group for m in g["machines"]]

    def pages(self, group: str = "web") -> list[dict[str, Any]]:
        """Ask every machine of a group for its page."""
        urls = [f"http://{m['addresses'][0]}:8080/" for m in self.machines(group)]
        return [json.loads(self.host.http_get(url, timeout_seconds=HTTP_SECONDS).body) for url in urls]


_DEFAULTS: Final[Mapping[str, object]] = {
    "provider": "local",
    "image": "v1",
    "machine": {"vcpus": 1, "memory": "160MiB", "network": "default"},
    "flavor": {"user_data": '{"hostname": {"content": "{{ instance.name }}"}}'},
    "health": {"tcp": 8080, "interval": "500ms", "timeout": "3s", "grace": "120s"},
}


@dataclass(frozen=True)
class Controller:
    """A controller at work."""

    process: "subprocess.Popen[str]"
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so many times."""
        deadline = time.monotonic() + CONTROLLER_SECONDS
        while self.said.count(text) < times:
            assert self.process.poll() is None, f"it has ended:\n{self.said}"
            assert time.monotonic() < deadline, f"waited in vain for {text!r}:\n{self.said}"
            time.sleep(0.05)

    def stop(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(30.0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Hypervisor:
    """The private libvirtd, looked at and meddled with by other means than the product."""

    def __init__(self, host: PrivateLibvirtd) -> None:
        import libvirt  # here, so that the tests that need no libvirt are found without it

        libvirt.registerErrorHandler(lambda *_: None, None)
        self._error = libvirt.libvirtError
        self._open = partial(libvirt.open, host.uri)
        self._opened = self._open()

    @property
    def _connection(self) -> Any:
        """Return a connection that works.

        Once a provider had an event loop in this process, libvirt asks each client for signs of life, and who sits
        idle without a loop of its own is cut off after half a minute.
        """
        try:
            self._opened.getLibVersion()
        except self._error:
            self._opened = self._open()
        return self._opened

    def close(self) -> None:
        self._opened.close()

    def domains(self) -> list[str]:
        return sorted(domain.name() for domain in self._connection.listAllDomains())

    def images(self) -> dict[str, str]:
        """Return the identity of the image that each domain was made from, by the domain's id."""
        found: dict[str, str] = {}
        for domain in self._connection.listAllDomains():
            try:
                match = _IMAGE.search(domain.XMLDesc())
            except self._error:  # it has just gone
                continue
            if match is not None:
                found[domain.UUIDString()] = match[1] or match[2]
        return found

    def volumes(self) -> list[str]:
        pool = self._connection.storagePoolLookupByName("default")
        pool.refresh()
        return sorted(pool.listVolumes())

    def pull_the_plug(self, domain: str) -> None:
        self._connection.lookupByName(domain).destroy()

    def addresses(self) -> list[str]:
        leases = self._connection.networkLookupByName("default").DHCPLeases()
        return sorted({lease["ipaddr"] for lease in leases})


@dataclass
class Sightings:
    """How many machines answered in each sweep of the poller, and which versions."""

    counts: list[int] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    by_version: list[Counter[str]] = field(default_factory=list)


@contextmanager
def polled(host: PrivateLibvirtd, hypervisor: Hypervisor) -> Iterator[Sightings]:
    """Ask all addresses for their page at once, again and again, as long as the context is open."""
    seen, over = Sightings(), Event()

    def poll() -> None:
        with ThreadPoolExecutor(16) as pool:
            while not over.is_set():
                pages = list(pool.map(_page, hypervisor.addresses()))
                answers = [page for page in pages if page is not None]
                seen.counts.append(len(answers))
                seen.by_version.append(Counter(page["version"] for page in answers))
                seen.versions |= seen.by_version[-1].keys()
                over.wait(POLL_SECONDS)

    thread = Thread(target=partial(host.call_inside, poll), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(30.0)


@contextmanager
def watched(hypervisor: Hypervisor) -> "Iterator[list[dict[str, str]]]":
    """Look at all domains and what they were made from, again and again, as long as the context is open."""
    looks: list[dict[str, str]] = []
    over = Event()

    def look() -> None:
        while not over.is_set():
            looks.append(hypervisor.images())
            over.wait(POLL_SECONDS)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join(30.0)


def _page(address: str) -> dict[str, Any] | None:
    import http.client

    connection = http.client.HTTPConnection(address, 8080, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/")
        return dict(json.loads(connection.getresponse().read()))
    except OSError:
        return None
    finally:
        connection.close()


def wait_for(condition: Sequence[object], seconds: float = 30.0) -> None:
    """Wait until a list is not empty."""
    deadline = time.monotonic() + seconds
    while not condition and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition
