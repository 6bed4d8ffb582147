"""Which checks are made, in which order, and whose fault it is when a port does not answer."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from infrakit_py.engine.probe import probe
from infrakit_py.errors import ProviderError, SpecError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import HealthCheck, HttpCheck
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.provider import Provider

NOBODY = cast(Provider, object())
UNREACHABLE = "224.0.0.1"  # Linux has no TCP to a group of machines: ENETUNREACH
IPV6 = Path("/proc/net/if_inet6")
ELSEWHERE = "127.0.0.2"  # loopback as well, but not where the tests listen


def machine(*addresses: str, impaired: str = "") -> Instance:
    return Instance(InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0, addresses, impaired=impaired)


def tcp(port: int, timeout_seconds: float = 5.0) -> HealthCheck:
    return HealthCheck(tcp=port, timeout_seconds=timeout_seconds)


@contextmanager
def accepting(host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield server.getsockname()[1]


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a port on which 127.0.0.1 accepts."""
    with accepting() as port:
        yield port


@pytest.fixture
def closed() -> int:
    """Return a port on which nobody listens."""
    with accepting() as port:
        return port


@dataclass
class Opinion:
    """A flavor with an opinion, or without a way to form one."""

    opinion: str | Exception | None

    def healthy(self, instance: Instance) -> str | None:
        if isinstance(self.opinion, Exception):
            raise self.opinion
        return self.opinion


@dataclass
class Oracle:
    """A provider that answers for its machines."""

    answer: str | None
    asked: int = 0

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        self.asked += 1
        return self.answer


def flavor(opinion: str | Exception | None) -> Flavor:
    return cast(Flavor, Opinion(opinion))


def test_a_port_that_accepts_is_healthy(port: int) -> None:
    assert probe(NOBODY, machine("127.0.0.1"), tcp(port)) is None


@pytest.mark.skipif(not IPV6.exists() or not IPV6.read_text(), reason="needs IPv6")
def test_an_ipv6_address_is_an_address() -> None:
    with accepting("::1") as port:
        assert probe(NOBODY, machine("::1"), tcp(port)) is None
    assert probe(NOBODY, machine("::1"), tcp(port)) == f"tcp [::1]:{port}: Connection refused"


def test_one_address_that_accepts_is_enough(port: int) -> None:
    assert probe(NOBODY, machine(ELSEWHERE, "127.0.0.1"), tcp(port)) is None


def test_the_reason_has_every_address_that_was_asked(closed: int) -> None:
    refused = f"tcp 127.0.0.2:{closed}: Connection refused; tcp 127.0.0.1:{closed}: Connection refused"
    assert probe(NOBODY, machine(ELSEWHERE, UNREACHABLE, "127.0.0.1"), tcp(closed)) == refused


def test_a_machine_without_an_address_is_not_well_yet() -> None:
    assert probe(NOBODY, machine(), tcp(80)) == "tcp 80: no address yet"
    assert probe(NOBODY, machine(), HealthCheck(http=HttpCheck(80))) == "http 80: no address yet"
    assert probe(NOBODY, machine(), HealthCheck(http=HttpCheck(8443, https=True))) == "https 8443: no address yet"


def test_a_port_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with fill(port):
            begun = time.monotonic()
            assert probe(NOBODY, machine("127.0.0.1"), tcp(port, 0.2)) == f"tcp 127.0.0.1:{port}: timed out"
            assert time.monotonic() - begun < 5.0


@contextmanager
def fill(port: int) -> Iterator[None]:
    """Take all places in the queue of a port that nobody accepts from: further ones are left without an answer."""
    waiting = [socket.socket() for _ in range(4)]
    for client in waiting:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    try:
        yield
    finally:
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    "address",
    [UNREACHABLE, "fe80::1", "no-such-name.invalid", "not a name", "a" * 64 + ".example"],
    ids=["no route", "no interface", "unknown name", "no name", "too long a name"],
)
def test_an_address_that_cannot_be_asked_from_here_says_nothing(address: str, port: int) -> None:
    with pytest.raises(ProviderError, match=r"from here|resolve"):
        probe(NOBODY, machine(address), tcp(port))
    assert probe(NOBODY, machine(address, "127.0.0.1"), tcp(port)) is None


def test_too_many_open_files_say_nothing_about_a_machine(port: int) -> None:
    with no_more_files(), pytest.raises(ProviderError, match="from here: Too many open files"):
        probe(NOBODY, machine("127.0.0.1", ELSEWHERE), tcp(port))


@contextmanager
def no_more_files() -> Iterator[None]:
    """Open all files that this process may have open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [socket.socket()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0].fileno() + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(socket.socket())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in taken:
            one.close()


def test_without_a_declared_check_a_machine_is_well_and_nobody_is_asked() -> None:
    oracle = Oracle("refused")
    assert probe(cast(Provider, oracle), machine(), HealthCheck()) is None
    assert probe(NOBODY, machine(), HealthCheck(), flavor("lagging")) is None
    assert oracle.asked == 0


def test_an_impaired_machine_is_not_well_whatever_else_it_answers(port: int) -> None:
    ill = machine("127.0.0.1", impaired="status check failed")
    for check in (HealthCheck(), tcp(port), HealthCheck(flavor=True)):
        assert probe(NOBODY, ill, check, flavor(None)) == "status check failed"


def test_a_provider_that_probes_answers_tcp_and_http_itself() -> None:
    oracle = Oracle("sick")
    for check in (tcp(1), HealthCheck(http=HttpCheck(1))):
        assert probe(cast(Provider, oracle), machine(), check) == "sick"
    assert oracle.asked == 2


def test_commands_and_flavors_are_asked_here_also_for_a_provider_that_probes() -> None:
    oracle = Oracle(None)
    check = HealthCheck(command=("false",))
    assert probe(cast(Provider, oracle), machine(), check) == "command false: exit code 1"
    assert oracle.asked == 0
    check = HealthCheck(tcp=1, flavor=True)
    assert probe(cast(Provider, oracle), machine(), check, flavor("lagging")) == "flavor: lagging"
    assert oracle.asked == 1


def test_the_first_check_that_fails_is_the_reason(port: int, closed: int) -> None:
    all_fail = HealthCheck(tcp=closed, http=HttpCheck(closed), command=("false",), flavor=True)
    reasons = [
        probe(NOBODY, machine("127.0.0.1"), check, flavor("lagging"))
        for check in (
            all_fail,
            replace(all_fail, tcp=port),
            replace(all_fail, tcp=port, http=None),
            replace(all_fail, tcp=port, http=None, command=("true",)),
        )
    ]
    assert reasons == [
        f"tcp 127.0.0.1:{closed}: Connection refused",
        f"http 127.0.0.1:{closed}/: Connection refused",
        "command false: exit code 1",
        "flavor: lagging",
    ]
    all_pass = replace(all_fail, tcp=port, http=None, command=("true",))
    assert probe(NOBODY, machine("127.0.0.1"), all_pass, flavor(None)) is None


@pytest.mark.parametrize("error", [ProviderError("no API"), SpecError([])], ids=["as declared", "another of ours"])
def test_a_flavor_that_cannot_tell_says_nothing(error: Exception) -> None:
    with pytest.raises(ProviderError):
        probe(NOBODY, machine(), HealthCheck(flavor=True), flavor(error))
    with pytest.raises(ProviderError, match="cannot check i-1: there is no flavor to ask"):
        probe(NOBODY, machine(), HealthCheck(flavor=True))


def test_probes_leave_no_open_file_and_no_thread(port: int, closed: int) -> None:
    threads = threading.active_count()
    with socket.socket() as before:
        lowest = before.fileno()
    check = HealthCheck(tcp=port, command=("true",))
    for _ in range(3):
        assert probe(NOBODY, machine("127.0.0.1"), check) is None
        assert probe(NOBODY, machine("127.0.0.1"), tcp(closed)) is not None
    with socket.socket() as after:
        assert after.fileno() == lowest
    assert threading.active_count() == threads
