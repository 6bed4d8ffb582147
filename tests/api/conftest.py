"""A server on a free port of this machine, with tokens, and somebody who asks it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from infrakit_py.api.audit import AuditLog
from infrakit_py.api.metrics import Metrics
from infrakit_py.api.server import RunningServer, serve
from infrakit_py.model.controller import ApiAddress
from tests.api.asking import READER, TOKENS, Asking
from tests.api.site import NAME, Site

Serve: TypeAlias = Callable[..., RunningServer]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.declare()
    yield site
    site.answers.set()
    site.changes.set()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(TOKENS)
    file.chmod(0o600)
    return file


@pytest.fixture
def metrics(site: Site) -> Metrics:
    return Metrics(NAME, site.clock)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def audit_log(tmp_path: Path, site: Site, complaints: list[str]) -> Iterator[AuditLog]:
    log = AuditLog(tmp_path / "audit.jsonl", site.clock, complaints.append)
    yield log
    log.close()


@pytest.fixture
def serving(site: Site, metrics: Metrics, audit_log: AuditLog) -> Iterator[Serve]:
    """Start servers as asked for, and stop them at the end."""
    with ExitStack() as stack:

        def start(**settings: object) -> RunningServer:
            address = ApiAddress(**{"port": 0, **settings})  # type: ignore[arg-type]
            server = serve(site, address, metrics, audit_log)
            stack.callback(server.stop)
            stack.callback(site.changes.set)
            stack.callback(site.answers.set)
            return server

        yield start


@pytest.fixture
def server(serving: Serve, tokens: Path) -> RunningServer:
    return serving(tokens=tokens, webhook_secret="a secret of two parties")


@pytest.fixture
def api(server: RunningServer) -> Asking:
    return Asking(server.url, READER)
