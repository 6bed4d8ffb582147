"""A controller with an API, and those who ask it: by `infra ... --server`, and by HTTP alone."""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import yaml

from tests.cli.shell import Result, Shell, cluster, eventually
from tests.cli.test_controller import Controller, Start

READ, WRITE, OTHER = ("r" * 20, "w" * 20, "o" * 20)
HTTP_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A terminal in which a controller runs by a configuration file, with tokens to read and to write."""

    shell: Shell
    controller: Controller

    @property
    def url(self) -> str:
        eventually(lambda: self._listening() != [], f"it listens\n{self.controller.out}{self.controller.err}")
        return str(self._listening()[-1]["text"])

    def infra(self, *arguments: str | Path, token: str = WRITE) -> Result:
        """Run a command that asks the controller."""
        file = self.shell.root / f"token-{token[0]}"
        file.write_text(token)
        file.chmod(0o600)
        command, *rest = arguments
        words = [command, rest.pop(0)] if command == "rollout" else [command]
        return self.shell.infra(*words, "--server", self.url, "--token-file", file, *rest)

    def http(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> Answer:
        """Ask by HTTP, as a program in any language does."""
        sent = {"Authorization": f"Bearer {token}", **headers} if token else headers
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent = {"Content-Type": "application/json", **sent}
        request = Request(self.url + path, content, sent, method=method)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=HTTP_SECONDS) as answer:
                return Answer(answer.status, answer.read().decode())
        except HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.read().decode())

    def sizes(self) -> list[int]:
        """Return the sizes of the groups of what is declared, as the API tells them."""
        return sorted(len(group["machines"]) for group in self.group_documents())

    def group_documents(self) -> list[Any]:
        clusters = self.http("GET", "/v1/clusters", READ).json["clusters"]
        names = [one["cluster"] for one in clusters]
        return [g for name in names for g in self.http("GET", f"/v1/clusters/{name}", READ).json["groups"]]

    def reload(self) -> None:
        self.controller.process.send_signal(signal.SIGHUP)

    def _listening(self) -> list[Any]:
        return [event for event in self.controller.events if event.get("event") == "listening"]


def configured(shell: Shell, *, api: Mapping[str, str] | None = None, **more: Any) -> Path:
    """Write a controller's configuration, with an API at any free port."""
    tokens(shell, f"reader read {READ}", f"writer write {WRITE}")
    document = {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Controller",
        "name": "c1",
        "api": {"listen": "127.0.0.1:0", "tokens": "tokens", **(api or {})},
        "audit_log": "audit.jsonl",
        **more,
    }
    path = shell.work / "controller.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def tokens(shell: Shell, *lines: str) -> None:
    file = shell.work / "tokens"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)


def served(shell: Shell, start: Start, *arguments: str, **more: Any) -> Site:
    """Start a controller by a configuration."""
    configured(shell, **more)
    return Site(shell, start(shell, "--config", "controller.yml", "--json", *arguments))


def declared(shell: Shell, **groups: Any) -> dict[str, Any]:
    """Return a cluster whose machines are where the shell's are, wherever its file lies."""
    return cluster(provider={"database": str(shell.database)}, **groups)
