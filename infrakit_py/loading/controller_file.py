"""The file that sets a controller up: read with every mistake at its place, before anything is begun."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading import sources
from infrakit_py.loading.fields import Duration, FileName, Omittable, OneOf, PositiveDuration, Word
from infrakit_py.loading.findings import Findings
from infrakit_py.loading.yaml_documents import documents
from infrakit_py.loading.yaml_nodes import decode
from infrakit_py.model.controller import ApiAddress, ControllerSettings, EtcdAddress, GitSource, LogFormat

_MIN_TTL_SECONDS: Final = 2.0
_SECRET_KEYS: Final = ("webhook_secret", "password")
_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_ETCD: Final = EtcdAddress(())
_API: Final = ApiAddress()


def _controller_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            "must hold only letters, digits, '.', '_' and '-', at most 100, and begin and end with others"
        )
    return name


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise ValueError("must be a URL such as https://etcd-1.example.com:2379, without path and password")
    return url


def _listen(written: str) -> str:
    host, port = split_listen(written)
    if not host or not 0 <= port <= 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:7180 or [::]:7180")
    return written


def split_listen(written: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`. ValueError where it is none."""
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})", written)
    if match is None:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:7180 or [::]:7180")
    return match["v6"] or match["host"], int(match["port"])


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ttl(seconds: float) -> float:
    if seconds < _MIN_TTL_SECONDS:
        raise ValueError("must be at least 2s: a controller must live through a slow answer")
    return seconds


Endpoint: TypeAlias = Annotated[str, AfterValidator(_endpoint)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class GitEntry(_Entry):
    url: Word = Field(description="of the repository; a password does not belong here")
    branch: Word = Field(default="main", description="that is followed")
    paths: list[Word] = Field(default=[], description="files and directories in the repository; default: its root")
    poll: PositiveDuration = Field(default=30.0, description="how often the repository is asked")
    allowed_signers: Omittable[FileName] = Field(default=None, description="who must have signed; see ssh-keygen(1)")


class SourcesEntry(_Entry):
    files: list[Word] = Field(default=[], description="cluster files and directories, relative to this file")
    git: Omittable[GitEntry] = Field(default=None, description="a branch to follow instead")
    prune: bool = Field(default=False, description="destroy the machines of clusters that leave the source")


class EtcdEntry(_Entry):
    endpoints: Annotated[list[Endpoint], Field(min_length=1)] = Field(description="URLs of its members")
    prefix: Word = Field(default=_ETCD.prefix, description="of all keys")
    ttl: Annotated[Duration, AfterValidator(_ttl)] = Field(
        default=_ETCD.ttl_seconds, description="without a sign of life until another controller takes over"
    )
    ca: Omittable[FileName] = Field(default=None, description="certificates (PEM) that sign those of etcd")
    cert: Omittable[FileName] = Field(default=None, description="the controller's certificate (PEM)")
    key: Omittable[FileName] = Field(default=None, description="its key (PEM)")
    username: Omittable[Word] = Field(default=None, description="for etcd's own authentication")
    password_file: Omittable[FileName] = Field(default=None, description="whose first line is the password")


class StoreEntry(_Entry):
    etcd: Omittable[EtcdEntry] = Field(default=None, description="for several controllers; default: SQLite")


class TlsEntry(_Entry):
    cert: FileName = Field(description="the certificate and what signs it (PEM)")
    key: FileName = Field(description="its key (PEM)")


class ApiEntry(_Entry):
    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default=f"{_API.host}:{_API.port}", description="address and port; 0 takes any free one"
    )
    tls: Omittable[TlsEntry] = Field(default=None, description="needed where others than this machine reach it")
    tokens: Omittable[FileName] = Field(default=None, description="lines of NAME, read or write, and a token")
    webhook_secret_file: Omittable[FileName] = Field(
        default=None, description="whose first line webhooks are signed by"
    )
    advertise: Omittable[Word] = Field(default=None, description="URL by which others reach it")
    insecure: bool = Field(default=False, description="no TLS here: a proxy before it has that")


class LogEntry(_Entry):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged"
    )
    format: OneOf[LogFormat] = Field(default=LogFormat.LOGFMT, description="of its lines, on standard error")


class TracesEntry(_Entry):
    otlp: Endpoint = Field(description="URL of an OpenTelemetry collector that takes OTLP by HTTP")


class ControllerDocument(_Entry):
    apiVersion: Literal["infrakit-py/v1alpha1"]
    kind: Literal["Controller"]
    name: Omittable[Annotated[str, AfterValidator(_controller_name)]] = Field(
        default=None, description="among controllers that share a store; default: host name and process"
    )
    sources: SourcesEntry = Field(default=SourcesEntry(), description="where clusters are declared")
    store: StoreEntry = Field(default=StoreEntry(), description="where things are remembered")
    api: Omittable[ApiEntry] = Field(default=None, description="HTTP; without this key there is none")
    audit_log: Omittable[FileName] = Field(
        default=None, description="JSON lines of all that was changed, and by whom"
    )
    log: LogEntry = Field(default=LogEntry(), description="for whoever looks for the cause of something")
    parallelism: Annotated[int, Field(ge=1, le=256)] = Field(
        default=10, description="calls at once, for each cluster"
    )
    allow_mass_destroy: bool = Field(default=False, description="as the option of infra apply")
    traces: Omittable[TracesEntry] = Field(default=None, description="OpenTelemetry; needs the extra otel")


def load_controller(path: Path, environment: Mapping[str, str], default_name: str) -> ControllerSettings:
    """Read a controller's file. SpecError with every mistake in it, and in the files of secrets that it names."""
    source = sources.read(path)
    found = list(documents(decode(source.content, source.name), source.name, environment))
    if len(found) != 1:
        raise SpecError([Problem(source.name, 0, 0, f"must hold one document, holds {len(found)}")])
    findings = Findings(found[0], _SECRET_KEYS)
    try:
        read = ControllerDocument.model_validate(found[0].data)
    except ValidationError as exc:
        findings.invalid((), exc, ControllerDocument)
        raise SpecError(findings.problems) from exc
    _check(read, findings)
    settings = _Settings(source.directory, findings).of(read, default_name)
    if findings.problems:
        raise SpecError(findings.problems)
    return settings


def checked_api(api: ApiAddress) -> str:
    """Return what keeps an API from being opened; "" where nothing does."""
    if is_loopback(api.host):
        return ""
    if api.tokens is None:
        return "others reach this address, so that tokens are needed: everybody could read and nobody write"
    if api.tls_cert is None and not api.insecure:
        return (
            "others reach this address, so that TLS is needed (or insecure: true, where a proxy before it has that)"
        )
    return ""


def _check(read: ControllerDocument, findings: Findings) -> None:
    if read.sources.files and read.sources.git is not None:
        findings.at_key(("sources",), "files or git, not both")
    etcd = read.store.etcd
    if etcd is not None:
        if (etcd.cert is None) != (etcd.key is None):
            findings.at_key(("store", "etcd"), "cert and key go together")
        if (etcd.username is None) != (etcd.password_file is None):
            findings.at_key(("store", "etcd"), "username and password_file go together")
    if read.api is None and not read.sources.files and read.sources.git is None:
        findings.at_key((), "nothing to do: neither sources nor api")


class _Settings:
    """Turns a valid document into settings: paths start where the file lies, secrets are read."""

    def __init__(self, directory: Path, findings: Findings) -> None:
        self._directory = directory
        self._findings = findings

    def of(self, read: ControllerDocument, default_name: str) -> ControllerSettings:
        return ControllerSettings(
            name=read.name or default_name,
            files=tuple(self._directory / file for file in read.sources.files),
            git=self._git(read.sources.git),
            prune=read.sources.prune,
            etcd=self._etcd(read.store.etcd),
            api=self._api(read.api),
            audit_log=self._path(read.audit_log),
            log_level=read.log.level,
            log_format=read.log.format,
            parallelism=read.parallelism,
            allow_mass_destroy=read.allow_mass_destroy,
            traces=read.traces.otlp if read.traces is not None else "",
        )

    def _git(self, git: GitEntry | None) -> GitSource | None:
        if git is None:
            return None
        paths = tuple(Path(path) for path in git.paths)
        url = git.url if "://" in git.url or re.match(r"[^/]+:", git.url) else str(self._directory / git.url)
        return GitSource(url, git.branch, paths, git.poll, self._path(git.allowed_signers))

    def _etcd(self, etcd: EtcdEntry | None) -> EtcdAddress | None:
        if etcd is None:
            return None
        return EtcdAddress(
            tuple(etcd.endpoints),
            "/" + etcd.prefix.strip("/"),
            etcd.ttl,
            self._path(etcd.ca),
            self._path(etcd.cert),
            self._path(etcd.key),
            etcd.username or "",
            self._secret(("store", "etcd", "password_file"), etcd.password_file),
        )

    def _api(self, api: ApiEntry | None) -> ApiAddress | None:
        if api is None:
            return None
        host, port = split_listen(api.listen)
        address = ApiAddress(
            host,
            port,
            self._path(api.tls.cert if api.tls is not None else None),
            self._path(api.tls.key if api.tls is not None else None),
            self._path(api.tokens),
            "",
            api.advertise or "",
            api.insecure,
        )
        if why := checked_api(address):
            self._findings.at_key(("api", "listen"), why)
        secret = self._secret(("api", "webhook_secret_file"), api.webhook_secret_file)
        return replace(address, webhook_secret=secret)

    def _path(self, name: str | None) -> Path | None:
        return self._directory / name if name is not None else None

    def _secret(self, place: tuple[str, ...], name: str | None) -> str:
        """Return the first line of a file."""
        if name is None:
            return ""
        try:
            lines = (self._directory / name).read_text().splitlines()
        except (OSError, ValueError) as exc:
            self._findings.at_value(place, f"cannot be read: {getattr(exc, 'strerror', None) or exc}", show=True)
            return ""
        if not lines or not lines[0].strip():
            self._findings.at_value(place, "is empty", show=True)
            return ""
        return lines[0].strip()
