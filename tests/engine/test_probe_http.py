"""HTTP checks against real servers on loopback: what passes, what a reason says, and that a deadline holds."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from infrakit_py.engine.probe import probe
from infrakit_py.engine.probe_http import ask_http
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import HealthCheck, HttpCheck
from infrakit_py.spi.provider import Provider

LONG_SECONDS = 20.0
SHORT_SECONDS = 0.3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SECRET = b"hunter2"

IPV6 = Path("/proc/net/if_inet6")
needs_ipv6 = pytest.mark.skipif(not IPV6.exists() or not IPV6.read_text(), reason="needs IPv6")

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve, host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port on which every connection, one after the other, is served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    over = threading.Event()
    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(0.02)

        def run() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    connection.settimeout(LONG_SECONDS)
                    with connection:
                        serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def answering(answer: bytes, requests: list[str] | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1) or b"\r\n\r\n"
        if requests is not None:
            requests.append(head.decode())
        connection.sendall(answer)

    return serve


def trickling(begin: bytes, further: bytes) -> Serve:
    """Send something at once, and then a little at a time for as long as somebody listens."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(further)
            time.sleep(0.01)

    return serve


def silent(connection: socket.socket) -> None:
    """Say nothing until the other side has gone."""
    while connection.recv(4096):
        pass


def response(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def ask(serve: Serve, check: HttpCheck | None = None, timeout_seconds: float = LONG_SECONDS) -> str | None:
    """Ask a machine that serves like this, and return the reason without the machine's port."""
    with serving(serve) as port:
        answer = ask_http("127.0.0.1", replace(check or HttpCheck(0), port=port), timeout_seconds)
    return None if answer is None else answer.replace(str(port), "PORT")


def test_the_declared_answer_is_healthy() -> None:
    assert ask(answering(OK)) is None


@pytest.mark.parametrize(
    ("status", "declared", "healthy"),
    [
        (200, ((200, 399),), True),
        (399, ((200, 399),), True),
        (400, ((200, 399),), False),
        (503, ((200, 399),), False),
        (503, ((503, 503),), True),
        (204, ((200, 200), (204, 206)), True),
        (201, ((200, 200), (204, 206)), False),
        (999, ((200, 599),), False),
    ],
)
def test_the_status_must_be_among_those_declared(
    status: int, declared: tuple[tuple[int, int], ...], healthy: bool
) -> None:
    answer = ask(answering(response(b"", f"{status} Whatever")), HttpCheck(0, status=declared))
    assert answer == (None if healthy else f"http 127.0.0.1:PORT/: status {status}")


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    requests: list[str] = []
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    assert ask(answering(moved, requests)) is None
    assert ask(answering(moved, requests), HttpCheck(0, status=((200, 200),))) == "http 127.0.0.1:PORT/: status 302"
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("pattern", "body", "healthy"),
    [
        ("ready", b"all are ready now", True),
        ("^ready$", b"state\nready\nend", True),
        (r"\Aready", b"state\nready", False),
        ("ready", b"starting", False),
        ("ready", b"", False),
        ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), True),
        ("ready", b"\xff\xfe ready", True),
        ("ready", b"." * 65_531 + b"ready", True),
        ("ready", b"." * 65_532 + b"ready", False),
    ],
    ids=["within", "a line", "the begin", "not there", "empty", "UTF-8", "not UTF-8", "at the limit", "beyond it"],
)
def test_the_body_must_hold_the_expression_within_its_first_64_kib(pattern: str, body: bytes, healthy: bool) -> None:
    answer = ask(answering(response(body)), HttpCheck(0, body=pattern))
    assert answer == (None if healthy else "http 127.0.0.1:PORT/: the body is not as it should be")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nready",
        b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"ready"),
    ],
    ids=["chunked", "until it closes", "after 100"],
)
def test_a_body_may_come_in_any_way_of_http(answer: bytes) -> None:
    assert ask(answering(answer), HttpCheck(0, body="^ready$")) is None


def test_a_body_that_nobody_wants_is_not_waited_for() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        silent(connection)

    assert ask(serve) is None


def test_the_request_is_a_plain_get_with_the_declared_headers() -> None:
    requests: list[str] = []
    check = HttpCheck(0, "/health?deep=1", host="shop.example:8080", headers={"X-Token": "t", "user-agent": "mine"})
    assert ask(answering(OK, requests), check) is None
    first, *lines = requests[0].rstrip("\r\n").split("\r\n")
    assert first == "GET /health?deep=1 HTTP/1.1"
    assert sorted(lines) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        "Host: shop.example:8080",
        "X-Token: t",
        "user-agent: mine",
    ]


def test_without_a_host_the_address_is_the_host() -> None:
    requests: list[str] = []
    with serving(answering(OK, requests)) as port:
        assert ask_http("127.0.0.1", HttpCheck(port), LONG_SECONDS) is None
        assert f"\r\nHost: 127.0.0.1:{port}\r\n" in requests[0]


@needs_ipv6
def test_an_ipv6_address_is_written_in_brackets() -> None:
    requests: list[str] = []
    with serving(answering(OK, requests), "::1") as port:
        assert ask_http("::1", HttpCheck(port), LONG_SECONDS) is None
        assert f"\r\nHost: [::1]:{port}\r\n" in requests[0]
        check = HttpCheck(port, "/healthz", status=((404, 404),))
        assert ask_http("::1", check, LONG_SECONDS) == f"http [::1]:{port}/healthz: status 200"


def test_a_proxy_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(answering(OK)) is None


@pytest.mark.parametrize(
    "serve",
    [
        silent,
        trickling(b"", b"H"),
        trickling(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"h"),
        trickling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nh\r\n"),
    ],
    ids=["silent", "status line", "headers", "one header", "100 Continue", "body", "chunks"],
)
def test_a_machine_that_takes_its_time_is_given_up_at_the_deadline(serve: Serve) -> None:
    begun = time.monotonic()
    assert ask(serve, HttpCheck(0, body="z"), SHORT_SECONDS) == "http 127.0.0.1:PORT/: timed out"
    assert time.monotonic() - begun < LONG_SECONDS / 2


def test_bytes_without_end_are_not_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def serve(connection: socket.socket) -> None:
        connection.sendall(head + b"-1\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    assert ask(serve, HttpCheck(0, body="z")) == "http 127.0.0.1:PORT/: not an HTTP answer"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 abc\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, "not an HTTP answer"),
        (b"HTTP/1.1 200 " + b"x" * 100_000, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", "not an HTTP answer"),
        (b"", "Remote end closed connection without response"),
    ],
    ids=["SSH", "no status", "many headers", "a long line", "negative chunk", "no chunk", "nothing"],
)
def test_what_is_no_http_is_unhealthy_and_not_quoted(answer: bytes, reason: str) -> None:
    assert ask(answering(answer), HttpCheck(0, body="z")) == f"http 127.0.0.1:PORT/: {reason}"


@pytest.mark.parametrize(
    "answer",
    [
        response(SECRET),
        b"HTTP/1.1 500 " + SECRET + b"\r\n\r\n" + SECRET,
        b"HTTP/1.1 200 OK\r\nX: " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
        SECRET + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET,
    ],
    ids=["body", "reason phrase", "header", "no HTTP", "chunk"],
)
def test_a_reason_quotes_neither_what_was_sent_nor_what_came_back(answer: bytes) -> None:
    secret = SECRET.decode()
    check = HttpCheck(0, f"/healthz?token={secret}", headers={"Authorization": secret}, body="z")
    reason = ask(answering(answer), check)
    assert reason is not None
    assert reason.startswith("http 127.0.0.1:PORT/healthz: ")
    assert secret not in reason


def test_one_address_with_the_declared_answer_is_enough() -> None:
    with serving(answering(OK)) as port:
        instance = Instance(
            InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0, ("127.0.0.2", "224.0.0.1", "127.0.0.1")
        )
        nobody = cast(Provider, object())
        assert probe(nobody, instance, HealthCheck(http=HttpCheck(port))) is None
        wanted = HealthCheck(http=HttpCheck(port, "/up", status=((204, 204),)))
        assert probe(nobody, instance, wanted) == (
            f"http 127.0.0.2:{port}/up: Connection refused; http 127.0.0.1:{port}/up: status 200"
        )


class Identity(NamedTuple):
    """A certificate that vouches for itself, and its key."""

    certificate: Path
    key: Path

    def serve(self, serve: Serve) -> Serve:
        """Serve within TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)

        def encrypted(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as wire:
                serve(wire)

        return encrypted


def certify(directory: Path, names: Sequence[str]) -> Identity:
    identity = Identity(directory / "certificate.pem", directory / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=machine", "-addext", f"subjectAltName={','.join(names)}", "-days", "2"),
            *("-keyout", str(identity.key), "-out", str(identity.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return identity


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return who 127.0.0.1, ::1 and shop.example are."""
    return certify(tmp_path_factory.mktemp("identity"), ["IP:127.0.0.1", "IP:::1", "DNS:shop.example"])


@pytest.fixture
def trusted(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """Return the same, trusted as an authority on this side."""
    authorities(tmp_path, monkeypatch).write_bytes(identity.certificate.read_bytes())
    return identity


def authorities(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trust nobody but those in a file, which is not there yet, and return it."""
    empty = directory / "no-authorities"
    empty.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(empty))
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "authorities.pem"))
    return directory / "authorities.pem"


HTTPS = HttpCheck(0, https=True)


def test_https_is_healthy_with_a_trusted_certificate_for_the_address(trusted: Identity) -> None:
    assert ask(trusted.serve(answering(OK)), HTTPS) is None
    assert ask(trusted.serve(answering(OK)), replace(HTTPS, body="hello")) is None


@needs_ipv6
def test_a_certificate_may_be_for_an_ipv6_address(trusted: Identity) -> None:
    with serving(trusted.serve(answering(OK)), "::1") as port:
        assert ask_http("::1", replace(HTTPS, port=port), LONG_SECONDS) is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("shop.example", None),
        ("shop.example:8443", None),
        ("[::1]:8443", None),
        ("::1", None),
        ("bank.example", "certificate: Hostname mismatch, certificate is not valid for 'bank.example'"),
        ("127.0.0.2", "certificate: IP address mismatch, certificate is not valid for '127.0.0.2'"),
    ],
)
def test_the_certificate_must_be_for_the_declared_host(trusted: Identity, host: str, reason: str | None) -> None:
    answer = ask(trusted.serve(answering(OK)), replace(HTTPS, host=host))
    assert answer == (None if reason is None else f"https 127.0.0.1:PORT/: {reason}")


def test_a_certificate_that_nobody_vouches_for_is_unhealthy_unless_none_is_checked(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = certify(tmp_path / "other", ["DNS:other.example"])
    authorities(tmp_path, monkeypatch).write_bytes(other.certificate.read_bytes())
    serve = identity.serve(answering(OK))
    answer = ask(serve, HTTPS)
    assert answer is not None
    assert answer.startswith("https 127.0.0.1:PORT/: certificate: self")
    assert ask(serve, replace(HTTPS, verify=False)) is None
    assert ask(serve, replace(HTTPS, verify=False, host="bank.example")) is None


def test_an_authority_that_is_added_counts_from_then_on(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = certify(tmp_path / "other", ["DNS:other.example"])
    file = authorities(tmp_path, monkeypatch)
    file.write_bytes(other.certificate.read_bytes())
    serve = identity.serve(answering(OK))
    assert ask(serve, HTTPS) is not None
    file.write_bytes(other.certificate.read_bytes() + identity.certificate.read_bytes())
    assert ask(serve, HTTPS) is None


def test_without_authorities_a_certificate_says_nothing(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = authorities(tmp_path, monkeypatch)
    with pytest.raises(ProviderError, match="from here: there are no certificate authorities") as raised:
        ask(identity.serve(answering(OK)), HTTPS)
    assert raised.value.hint
    file.write_text("no certificate\n")
    with pytest.raises(ProviderError, match=r"cannot check certificates by .*authorities\.pem here"):
        ask(identity.serve(answering(OK)), HTTPS)
    assert ask(identity.serve(answering(OK)), replace(HTTPS, verify=False)) is None


@pytest.mark.parametrize("host", [".", "..example", "a" * 64 + ".example"])
def test_a_host_that_no_certificate_can_be_for_says_nothing(trusted: Identity, host: str) -> None:
    with pytest.raises(ProviderError, match="cannot check for a certificate of"):
        ask(trusted.serve(answering(OK)), replace(HTTPS, host=host))


def test_a_port_without_tls_is_unhealthy(trusted: Identity) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        silent(connection)

    answer = ask(serve, HTTPS)
    assert answer is not None
    assert answer.startswith("https 127.0.0.1:PORT/: TLS: ")


@pytest.mark.parametrize("serve", [silent, trickling(b"\x16\x03\x03\x40\x00", b"\x00")], ids=["silent", "trickling"])
def test_a_handshake_that_takes_its_time_is_given_up_at_the_deadline(trusted: Identity, serve: Serve) -> None:
    begun = time.monotonic()
    assert ask(serve, HTTPS, SHORT_SECONDS) == "https 127.0.0.1:PORT/: timed out"
    assert time.monotonic() - begun < LONG_SECONDS / 2


def test_a_body_that_trickles_through_tls_is_given_up_at_the_deadline(trusted: Identity) -> None:
    begun = time.monotonic()
    serve = trusted.serve(trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"h"))
    answer = ask(serve, replace(HTTPS, body="z"), SHORT_SECONDS)
    assert answer == "https 127.0.0.1:PORT/: timed out"
    assert time.monotonic() - begun < LONG_SECONDS / 2
