"""How a controller is set up: what it follows, where it remembers, whom it answers. Relative paths are resolved."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GitSource:
    """A branch to follow. `paths` lie in the repository.."""

    url: str
    branch: str = "main"
    paths: tuple[Path, ...] = ()
    poll_seconds: float = 30.0
    allowed_signers: Path | None = None


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """An etcd cluster to remember in. `ttl_seconds`: after how long without a sign of life others take over."""

    endpoints: tuple[str, ...]
    prefix: str = "/infrakit"
    ttl_seconds: float = 15.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where the HTTP API listens. `advertise`: the URL by which others reach it; "" for the one that it listens at.

    `insecure`: no TLS of its own although others reach it, because a proxy before it has that.
    """

    host: str = "127.0.0.1"
    port: int = 7180
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tokens: Path | None = None
    webhook_secret: str = field(default="", repr=False)
    advertise: str = ""
    insecure: bool = False


class LogFormat(StrEnum):
    LOGFMT = "logfmt"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """All that a controller is told when it starts, and again when it reloads.

    It follows `files` or `git`; with neither, what the API declares is all there is. `prune`: the machines of a
    cluster that leaves the source are destroyed.
    """

    name: str
    files: tuple[Path, ...] = ()
    git: GitSource | None = None
    prune: bool = False
    etcd: EtcdAddress | None = None
    api: ApiAddress | None = None
    audit_log: Path | None = None
    log_level: str = "warning"
    log_format: LogFormat = LogFormat.LOGFMT
    parallelism: int = 10
    allow_mass_destroy: bool = False
    traces: str = ""
