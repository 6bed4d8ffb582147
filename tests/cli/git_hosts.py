"""Git hosts on loopback, made of the real programs: OpenSSH's server, and git's own HTTP backend behind TLS."""

import base64
import getpass
import hmac
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from tests.certificates import certificate
from tests.fakes.serving import Handler, LocalServer

SSHD: Final = "/usr/sbin/sshd"
_CERTIFIED: Final = "git-host"
_SEPARATED: Final = Path("/run/sshd")
"""Where sshd, as root, shuts its unprivileged half in. A service's start makes it elsewhere."""
_STARTS_WITHIN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class SshHost:
    """An sshd that lets one key in, and a client's side: that key, a key that it does not know, and whom to trust."""

    directory: Path
    port: int

    def url(self, repository: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository}"

    def command(self, key: str = "known", hosts: str = "hosts") -> str:
        """Return the GIT_SSH_COMMAND of somebody with a key, who trusts the hosts of a file."""
        options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.directory / hosts}")
        said = " ".join(f"-o {option}" for option in options)
        return f"ssh -F /dev/null -i {self.directory / key} {said}"


@contextmanager
def ssh_host(directory: Path) -> Iterator[SshHost]:
    """Let an sshd run on loopback, with keys of its own."""
    directory.mkdir()
    host = SshHost(directory, _free_port())
    for key in ("host", "known", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)], check=True)
    shutil.copy(directory / "known.pub", directory / "authorized")
    for name, key in (("hosts", "host"), ("other_hosts", "stranger")):
        kind, public, *_ = (directory / f"{key}.pub").read_text().split()
        (directory / name).write_text(f"[127.0.0.1]:{host.port} {kind} {public}\n")
    settings = {
        "ListenAddress": f"127.0.0.1:{host.port}",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "AuthenticationMethods": "publickey",
        "PermitRootLogin": "prohibit-password",
    }
    (directory / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.geteuid() == 0:
        _SEPARATED.mkdir(mode=0o755, exist_ok=True)
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(directory / "sshd_config")], stderr=log)
    try:
        _wait_for_port(host.port, process, directory / "sshd.log")
        yield host
    finally:
        process.terminate()
        process.wait()
        print((directory / "sshd.log").read_text())


@dataclass
class HttpsHost:
    """Serves repositories below a directory to whoever has the token. `refused` counts who had not."""

    root: Path
    directory: Path
    token: str
    refused: int = 0
    served: int = 0
    port: int = field(default=0, init=False)

    @property
    def certificate(self) -> Path:
        return self.directory / f"{_CERTIFIED}.pem"

    def url(self, repository: Path) -> str:
        return f"https://127.0.0.1:{self.port}/{repository.relative_to(self.root)}"

    def allows(self, authorization: str) -> bool:
        right = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
        return hmac.compare_digest(authorization, f"Basic {right}")


@contextmanager
def https_host(root: Path, directory: Path, token: str) -> Iterator[HttpsHost]:
    """Let a Git host run on loopback, with a certificate that it has signed itself."""
    directory.mkdir()
    host = HttpsHost(root, directory, token)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(directory, _CERTIFIED))

    class Backend(_GitHandler):
        served = host

    server = LocalServer(Backend, 0)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    host.port = server.server_address[1]
    thread = Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _GitHandler(Handler):
    """Hands requests to `git http-backend`, as a web server does."""

    served: HttpsHost

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.body()
        if not self.served.allows(self.headers.get("Authorization", "")):
            self.served.refused += 1
            self.send(HTTPStatus.UNAUTHORIZED, [("WWW-Authenticate", 'Basic realm="git"')], b"no entry\n")
            return
        self.served.served += 1
        asked = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.served.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": asked.path,
            "QUERY_STRING": asked.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, timeout=60.0, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode().splitlines()]
        headers = [(name, value.strip()) for name, _, value in lines]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self.send(status, [pair for pair in headers if pair[0] != "Status"], content)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
