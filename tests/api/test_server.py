"""Where the server listens, by which certificate, and when it refuses to begin."""

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from infrakit_py.api.connections import MOST
from infrakit_py.api.server import RunningServer
from infrakit_py.errors import InfrakitError, SpecError, UsageError
from tests.api.asking import READER, Asking
from tests.api.conftest import Serve
from tests.api.site import Site
from tests.certificates import certificate


def test_it_listens_at_a_free_port_and_stops(serving: Serve) -> None:
    server = serving()
    api = Asking(server.url)
    assert api.get("/healthz").status == 200

    server.stop()
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        api.get("/healthz")
    assert not any(thread.name == "api" for thread in threading.enumerate())


def test_requests_that_wait_are_answered_before_it_stops(serving: Serve, site: Site) -> None:
    server = serving()
    site.answers.clear()
    with Asking(server.url).at_once(1, "/v1/clusters") as (waiting,):
        stopping = threading.Thread(target=server.stop)
        assert Asking(server.url).get("/healthz").status == 200
        stopping.start()
        site.answers.set()

        assert waiting.getresponse().status == 200
        stopping.join()


def test_an_address_that_is_taken_is_named(serving: Serve) -> None:
    port = int(serving().url.rpartition(":")[2])

    with pytest.raises(InfrakitError, match=rf"API 127\.0\.0\.1:{port}: cannot be listened at: Address") as caught:
        serving(port=port)

    assert caught.value.hint is not None
    assert "another program listens there" in caught.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(serving: Serve, tokens: Path, host: str) -> None:
    with pytest.raises(InfrakitError, match=f"API {host}:0: cannot be listened at"):
        serving(host=host, tokens=tokens, insecure=True)


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_other_loopback_addresses_will_do(serving: Serve, host: str) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert Asking(serving(host=host).url).get("/v1/clusters").status == 200


def test_what_others_reach_needs_tokens_and_tls(serving: Serve, tokens: Path) -> None:
    with pytest.raises(UsageError, match="tokens are needed"):
        serving(host="0.0.0.0")
    with pytest.raises(UsageError, match="TLS is needed"):
        serving(host="0.0.0.0", tokens=tokens)
    with pytest.raises(UsageError, match="tokens are needed"):
        serving(host="0.0.0.0", insecure=True)

    server = serving(host="0.0.0.0", tokens=tokens, insecure=True)

    port = server.url.rpartition(":")[2]
    assert server.url == f"http://{socket.gethostname()}:{port}"
    assert Asking(f"http://127.0.0.1:{port}", READER).get("/v1/clusters").status == 200


def test_tls_is_spoken_and_its_certificate_is_read_anew(serving: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "first")
    server = serving(tls_cert=cert, tls_key=key)
    assert server.url.startswith("https://127.0.0.1:")
    assert Asking(server.url, tls=_trusting(cert)).get("/healthz").status == 200

    other, other_key = certificate(tmp_path, "second")
    cert.write_bytes(other.read_bytes())
    with pytest.raises(InfrakitError, match="key values mismatch"):
        server.reload()
    assert _seen(server) == "first"

    key.write_bytes(other_key.read_bytes())
    server.reload()
    assert _seen(server) == "second"
    assert Asking(server.url, tls=_trusting(other)).get("/healthz").status == 200


def test_old_versions_of_tls_are_refused(serving: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "first")
    server = serving(tls_cert=cert, tls_key=key)
    old = _trusting(cert)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        Asking(server.url, tls=old).get("/healthz")


def test_wrong_certificates_are_named(serving: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "first")
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(encrypted), "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    for wrong_cert, wrong_key, complaint in (
        (tmp_path / "none", key, "No such file or directory"),
        (nonsense, key, "no start line|pem lib|they are no pem"),
        (cert, encrypted, "the key is encrypted"),
    ):
        with pytest.raises(InfrakitError, match=rf"API: certificate .*: ({complaint})"):
            serving(tls_cert=wrong_cert, tls_key=wrong_key)


def test_wrong_tokens_keep_it_from_beginning(serving: Serve, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        serving(tokens=tmp_path / "none")


def test_no_signal_handler_is_installed(serving: Serve) -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    serving()

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_without_the_packages_it_says_what_to_install() -> None:
    program = """
import sys
for name in ("uvicorn", "starlette", "prometheus_client", "opentelemetry"):
    sys.modules[name] = None
from infrakit_py.api.server import open_metrics, serve
from infrakit_py.api.traces import Tracing
from infrakit_py.clock import SystemClock
from infrakit_py.errors import PluginError
from infrakit_py.model.controller import ApiAddress
for attempt in (
    lambda: open_metrics("c1", SystemClock()),
    lambda: serve(None, ApiAddress(), None),
    lambda: Tracing("http://127.0.0.1:4318", "c1", SystemClock(), print),
):
    try:
        attempt()
    except PluginError as error:
        print(f"{error} ({error.hint})")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "the HTTP API needs prometheus_client, which is not installed (pip install 'infrakit-py[server]')",
        "the HTTP API needs uvicorn, which is not installed (pip install 'infrakit-py[server]')",
        "tracing needs opentelemetry, which is not installed (pip install 'infrakit-py[otel]')",
    ]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


def _seen(server: RunningServer) -> str:
    """Return the name in the certificate that is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        closing(socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))) as plain,
        context.wrap_socket(plain) as secured,
    ):
        content = secured.getpeercert(binary_form=True) or b""
    from cryptography import x509

    return str(x509.load_der_x509_certificate(content).subject.rdns[0].rfc4514_string().partition("=")[2])


@pytest.mark.long
@pytest.mark.slow
def test_who_asks_nothing_is_let_go_and_keeps_nobody_from_being_answered(serving: Serve) -> None:
    server = serving()
    port = int(server.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST)]
    try:
        with closing(socket.create_connection(("127.0.0.1", port))) as one_too_many:
            one_too_many.settimeout(30.0)
            with suppress(ConnectionResetError):
                assert one_too_many.recv(1) == b""
        for connection in silent:
            connection.settimeout(30.0)
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    finally:
        for connection in silent:
            connection.close()

    assert Asking(server.url).get("/healthz").status == 200
