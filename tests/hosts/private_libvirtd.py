"""A private libvirtd in its own network and mount namespace.

Its network, bridge, dnsmasq, iptables rules and its guests' addresses exist nowhere else on the machine: the API is
reached from anywhere over a unix socket, the guests only from inside the namespace. It knows nothing of infrakit-py.

The namespace is also how everything is found again: whatever runs inside was started by this host, so `down` ends
exactly those processes, by their ids, and can do so for a run that was killed.
"""

import contextlib
import ctypes
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

Result = TypeVar("Result")

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
SOCKET_PATH_LIMIT = 107
START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 10
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
FRESH = ("etc", "lib", "cache", "run", "dev", "images")
REAPER = Path(__file__).parent / "reaper.py"
START_SCRIPT = Path(__file__).parent / "start.sh"
TOOLS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "dnsmasq": "dnsmasq-base",
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "3:file:{log}"
"""

# No virtlogd, no cgroups (there may be no systemd), no owner attributes that would outlive this host on images.
QEMU_CONF = """\
user = "root"
group = "root"
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = [ ]
remember_owner = 0
"""

# libvirt's own `default` network makes each guest wait for spanning tree (4 s) and for dnsmasq's ping of every
# candidate address (3 s, one after the other).
NETWORK_XML = """\
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'><lease expiry='5' unit='minutes'/></range>
    </dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
"""

POOL_XML = "<pool type='dir'><name>default</name><target><path>{path}</path></target></pool>\n"


class HostError(Exception):
    """The private libvirtd cannot be started, used or stopped."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a guest answered."""

    status: int
    body: bytes


class PrivateLibvirtd:
    """A libvirtd with a network `default` (fast), a storage pool `default`, no KVM, and nothing else defined.

    directory holds all of its state and belongs to it alone. Without a namespace the one recorded in the directory
    is taken, so that another process can find a running host, else a new name. Two hosts may run side by side.
    """

    def __init__(self, directory: Path, namespace: str | None = None) -> None:
        self.directory = directory.resolve()
        recorded = self._recorded_namespace()
        self.namespace = namespace or recorded or f"infra-{os.getpid()}-{secrets.token_hex(2)}"

    @property
    def uri(self) -> str:
        """The libvirt URI; it works from inside and from outside the namespace."""
        return f"qemu+unix:///system?socket={urllib.parse.quote(str(self._socket))}"

    @property
    def pool_directory(self) -> Path:
        """The directory of the pool `default`."""
        return self.directory / "images"

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> None:
        """Start an empty host. What a killed run left behind in the directory is cleaned away first."""
        if len(os.fsencode(self._socket)) > SOCKET_PATH_LIMIT:
            raise HostError(f"{self._socket}: too long for a unix socket, use a shorter directory")
        self.down()
        self._prepare_directory()
        if (NAMESPACES / self.namespace).exists():
            raise HostError(f"network namespace {self.namespace} exists and is not recorded in {self.directory}")
        self._record(self.namespace)
        try:
            _run(["ip", "netns", "add", self.namespace])
            self._start_daemon()
            self._define_network_and_pool()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop the recorded host: its guests, its networks, its daemon, and every process in its namespace.

        Does nothing if no host is recorded. Raise HostError if a process survives SIGKILL.
        """
        namespace = self._recorded_namespace()
        if namespace is None:
            return
        if (NAMESPACES / namespace).exists():
            self._destroy_guests_and_networks(namespace)
            self._end_processes(namespace)
            _run(["ip", "netns", "delete", namespace])
        self._record(None)

    def command_inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs argv inside the namespace."""
        return [shutil.which("ip", path=PATH) or "ip", "netns", "exec", self.namespace, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 60,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespace and return its output as text."""
        return subprocess.run(
            self.command_inside(argv),
            check=check,
            timeout=timeout,
            input=input,
            env=env,
            cwd=cwd,
            text=True,
            capture_output=True,
        )

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[str] | None = None,
        stdout: int | IO[str] | None = None,
        stderr: int | IO[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command inside the namespace. The process id is the command's own; `down` ends it too."""
        return subprocess.Popen(
            self.command_inside(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, text=True
        )

    def call_inside(self, function: Callable[[], Result]) -> Result:
        """Call a function on a thread that has entered the network namespace: its new sockets reach the guests."""
        with ThreadPoolExecutor(max_workers=1) as own_thread:
            return own_thread.submit(self._enter_and_call, function).result()

    def http_get(self, url: str, *, timeout_seconds: float = 3.0) -> HttpReply:
        """Ask a guest. Raise OSError if there is no answer in time."""
        parts = urllib.parse.urlsplit(url)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"

        def ask() -> HttpReply:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_seconds)
            with contextlib.closing(connection):
                try:
                    connection.request("GET", target)
                    response = connection.getresponse()
                    return HttpReply(response.status, response.read())
                except http.client.HTTPException as exc:
                    raise ConnectionError(f"{url}: broken answer: {exc!r}") from exc

        return self.call_inside(ask)

    def processes(self) -> dict[int, str]:
        """Return the command line of every process in the namespace, by process id; empty once it is down."""
        if not (NAMESPACES / self.namespace).exists():
            return {}
        return {pid: _command_line(pid) for pid in _pids(self.namespace)}

    # --- state in the directory ---------------------------------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self.directory / "run" / "libvirt-sock"

    @property
    def _record_file(self) -> Path:
        return self.directory / "host.json"

    def _recorded_namespace(self) -> str | None:
        try:
            recorded = json.loads(self._record_file.read_text())["namespace"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as exc:
            raise HostError(f"{self._record_file}: not written by this program: remove the directory") from exc
        return None if recorded is None else str(recorded)

    def _record(self, namespace: str | None) -> None:
        unfinished = self._record_file.with_suffix(".part")
        unfinished.write_text(json.dumps({"namespace": namespace}) + "\n")
        unfinished.replace(self._record_file)

    def _prepare_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._record_file.exists() and any(self.directory.iterdir()):
            raise HostError(f"{self.directory} holds other files: give the host a directory of its own")
        self._record(None)
        for part in FRESH:
            shutil.rmtree(self.directory / part, ignore_errors=True)
        for part in (*FRESH, "log"):
            (self.directory / part).mkdir(exist_ok=True)
        etc = self.directory / "etc"
        (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(log=self.directory / "log" / "libvirtd.log"))
        (etc / "qemu.conf").write_text(QEMU_CONF)

    # --- starting -----------------------------------------------------------------------------------------------

    def _enter_and_call(self, function: Callable[[], Result]) -> Result:
        libc = ctypes.CDLL(None, use_errno=True)
        with (NAMESPACES / self.namespace).open() as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {self.namespace}")
        return function()

    def _start_daemon(self) -> None:
        log = self.directory / "log" / "host.log"
        reaper = [sys.executable, "-I", "-S", str(REAPER), str(log)]
        _run(self.command_inside([*reaper, "sh", str(START_SCRIPT), str(self.directory)]))
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._socket.exists():
            if time.monotonic() > deadline or not _pids(self.namespace):
                raise HostError(f"libvirtd did not start: {log.read_text().strip()}")
            time.sleep(0.02)

    def _define_network_and_pool(self) -> None:
        network, pool = self.directory / "etc" / "network.xml", self.directory / "etc" / "pool.xml"
        network.write_text(NETWORK_XML)
        pool.write_text(POOL_XML.format(path=self.pool_directory))
        self._virsh("net-define", str(network))
        self._virsh("net-start", "default")
        self._virsh("pool-define", str(pool))
        self._virsh("pool-start", "default")

    def _virsh(self, *command: str, timeout: float = START_TIMEOUT_SECONDS) -> str:
        return _run(["virsh", "-q", "-c", self.uri, *command], timeout=timeout)

    # --- stopping -----------------------------------------------------------------------------------------------

    def _destroy_guests_and_networks(self, namespace: str) -> None:
        """Let libvirt end its own. If the daemon is gone or hangs, they end like all other processes."""
        if self._daemon_pid(namespace) is None:
            return
        with contextlib.suppress(HostError):
            guests = self._virsh("list", "--name", timeout=STOP_TIMEOUT_SECONDS).split()
            with ThreadPoolExecutor(max_workers=8) as together:
                for guest in guests:
                    together.submit(self._virsh, "destroy", guest, timeout=STOP_TIMEOUT_SECONDS)
            for network in self._virsh("net-list", "--name", timeout=STOP_TIMEOUT_SECONDS).split():
                self._virsh("net-destroy", network, timeout=STOP_TIMEOUT_SECONDS)

    def _daemon_pid(self, namespace: str) -> int | None:
        try:
            pid = int((self.directory / "run" / "libvirtd.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in _pids(namespace) else None

    def _end_processes(self, namespace: str) -> None:
        daemon = self._daemon_pid(namespace)
        if daemon is not None:  # alone at first, so that it does not see its children die
            _signal([daemon], signal.SIGTERM)
            _wait_until(lambda: daemon not in _pids(namespace), STOP_TIMEOUT_SECONDS)
        for kind in (signal.SIGTERM, signal.SIGKILL):
            _signal(_others(namespace), kind)
            if _wait_until(lambda: not _others(namespace), STOP_TIMEOUT_SECONDS):
                return
        left = ", ".join(f"{pid} ({_command_line(pid)})" for pid in _others(namespace))
        raise HostError(f"network namespace {namespace}: still running after SIGKILL: {left}")


def missing_requirements() -> list[str]:
    """Return one sentence for each thing that this machine lacks; empty if a private libvirtd can run here."""
    missing = [
        f"the program {tool} is not installed (Debian package {package})"
        for tool, package in TOOLS.items()
        if shutil.which(tool, path=PATH) is None
    ]
    if os.geteuid() != 0:
        missing.append("the tests are not run by root, who alone can make network namespaces")
    elif shutil.which("ip", path=PATH):
        probe = f"infra-probe-{os.getpid()}"
        try:
            _run(["ip", "netns", "add", probe])
            _run(["ip", "netns", "delete", probe])
        except HostError as exc:
            missing.append(f"no network namespace can be made here: {exc}")
    return missing


def _run(argv: Sequence[str], *, timeout: float = START_TIMEOUT_SECONDS) -> str:
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=timeout, env=environment)
    except subprocess.CalledProcessError as exc:
        raise HostError(f"{argv[0]} failed: {exc.stderr.strip() or exc.stdout.strip()}") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise HostError(f"cannot run {argv[0]}: {exc}") from exc
    return done.stdout


def _pids(namespace: str) -> list[int]:
    return [int(pid) for pid in _run(["ip", "netns", "pids", namespace]).split()]


def _others(namespace: str) -> list[int]:
    """Everything in the namespace but this process and those that it runs under."""
    own, pid = set(), os.getpid()
    while pid:
        own.add(pid)
        pid = _parent(pid)
    return [pid for pid in _pids(namespace) if pid not in own]


def _parent(pid: int) -> int:
    fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields_after_name[1])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def _signal(pids: Iterable[int], kind: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, kind)


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
